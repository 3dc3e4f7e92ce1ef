"""Every format and precision: it says what the Keras model says, it is whole, and its README runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import CorruptError, MissingExtra, ModelError
from housetrain.exports import bundle
from housetrain.inference.engine import Precision
from housetrain.inference.formats import FORMATS
from housetrain.system import store

ALL = [(one.name, precision) for one in FORMATS.values() for precision in one.precisions]


@pytest.fixture(scope="module")
def exported(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports of the digits, each made when it is first asked for; never to be changed by a test."""
    made: dict[Any, bundle.Exported] = {}
    root = tmp_path_factory.mktemp("exports")

    def get(to: str, precision: Precision = "fp32") -> bundle.Exported:
        try:
            FORMATS[to].must_be_writable(precision)
        except MissingExtra as error:
            pytest.skip(str(error))
        if (to, precision) not in made:
            made[to, precision] = ht.export(digits.run, root / f"{to}-{precision}", format=to, precision=precision)
        return made[to, precision]

    return get


@pytest.mark.parametrize(("to", "precision"), ALL)
def test_every_format_agrees_with_keras(exported: Any, digits: Any, to: str, precision: Precision) -> None:
    made = exported(to, precision)
    store.verify_folder(made.folder)
    last = made.parity[-1]
    assert (last.format, last.precision, last.kind) == (to, precision, "validation") and last.good
    assert last.bytes > 1000 and last.ms > 0 and last.images == len(digits.prepared.validation.labels)
    assert last.accuracy is not None and last.keras_accuracy is not None and last.keras_accuracy > 0.8
    if to != "keras":
        assert made.parity[0].format == "keras" and made.parity[0].difference == 0
    if to == "saved-model":
        with pytest.raises(ModelError, match="for other programs: loading it can run code"):
            ht.Predictor.load(made.folder)
        return
    predictor = ht.Predictor.load(made.folder)
    assert predictor.about["engine"] == to
    images = np.asarray(digits.prepared.test.images)
    given = predictor.probabilities(images)
    keras = ht.Predictor.load(digits.run, engine="keras").probabilities(images)
    assert given.dtype == np.float32 and given.shape == keras.shape
    assert np.abs(given - keras).max() <= (1e-5 if precision == "fp32" else 0.2)
    assert np.mean(given.argmax(axis=1) == keras.argmax(axis=1)) >= (1.0 if precision == "fp32" else 0.97)
    assert predictor.probabilities(images[:0]).shape == (0, 10)


def test_small_precisions_are_small(exported: Any) -> None:
    def size(to: str, precision: Precision) -> int:
        return int(exported(to, precision).parity[-1].bytes)

    assert size("litert", "int8") < size("litert", "fp16") < size("litert", "fp32")
    assert size("openvino", "bf16") < size("openvino", "fp32")


@pytest.mark.parametrize(
    "to", [pytest.param(name, marks=pytest.mark.slow) if name == "keras" else name for name in FORMATS]
)
def test_the_readmes_lines_run_as_they_stand(exported: Any, digits: Any, tmp_path: Path, to: str) -> None:
    """With housetrain and without it."""
    folder = exported(to).folder
    shutil.copytree(folder, tmp_path / folder.name)
    photo = next(digits.images.rglob("*.png"))
    shutil.copyfile(photo, tmp_path / "photo.jpg")
    text = (folder / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == (1 if to == "saved-model" else 2)
    expected = ht.Predictor.load(digits.run, engine="keras").predict(photo)
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        label, said = done.stdout.strip().splitlines()[-1].split()
        assert label == expected.label
        assert abs(float(said.rstrip("%")) / 100 - expected.probability) < 0.05


def test_two_classes_in_color_of_an_oblong_size(pets: Any, tmp_path: Path) -> None:
    made = ht.export(pets.run, tmp_path / "pets", format="onnx")
    images = np.asarray(pets.prepared.test.images)
    given = ht.Predictor.load(made.folder).probabilities(images)
    keras = ht.Predictor.load(pets.run, engine="keras").probabilities(images)
    np.testing.assert_allclose(given, keras, atol=1e-5)
    assert np.ptp(keras[:, 1]) > 0.01, "a model that always says the same would make this test blind"


@pytest.mark.parametrize("to", ["openvino", "onnx", "litert"])
def test_the_same_run_gives_the_same_bytes(exported: Any, digits: Any, tmp_path: Path, to: str) -> None:
    first = exported(to).folder
    again = ht.export(digits.run, tmp_path / first.name, format=to).folder
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (first, again)]
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []


# ------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("to", ["openvino", "onnx", "litert"])
def test_other_numbers_under_an_agreeing_manifest_are_refused(exported: Any, tmp_path: Path, to: str) -> None:
    """Someone changes weights and makes the manifest agree: the golden images still tell."""
    folder = tmp_path / "bundle"
    shutil.copytree(exported(to).folder, folder)
    path = folder / ("model.bin" if to == "openvino" else FORMATS[to].file)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 2000)
    data[middle] = np.random.default_rng(0).normal(0, 3, 500).astype(np.float32).tobytes()
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="missing or was changed"):
        ht.Predictor.load(folder)
    store.write_manifest(folder)
    with pytest.raises(ModelError) as caught:
        ht.Predictor.load(folder)
    assert "\n" not in str(caught.value)
