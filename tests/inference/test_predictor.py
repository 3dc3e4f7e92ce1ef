"""Images in, names out: with a fake engine what a Predictor does, with real models that it is right."""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253

import housetrain as ht
from housetrain.data.class_map import ClassMap
from housetrain.errors import DecodeError, ModelError, RecipeError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.inference import predictor as predicting
from housetrain.inference.decision import LEVELS, Decision
from housetrain.inference.predictor import Prediction, Predictor
from housetrain.inference.verify import Seen
from housetrain.inference.vote import predict_sequences
from housetrain.models.outputs import at_temperature

SPEC = InputSpec(height=4, width=4, color_mode="grayscale")
CLASSES = ("ant", "bee", "cow")


class Brightness:
    """A fake engine: the class is the brightness of the image, 0 to 84 an ant, to 169 a bee, above a cow."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.seconds = seconds

    name, precision, parallel = "brightness", "fp32", 1

    def close(self) -> None:
        """Nothing to release."""

    def run(self, images: Any) -> Any:
        self.sizes.append(len(images))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        place = np.minimum(images.reshape(len(images), -1).mean(axis=1) // 85, 2).astype(int)
        return (np.eye(3, dtype=np.float32)[place] * np.float32(0.75)) + np.array([0.125, 0.0625, 0.0625], np.float32)


@pytest.fixture
def engine() -> Brightness:
    return Brightness()


@pytest.fixture
def predictor(engine: Brightness) -> Predictor:
    return Predictor(engine, SPEC, classes=CLASSES)


def png(value: int, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("L", (size, size), value).save(file, "PNG")
    return file.getvalue()


# ------------------------------------------------------------------------------------------------- one image
def test_one_image_is_named_with_probability_margin_and_runners_up(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "bright.png"
    path.write_bytes(png(255))
    given = predictor.predict(path)
    assert given == Prediction(
        str(path), "cow", 0.8125, (("cow", 0.8125), ("ant", 0.125), ("bee", 0.0625)), 0.6875, None, None
    )
    assert predictor.predict(path, top=1).top == (("cow", 0.8125),)
    for source in (str(path), png(255), np.full((3, 5), 255, np.uint8), Image.new("L", (2, 2), 255)):
        assert predictor.predict(source).top == given.top


def test_a_image_that_cannot_be_read_raises_and_names_it(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DecodeError, match=r"empty file.*empty\.png") as caught:
        predictor.predict(tmp_path / "empty.png")
    assert caught.value.reason == "empty file"
    with pytest.raises(DecodeError, match="not found"):
        predictor.predict(tmp_path / "gone.png")


def test_predictions_are_json_plain() -> None:
    good = Prediction("a\udcff.jpg", "cat", 0.75, (("cat", 0.75), ("dog", 0.25)), 0.5, "train")
    assert json.loads(json.dumps(good.to_json(), allow_nan=False)) == {
        "image": "a\udcff.jpg", "label": "cat", "probability": 0.75, "margin": 0.5, "seen": "train", "error": None,
        "unsure": False, "novel": None,
        "top": [{"label": "cat", "probability": 0.75}, {"label": "dog", "probability": 0.25}],
    }  # fmt: skip
    bad = Prediction.failed("b.jpg", "truncated")
    assert math.isnan(bad.probability) and bad.label == "" and bad.error == "truncated"
    assert json.dumps(bad.to_json(), allow_nan=False).count("null") == 6


def test_seen_names_the_split_by_content_whatever_the_file_is_called(engine: Brightness, tmp_path: Path) -> None:
    import hashlib

    def prefix(data: bytes) -> int:
        return int(hashlib.sha256(data).hexdigest()[:16], 16)

    def numbers(*values: int) -> Any:
        return np.array(sorted(values), np.uint64)

    seen = Seen({"train": numbers(prefix(png(1)), prefix(png(2))), "validation": numbers(prefix(png(3))),
                 "test": numbers(2**64 - 1, 0)})  # fmt: skip
    predictor = Predictor(engine, SPEC, classes=CLASSES, seen=seen)
    (tmp_path / "renamed").write_bytes(png(2))
    assert [predictor.predict(png(value)).seen for value in (1, 2, 3, 4)] == ["train", "train", "validation", None]
    assert predictor.predict(tmp_path / "renamed").seen == "train"
    assert predictor.predict(np.asarray(Image.open(io.BytesIO(png(1))))).seen is None


# ------------------------------------------------------------------------------------------------- many images
@pytest.fixture
def folder(tmp_path: Path) -> list[Path]:
    """50 images whose brightness is their number times five; three cannot be read."""
    paths = []
    for number in range(50):
        path = tmp_path / f"{number:02}.png"
        path.write_bytes(png(number * 5))
        paths.append(path)
    paths[10].write_bytes(b"")
    paths[11].write_bytes(b"<html>no</html>")
    paths[49].unlink()
    return paths


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_many_come_in_order_with_errors_in_their_rows(
    predictor: Predictor, folder: list[Path], workers: int, batch_size: int
) -> None:
    given = list(predictor.predict_many(folder, batch_size=batch_size, workers=workers))
    assert [one.image for one in given] == [str(path) for path in folder]
    assert [index for index, one in enumerate(given) if one.error] == [10, 11, 49]
    assert [given[10].error, given[49].error] == ["empty file", "file not found"]
    for number, one in enumerate(given):
        if not one.error:
            assert one == predictor.predict(folder[number])


def test_few_sizes_reach_the_engine(predictor: Predictor, engine: Brightness, folder: list[Path]) -> None:
    """Every new size may be a compilation: full batches, and a power of two for what is left."""
    list(predictor.predict_many(folder, batch_size=20, workers=0))  # 47 images: 20, 20, 7 -> 8
    assert engine.sizes == [20, 20, 8]
    engine.sizes.clear()
    given = predictor.probabilities(np.zeros((37, 4, 4, 1), np.uint8), batch_size=32)
    assert engine.sizes == [32, 8] and given.shape == (37, 3)
    assert predictor.probabilities(np.zeros((0, 4, 4, 1), np.uint8)).shape == (0, 3)


def test_it_streams(predictor: Predictor) -> None:
    """Rows come while the sources are still being listed, however long that goes on."""
    given = predictor.predict_many((png(number % 256) for number in itertools.count()), batch_size=4, workers=0)
    assert len([*itertools.islice(given, 100)]) == 100
    given.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("housetrain-model")]


def test_stopping_early_leaves_no_process_and_no_thread(predictor: Predictor, folder: list[Path]) -> None:
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    given = predictor.predict_many(folder * 20, batch_size=4, workers=2)
    next(given)
    given.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("housetrain-model")]
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    left = [child for child in left if "forkserver" not in " ".join(child.cmdline())
            and "resource_tracker" not in " ".join(child.cmdline())]  # fmt: skip
    assert left == []


def test_decoding_goes_on_while_the_model_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and a decoder that each wait 10 ms a step take little more than one of them alone."""
    engine = Brightness(seconds=0.02)
    slow = decode.load_image

    def load(source: Any, spec: InputSpec) -> Any:
        time.sleep(0.01)
        return slow(source, spec)

    monkeypatch.setattr(decode, "load_image", load)
    predictor = Predictor(engine, SPEC, classes=CLASSES)
    start = time.perf_counter()
    list(predictor.predict_many([png(1)] * 40, batch_size=2, workers=0))
    taken = time.perf_counter() - start
    assert taken < 0.9 * (40 * 0.01 + 20 * 0.02), "one after the other"
    assert threading.get_ident() not in engine.threads


def test_memory_is_flat(predictor: Predictor) -> None:
    """4,000 large arrays pass through in the memory of a few."""

    def arrays(count: int) -> Iterator[Any]:
        for number in range(count):
            yield np.full((300, 400, 3), number % 256, np.uint8)  # 360 kB each

    list(predictor.predict_many(arrays(50)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in predictor.predict_many(arrays(4000))) == 4000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


def test_an_engine_that_fails_says_so_and_ends(folder: list[Path]) -> None:
    class Broken:
        parallel = 1

        def run(self, images: Any) -> Any:
            raise RuntimeError("no device")

    given = Predictor(Broken(), SPEC, classes=CLASSES).predict_many(folder, workers=0)
    with pytest.raises(RuntimeError, match="no device"):
        list(given)


def test_predict_takes_a_run_a_bundle_or_a_path_and_images_folders_or_patterns(
    digits: Any, bundle: Path, tmp_path: Path
) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    paths = sorted(digits.images.rglob("*.png"))[:5]
    for path in paths:
        shutil.copyfile(path, holiday / path.name)
    (holiday / "broken.png").write_bytes(b"no image")
    with Predictor.load(digits.run) as loaded:
        wanted = [loaded.predict(path).label for path in sorted(holiday.glob("[0-9]*.png"))]
    for run, images in (
        (digits.run, holiday),
        (str(digits.run.folder), [str(holiday / "*.png")]),
        (bundle, holiday),
    ):
        rows = list(predicting.predict(run, images, top=2, workers=0))
        assert [row.label for row in rows if not row.error] == wanted
        assert [Path(row.image).name for row in rows if row.error] == ["broken.png"]
        assert all(len(row.top) == 2 for row in rows if not row.error)
    with pytest.raises(ModelError, match="There is no such model"):
        predicting.predict(holiday / "gone", holiday)  # before the first prediction is asked for


def test_wrong_arrays_for_probabilities_are_refused(predictor: Predictor) -> None:
    for wrong in (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 1), np.float32), np.zeros((4, 4, 1), np.uint8)):
        with pytest.raises(ModelError, match="does not hold prepared images"):
            predictor.probabilities(wrong)
    with pytest.raises(ValueError, match="batch_size=0"):
        list(predictor.predict_many([], batch_size=0))


# ------------------------------------------------------------------------------------------------- what is loaded
def test_importing_the_predictor_imports_no_heavy_library() -> None:
    code = "from housetrain.inference.predictor import Predictor\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib", "pydantic", "PIL.Image", "scipy", "h5py"}
    assert not heavy & set(done.stdout.split())


def test_without_keras_the_extra_is_named(bundle: Path) -> None:
    """On a machine where only the core is installed, a Keras bundle asks for the extra in one line."""
    code = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "tensorflow", "openvino"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.split(".")[0])
sys.meta_path.insert(0, Hide())
from housetrain.inference.predictor import Predictor
from housetrain.errors import MissingExtra
try:
    Predictor.load({str(bundle)!r}, engine="keras")
except MissingExtra as error:
    print(error)
try:
    Predictor.load({str(bundle)!r})
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    keras, either = done.stdout.splitlines()
    assert "extra='tensorflow'" in keras and "extra='openvino'" in either


def test_naming_one_photo_imports_nothing_it_does_not_need(bundle: Path, digits: Any) -> None:
    photo = next(digits.images.rglob("*.png"))
    code = (
        "import sys; from housetrain import cli\n"
        f"sys.argv = ['housetrain', 'predict', {str(bundle)!r}, {str(photo)!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as left: print(left.code)\n"
        "heavy = ('tensorflow', 'keras', 'pydantic', 'rich', 'openvino.tools.ovc', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, exit_code, heavy = done.stdout.splitlines()
    assert said.startswith(str(photo)) and exit_code == "0" and heavy == "[]"


def test_a_bundle_predicts_without_tensorflow_and_keras(bundle: Path, digits: Any) -> None:
    photo = next(digits.images.rglob("*.png"))
    code = (
        f"import sys, housetrain; p = housetrain.Predictor.load({str(bundle)!r});"
        f"print(p.predict({str(photo)!r}).label, p.about['engine']);"
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = Predictor.load(bundle, engine="keras").predict(photo).label
    assert done.stdout.splitlines() == [f"{expected} openvino", "[]"]
    assert done.stderr == ""


# ------------------------------------------------------------------------------------------------- real models
@pytest.mark.parametrize("which", ["digits", "pets"])
@pytest.mark.parametrize("workers", [0, 2])
def test_train_and_predict_cannot_disagree(which: str, workers: int, request: pytest.FixtureRequest) -> None:
    """The files give the very arrays the model was validated on, so the very probabilities, in gray and in color."""
    trained = request.getfixturevalue(which)
    predictor = Predictor.load(trained.run)
    prepared = trained.prepared
    files = [prepared.split.root / path for path in prepared.validation.paths]
    arrays = np.asarray(prepared.validation.images)
    for path, array in zip(files, arrays, strict=True):
        np.testing.assert_array_equal(decode.load_image(path, predictor.spec), array)
    expected = predictor.probabilities(arrays, batch_size=16)
    given = list(predictor.predict_many(files, batch_size=16, workers=workers))
    order = [[dict(one.top)[name] for name in prepared.classes] for one in given]
    if workers == 0:
        np.testing.assert_array_equal(np.array(order, np.float32), expected)
    else:  # batches may be made up otherwise, and a sum in another order ends in another last bit
        np.testing.assert_allclose(np.array(order, np.float32), expected, atol=1e-6)
    assert [one.seen for one in given] == ["validation"] * len(given)
    right = [one.label == prepared.classes[label] for one, label in zip(given, prepared.validation.labels, strict=True)]
    floor = 0.8 if which == "digits" else 0.0
    assert np.mean(right) >= floor


@pytest.mark.parametrize("which", ["digits", "pets"])
def test_probabilities_are_those_of_plain_keras_by_name(which: str, request: pytest.FixtureRequest) -> None:
    import keras

    trained = request.getfixturevalue(which)
    bundle = trained.run.folder / "plain-keras"
    ht.export(trained.run, bundle)
    predictor = Predictor.load(bundle)
    images = np.asarray(trained.prepared.validation.images[:10])
    plain = keras.models.load_model(bundle / "model.keras").predict(images, verbose=0)
    given = predictor.probabilities(images)
    if len(predictor.classes) == 2:
        plain = np.concatenate([1 - plain, plain], axis=1)  # one sigmoid is the second name by alphabet
    expected = at_temperature(plain, predictor.decision.temperature)
    np.testing.assert_allclose(given, expected, atol=1e-6)
    assert predictor.classes == trained.prepared.classes


def test_a_map_merges_and_drops_classes(tiny: Any) -> None:
    image = str(tiny.images / "cats" / "0.png")
    with Predictor.load(tiny.run) as plain:
        before = dict(plain.predict(image).top)
        renamed = plain.mapped(ClassMap({"cats": "feline", "unknown": "x"}))
        assert dict(renamed.predict(image).top) == {"feline": before["cats"], "dogs": before["dogs"]}
        assert plain.mapped(ClassMap({"unknown": "x"})) is plain
        with pytest.raises(RecipeError, match="fewer than two"):
            plain.mapped(ClassMap({"cats": "dogs"}))


def test_dropped_classes_make_a_prediction_unsure(engine: Brightness) -> None:
    mapped = Predictor(engine, SPEC, classes=CLASSES).mapped(ClassMap({"cow": ""}))
    dark, bright = mapped.predict_many([np.full((4, 4), value, np.uint8) for value in (0, 255)], workers=0)
    assert (dark.label, dark.unsure) == ("ant", False)
    assert dark.probability == pytest.approx(0.875 / 0.9375)
    assert (bright.label, bright.unsure) == ("ant", True)
    assert bright.probability == pytest.approx(0.125 / 0.1875)
    assert mapped.probabilities(np.zeros((3, 4, 4, 1), np.uint8)).shape == (3, 2)


def test_prediction_sets_and_thresholds_of_a_class(engine: Brightness) -> None:
    def of(quantile: float) -> Predictor:
        decision = Decision(threshold=0.7, images=100, quantiles=(quantile,) * len(LEVELS))
        return Predictor(engine, SPEC, classes=CLASSES, decision=decision)

    image = np.full((8, 8), 10, np.uint8)
    plain = of(0.5)
    first = plain.predict(image)
    assert (first.label, first.unsure, first.prediction_set) == ("ant", False, ())
    assert "prediction_set" not in first.to_json()
    ruled = plain.with_rules(set_level=0.95, accept={"ant": 0.99})
    found = ruled.predict(image)
    assert found.unsure and found.prediction_set == ("ant",)
    both = of(0.99).with_rules(set_level=0.9).predict(image)
    assert both.prediction_set == ("ant", "bee", "cow") and not both.unsure
    assert Prediction.from_json(both.to_json(), image="x").prediction_set == both.prediction_set
    dropped = of(0.99).mapped(ClassMap.of({"cow": ""})).with_rules(set_level=0.9)
    assert dropped.predict(image).prediction_set == ("ant", "bee")
    assert plain.with_rules() is plain and not plain.accept
    for wrong in ({"set_level": 0.4}, {"accept": {"dog": 0.5}}, {"accept": {"ant": 1.5}}):
        with pytest.raises(RecipeError):
            plain.with_rules(**wrong)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="validation outputs"):
        Predictor(engine, SPEC, classes=CLASSES).with_rules(set_level=0.9)
    with pytest.raises(RecipeError, match="votes"):
        list(predict_sequences(ruled, [], vote_by="parent"))
