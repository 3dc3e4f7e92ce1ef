"""What a model file may be, and that everything else is refused with one of our own errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.errors import CorruptError, ModelError
from housetrain.inference import keras_file, verify
from housetrain.inference.engine import BFLOAT16_TOLERANCE, FLOAT32_TOLERANCE, KerasEngine, class_probabilities
from housetrain.system import store

SHAPE = (8, 8, 1)


def build(*, classes: int = 2, dtype: str = "float32", extra: Any = None) -> Any:
    """A net of every kind of layer the package builds, with weights that make a difference."""
    import keras

    layers = keras.layers
    inputs = x = keras.Input(SHAPE, dtype="uint8")
    x = layers.Rescaling(1 / 255, dtype=dtype)(x)
    x = layers.Conv2D(4, 3, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed=1), dtype=dtype)(x)
    x = layers.BatchNormalization(dtype=dtype)(x)
    if extra is not None:
        x = extra(x)
    x = layers.Flatten()(layers.MaxPooling2D(2, dtype=dtype)(x))
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=2)
    x = layers.Dense(units, activation=activation, kernel_initializer=initializer, dtype="float32")(x)
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "model.keras"
    build().save(path)
    return path


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], dict[str, bytes]]) -> Path:
    """Copy a .keras file, each member replaced by what ``change(name, data)`` gives."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            for other, data in change(name, old.read(name)).items():
                new.writestr(other, data)
    return target


def with_config(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    def replace(name: str, data: bytes) -> dict[str, bytes]:
        if name != "config.json":
            return {name: data}
        config = json.loads(data)
        change(config)
        return {name: json.dumps(config).encode()}

    return rewritten(source, target, replace)


def load(path: Path) -> KerasEngine:
    return KerasEngine.load(path, classes=2, input_shape=SHAPE)


def test_a_good_model_loads_and_answers_as_keras_does(good: Path) -> None:
    import keras

    images = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    given = load(good).probabilities(images)
    second = keras.models.load_model(good).predict(images, verbose=0)[:, 0]
    assert given.dtype == np.float32 and given.shape == (5, 2)
    np.testing.assert_allclose(given[:, 1], second, atol=1e-6)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(second) > 0.01, "a model that always says the same would make this test blind"


def test_models_saved_compiled_load_too_without_their_optimizer(tmp_path: Path) -> None:
    model = build()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.save(tmp_path / "model.keras")
    assert not load(tmp_path / "model.keras").model.compiled


def test_the_nets_of_the_tutorials_are_on_the_list(tmp_path: Path) -> None:
    """Every architecture that transfer learning will use, whole and without weights, is allowed."""
    import keras

    nets = keras.applications
    for build_net in (
        nets.Xception, nets.EfficientNetV2B0, nets.MobileNetV3Large, nets.ResNet50, nets.ConvNeXtTiny, nets.DenseNet121,
    ):  # fmt: skip
        config = keras.saving.serialize_keras_object(
            build_net(weights=None, include_top=False, input_shape=(72, 72, 3))
        )
        assert keras_file._strangers(json.loads(json.dumps(config))) == []


# ------------------------------------------------------------------------------------------------- what is refused
def test_lambda_layers_are_refused_before_keras_sees_them(tmp_path: Path) -> None:
    import keras

    build(extra=keras.layers.Lambda(lambda x: x * 2)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"refused.*keras\.layers\.Lambda"):
        keras_file.check_keras_file(tmp_path / "model.keras")


def swap(**fields: Any) -> Callable[[Any], None]:
    """Change the second layer's description."""
    return lambda config: config["config"]["layers"][1].update(fields)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (swap(module="keras.layers", class_name="TFSMLayer"), "TFSMLayer"),
        (swap(module="os", class_name="system"), r"os\.system"),
        (swap(module="builtins", class_name="function", config="eval"), r"builtins\.function"),
        (swap(module="keras.utils", class_name="get_file"), "get_file"),
        (swap(module="keras.src.saving.saving_lib", class_name="Rescaling"), "saving_lib"),
        (swap(module=None), r"NoneType\.Rescaling"),
        (swap(module=["keras.layers"]), r"list\.Rescaling"),
        (swap(registered_name="evil>Rescaling"), "registered as evil"),
        (swap(registered_name=["x"]), "registered as list"),
        (swap(class_name="__lambda__"), "__lambda__"),
        (lambda config: config["config"]["layers"][1].pop("module"), r"NoneType\.Rescaling"),  # the legacy route
        (lambda config: config["config"].update(x=[[{"class_name": "__lambda__", "config": {"value": ""}}]]), "lambda"),
        (lambda config: config["config"].update(x={"class_name": "__typespec__", "spec_name": "f"}), "typespec"),
        (lambda config: config["config"]["layers"][1]["config"].update(safe_mode=False), "safe mode"),
        (lambda config: config.update(class_name="Unknown", module="evil"), r"evil\.Unknown"),
        (lambda config: config["config"]["layers"][1].update(compile_config={"optimizer": {
            "module": "x", "class_name": "Y", "config": {}}}), r"x\.Y"),
    ],
)  # fmt: skip
def test_strangers_in_the_description_are_refused_by_name(
    good: Path, tmp_path: Path, change: Callable[[Any], None], word: str
) -> None:
    path = with_config(good, tmp_path / "model.keras", change)
    with pytest.raises(ModelError, match=word) as caught:
        keras_file.check_keras_file(path)
    assert "\n" not in str(caught.value)


def test_a_stranger_in_the_file_runs_nothing(good: Path, tmp_path: Path) -> None:
    """The refusal happens without an import of what the file names."""
    (tmp_path / "trap.py").write_text("raise SystemExit('the trap was imported')")
    path = with_config(good, tmp_path / "model.keras", swap(module="trap", class_name="Layer"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom housetrain.inference.keras_file import check_keras_file\n"
        "check_keras_file(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert "ModelError" in done.stderr and "the trap" not in done.stderr


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.pkl", "model.joblib", "model.pt", "saved_model.pb"])
def test_other_formats_are_refused_each_with_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ModelError, match="code when loaded") as caught:
        keras_file.refuse_other_formats(tmp_path / name)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_saved_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(ModelError, match="SavedModel"):
        keras_file.refuse_other_formats(tmp_path)


def test_archives_that_are_no_model_are_refused(good: Path, tmp_path: Path) -> None:
    def attempt(name: str, change: Callable[[str, bytes], dict[str, bytes]], match: str) -> None:
        with pytest.raises(ModelError, match=match):
            load(rewritten(good, tmp_path / f"{name}.keras", change))

    attempt("traversal", lambda n, d: {n: d, f"../{n}": d}, "other things")
    attempt("assets", lambda n, d: {n: d, "assets/run.py": b""}, "other things")
    attempt("no-weights", lambda n, d: {} if n.endswith("h5") else {n: d}, "other things")
    attempt("not-json", lambda n, d: {n: b"{" if n == "config.json" else d}, "not JSON")
    attempt("deep", lambda n, d: {n: b"[" * 100_000 if n == "config.json" else d}, "not JSON")
    attempt("empty", lambda n, d: {n: b"{}" if n == "config.json" else d}, "describes no model")
    attempt("not-h5", lambda n, d: {n: b"x" * 1000 if n.endswith("h5") else d}, "cannot load")
    attempt("big", lambda n, d: {n: b" " * (17 << 20) if n == "metadata.json" else d}, "too large")

    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in keras_file._MEMBERS:
            archive.writestr(name, bytes(10 << 20))
    with pytest.raises(ModelError, match="swells"):
        load(bomb)

    twice = tmp_path / "twice.keras"
    shutil.copyfile(good, twice)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(ModelError, match="other things"):
        load(twice)


def test_a_damaged_model_file_gives_our_error_and_no_other(good: Path, tmp_path: Path) -> None:
    """Without a manifest too: bytes flipped all over the file, and the file cut anywhere."""
    data = good.read_bytes()
    path = tmp_path / "model.keras"
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken if trial % 2 else data[: int(rng.integers(len(data)))])
        try:
            load(path)
        except ModelError:
            refused += 1
    # A flipped bit in a field of the archive that nobody reads (a date) changes nothing, so it may pass.
    assert refused >= 50


def test_a_model_that_does_not_fit_its_names_or_its_input_is_refused(good: Path) -> None:
    with pytest.raises(ModelError, match="class names"):
        KerasEngine.load(good, classes=3, input_shape=SHAPE)
    with pytest.raises(ModelError, match="another shape"):
        KerasEngine.load(good, classes=2, input_shape=(8, 8, 3))


# ------------------------------------------------------------------------------------------------- probabilities
def test_one_sigmoid_is_the_probability_of_the_second_class() -> None:
    given = class_probabilities(np.array([[0.25], [1.0]]), 2)
    np.testing.assert_array_equal(given, np.array([[0.75, 0.25], [0.0, 1.0]], np.float32))
    np.testing.assert_array_equal(class_probabilities(np.array([0.25, 1.0]), 2), given)
    softmax = np.array([[0.2, 0.3, 0.5]], np.float32)
    np.testing.assert_array_equal(class_probabilities(softmax, 3), softmax)
    np.testing.assert_array_equal(class_probabilities(np.array([[0.2, 0.8]]), 2), np.array([[0.2, 0.8]], np.float32))
    for outputs, classes in (((4, 3), 2), ((4, 1), 3), ((4, 2, 2), 2)):
        with pytest.raises(ModelError, match="class names"):
            class_probabilities(np.zeros(outputs), classes)


class Fixed:
    """An engine that always gives the same answers."""

    def __init__(self, answers: Any) -> None:
        self.answers = np.asarray(answers, np.float32)

    def probabilities(self, images: Any) -> Any:
        del images
        return self.answers


@pytest.mark.parametrize("wrong", [0.5 + 2 * FLOAT32_TOLERANCE, float("nan")])
def test_a_model_that_answers_otherwise_than_before_is_refused(wrong: float) -> None:
    golden = verify.Golden(np.zeros((1, *SHAPE), np.uint8), np.array([[0.5, 0.5]], np.float32))
    verify.check_golden(Fixed([[0.5005, 0.4995]]), golden, tolerance=FLOAT32_TOLERANCE)
    with pytest.raises(ModelError, match="no longer gives the answers"):
        verify.check_golden(Fixed([[wrong, 0.5]]), golden, tolerance=FLOAT32_TOLERANCE)
    with pytest.raises(ModelError, match="no longer gives the answers"):
        verify.check_golden(Fixed([[0.5, 0.2, 0.3]]), golden, tolerance=FLOAT32_TOLERANCE)


def test_sixteen_bit_layers_are_allowed_a_wider_tolerance(good: Path, tmp_path: Path) -> None:
    build(dtype="mixed_bfloat16").save(tmp_path / "model.keras")
    half = load(tmp_path / "model.keras")
    assert half.tolerance == BFLOAT16_TOLERANCE and load(good).tolerance == FLOAT32_TOLERANCE
    images = np.random.default_rng(0).integers(0, 256, (32, *SHAPE), dtype=np.uint8)
    difference = np.abs(half.probabilities(images) - load(good).probabilities(images)).max()
    assert 0 < difference < BFLOAT16_TOLERANCE


# ------------------------------------------------------------------------------------------------- the bundle's files
@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's files, without a real model: reading them needs no Keras."""
    with store.commit_folder(tmp_path, "bundle") as inside:
        (inside / verify.MODEL).write_bytes(b"a model")
        store.write_json_atomic(inside / verify.ABOUT, {"format": 1, "classes": ["cat", "dog"], "spec": {"height": 8}})
        np.savez(inside / verify.GOLDEN, images=np.zeros((3, *SHAPE), np.uint8), probabilities=np.ones((3, 2), "f4"))
        np.savez(
            inside / verify.SEEN, **{name: np.arange(5, dtype=np.uint64) for name in ("train", "validation", "test")}
        )
    return tmp_path / "bundle"


def remade(bundle: Path, **files: bytes) -> Path:
    """Replace files of a bundle, with a manifest that agrees: what someone who can write the folder can do."""
    for name, data in files.items():
        (bundle / name.replace("_", ".")).write_bytes(data)
    store.write_manifest(bundle)
    return bundle


def npz(path: Path, **arrays: Any) -> bytes:
    np.savez(path, **arrays)
    return path.read_bytes()


def test_a_whole_bundle_is_read(bundle: Path) -> None:
    contents = verify.read_bundle(bundle)
    assert contents.about["classes"] == ["cat", "dog"] and contents.model == bundle / "model.keras"
    assert contents.golden.images.shape == (3, *SHAPE)
    assert contents.seen.split_of(4) == "train" and contents.seen.split_of(5) is None
    (bundle / "a-note-of-mine.txt").write_text("other files in the folder are left alone")
    verify.read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.keras", "bundle.json", "golden.npz", "seen.npz", "manifest.json"])
def test_every_damage_to_every_file_is_noticed(bundle: Path, name: str) -> None:
    path = bundle / name
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    broken = [data[:length] for length in (0, 1, len(data) // 2, len(data) - 1)]
    for _ in range(40):
        flipped = bytearray(data)
        flipped[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        broken.append(bytes(flipped))
    before = verify.read_bundle(bundle)
    for value in [*broken, None, data + b"\n"]:
        if value is None:
            path.unlink()
        else:
            path.write_bytes(value)
        try:
            after = verify.read_bundle(bundle)
        except (ModelError, CorruptError):
            continue
        finally:
            path.write_bytes(data)
        assert name == "manifest.json", "only white space, case or a name nobody reads in the manifest may change"
        assert after.about == before.about and after.model == before.model


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/passwd", "a/../../b", "..", "C:/x", "C:x", "a\\b", "\\\\host\\x", "", ".", "a\nb", "a//b"],
)
def test_names_that_lead_out_of_the_folder_are_refused(bundle: Path, name: str) -> None:
    manifest = store.read_json(bundle / store.MANIFEST)
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    store.write_json_atomic(bundle / store.MANIFEST, manifest)
    assert not verify.is_inside(name)
    with pytest.raises(CorruptError, match="leads out"):
        verify.read_bundle(bundle)


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.keras").rename(tmp_path / "elsewhere")
    (bundle / "model.keras").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptError, match="link"):
        verify.read_bundle(bundle)


@pytest.mark.parametrize(
    "about",
    [b"[]", b"{", b"null", b'{"format": 1}', b'{"format": "x"}', b"[" * 100_000,
     b'{"format": 1, "classes": ["one"], "spec": {}}', b'{"format": 1, "classes": [1, 2], "spec": {}}',
     b'{"format": 1, "classes": "cat dog", "spec": {}}', b'{"format": 1, "classes": ["a", "b"], "spec": 3}'],
)  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(bundle: Path, about: bytes) -> None:
    with pytest.raises(CorruptError, match=r"bundle\.json"):
        verify.read_bundle(remade(bundle, bundle_json=about))


def test_a_bundle_of_a_newer_housetrain_says_so(bundle: Path) -> None:
    with pytest.raises(ModelError, match="newer housetrain"):
        verify.read_bundle(remade(bundle, bundle_json=b'{"format": 3, "classes": ["a", "b"], "spec": {}}'))


def test_a_model_elsewhere_is_refused(bundle: Path) -> None:
    about = b'{"format": 1, "classes": ["a", "b"], "spec": {}, "model": "../model.keras"}'
    with pytest.raises(CorruptError, match="does not list its model"):
        verify.read_bundle(remade(bundle, bundle_json=about))


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ({"model": "../model.keras", "files": ["../model.keras"]}, "does not list its model"),
        ({"model": "/etc/passwd"}, "does not say what"),
        ({"files": []}, None),
        ({"files": "model.keras"}, "does not say what"),
        ({"files": [3]}, "does not say what"),
        ({"model": "saved_model", "files": ["saved_model/x"]}, "does not list its model"),
        ({"tolerance": 7}, "does not say what"),
        ({"tolerance": float("nan")}, "does not say what"),
        ({"engine": ["keras"]}, "does not say what"),
        ({"engine": "pickle"}, "kind of model"),
    ],
)
def test_forms_that_make_no_sense_are_refused(bundle: Path, form: dict[str, Any], word: str | None) -> None:
    whole = {"engine": "keras", "model": "model.keras", "tolerance": 0.002, "files": ["model.keras"], **form}
    about = {"format": 2, "classes": ["a", "b"], "spec": {}, "forms": [whole]}
    changed = remade(bundle, bundle_json=json.dumps(about).encode())
    if word is None:
        assert verify.read_bundle(changed).form.files == ("model.keras",)
        return
    with pytest.raises((CorruptError, ModelError), match=word):
        verify.read_bundle(changed)


def test_arrays_that_would_be_unpickled_or_make_no_sense_are_refused(bundle: Path, tmp_path: Path) -> None:
    images, answers = np.zeros((2, *SHAPE), np.uint8), np.ones((2, 2), np.float32)
    trap = np.array([Trap(tmp_path / "trapped")], dtype=object)
    for golden in (
        npz(tmp_path / "1.npz", images=trap, probabilities=answers),
        npz(tmp_path / "2.npz", images=images.astype(np.float32), probabilities=answers),
        npz(tmp_path / "3.npz", images=images, probabilities=answers[:1]),
        npz(tmp_path / "4.npz", images=images[:0], probabilities=answers[:0]),
        npz(tmp_path / "5.npz", images=images),
        b"not a zip",
        b"",
    ):
        with pytest.raises(CorruptError, match=r"golden\.npz"):
            verify.read_bundle(remade(bundle, golden_npz=golden))
    assert not (tmp_path / "trapped").exists()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_was_seen_must_be_sorted_numbers(bundle: Path, tmp_path: Path) -> None:
    good = np.arange(3, dtype=np.uint64)
    for number, bad in enumerate((good[::-1], good.astype(np.int64), good.reshape(1, 3))):
        data = npz(tmp_path / f"{number}.npz", train=bad, validation=good, test=good)
        with pytest.raises(CorruptError, match=r"seen\.npz"):
            verify.read_bundle(remade(bundle, seen_npz=data))
