"""What a Keras file may be, and that everything else is refused with one of our own errors."""

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

from housetrain.errors import ModelError
from housetrain.inference.engine import LoadedModel
from housetrain.inference.formats import keras as keras_format
from housetrain.inference.model_format import TOLERANCES
from housetrain.models.outputs import class_probabilities

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


def load(path: Path) -> LoadedModel:
    return keras_format.FORMAT.open(path, classes=2, input_shape=SHAPE)


def probabilities(engine: LoadedModel, images: Any) -> Any:
    return class_probabilities(engine.run(images), 2)


def test_a_good_model_loads_and_answers_as_keras_does(good: Path) -> None:
    import keras

    images = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    given = probabilities(load(good), images)
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
        assert keras_format.unknown_classes(json.loads(json.dumps(config))) == []


# ------------------------------------------------------------------------------------------------- what is refused
def test_lambda_layers_are_refused_before_keras_sees_them(tmp_path: Path) -> None:
    import keras

    build(extra=keras.layers.Lambda(lambda x: x * 2)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"refused.*keras\.layers\.Lambda"):
        keras_format.check(tmp_path / "model.keras")


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
def test_unknown_classes_in_the_description_are_refused_by_name(
    good: Path, tmp_path: Path, change: Callable[[Any], None], word: str
) -> None:
    path = with_config(good, tmp_path / "model.keras", change)
    with pytest.raises(ModelError, match=word) as caught:
        keras_format.check(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_in_the_file_is_not_imported(good: Path, tmp_path: Path) -> None:
    """The refusal happens without an import of what the file names."""
    (tmp_path / "trap.py").write_text("raise SystemExit('the trap was imported')")
    path = with_config(good, tmp_path / "model.keras", swap(module="trap", class_name="Layer"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom housetrain.inference.formats.keras import check\n"
        "check(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert "ModelError" in done.stderr and "the trap" not in done.stderr


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.pkl", "model.joblib", "model.pt", "saved_model.pb"])
def test_other_formats_are_refused_each_with_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ModelError, match="code when loaded") as caught:
        keras_format.refuse_other_formats(tmp_path / name)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_saved_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(ModelError, match="SavedModel"):
        keras_format.refuse_other_formats(tmp_path)


def test_archives_that_hold_no_model_are_refused(good: Path, tmp_path: Path) -> None:
    def attempt(name: str, change: Callable[[str, bytes], dict[str, bytes]], match: str) -> None:
        with pytest.raises(ModelError, match=match):
            load(rewritten(good, tmp_path / f"{name}.keras", change))

    attempt("traversal", lambda n, d: {n: d, f"../{n}": d}, "unexpected members")
    attempt("assets", lambda n, d: {n: d, "assets/run.py": b""}, "unexpected members")
    attempt("no-weights", lambda n, d: {} if n.endswith("h5") else {n: d}, "unexpected members")
    attempt("not-json", lambda n, d: {n: b"{" if n == "config.json" else d}, "not JSON")
    attempt("deep", lambda n, d: {n: b"[" * 100_000 if n == "config.json" else d}, "not JSON")
    attempt("empty", lambda n, d: {n: b"{}" if n == "config.json" else d}, "describes no model")
    attempt("not-h5", lambda n, d: {n: b"x" * 1000 if n.endswith("h5") else d}, "cannot load")
    attempt("big", lambda n, d: {n: b" " * (17 << 20) if n == "metadata.json" else d}, "too large")

    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in keras_format._MEMBERS:
            archive.writestr(name, bytes(10 << 20))
    with pytest.raises(ModelError, match="expands"):
        load(bomb)

    twice = tmp_path / "twice.keras"
    shutil.copyfile(good, twice)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(ModelError, match="unexpected members"):
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
        keras_format.FORMAT.open(good, classes=3, input_shape=SHAPE)
    with pytest.raises(ModelError, match="does not match its input spec"):
        keras_format.FORMAT.open(good, classes=2, input_shape=(8, 8, 3))


def test_sixteen_bit_layers_are_recognized(good: Path, tmp_path: Path) -> None:
    build(dtype="mixed_bfloat16").save(tmp_path / "model.keras")
    half = load(tmp_path / "model.keras")
    assert half.precision == "bf16" and load(good).precision == "fp32"
    images = np.random.default_rng(0).integers(0, 256, (32, *SHAPE), dtype=np.uint8)
    difference = np.abs(probabilities(half, images) - probabilities(load(good), images)).max()
    assert 0 < difference < TOLERANCES["bf16"]
