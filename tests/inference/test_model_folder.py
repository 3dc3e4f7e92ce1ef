"""Which model a path means: bundles, runs, and everything that is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import CorruptError, HousetrainError, ModelError
from housetrain.inference import model_folder
from housetrain.inference.predictor import Predictor
from housetrain.system import store


@pytest.mark.parametrize("name", ["nothing", "model.h5", "model.pkl", "model.keras", "saved", "empty"])
def test_what_is_neither_bundle_nor_run_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("model."):
        path.write_bytes(b"x")
    elif name != "nothing":
        path.mkdir()
    if name == "saved":
        (path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(HousetrainError, match=r"bundle( \(bundle.json\))? or (a )?run folder") as caught:
        Predictor.load(path)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_run_and_its_bundle_answer_the_same(digits: Any, bundle: Path) -> None:
    images = np.asarray(digits.prepared.test.images)
    from_run, from_bundle = Predictor.load(digits.run.folder), Predictor.load(bundle)
    np.testing.assert_allclose(from_run.probabilities(images), from_bundle.probabilities(images), atol=1e-5)
    assert from_bundle.about["classes"] == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("of", ["run", "bundle"])
def test_pixels_that_are_decoded_in_another_way_now_are_told(
    of: str, digits: Any, bundle: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, engine = (digits.run.folder, "keras") if of == "run" else (bundle, None)
    Predictor.load(folder, engine=engine)
    assert not caplog.messages
    monkeypatch.setattr(model_folder, "PIXELS", model_folder.PIXELS + 1)
    Predictor.load(folder, engine=engine)
    assert len(caplog.messages) == 1 and "decoded in another way" in caplog.messages[0]


def test_a_bundle_that_is_older_than_the_runs_model_is_passed_over(digits: Any, tmp_path: Path) -> None:
    """Training went on after the bundle was made: the run's present model answers, not the old bundle."""
    folder = tmp_path / "run"
    shutil.copytree(digits.run.folder, folder, ignore=shutil.ignore_patterns("bundle", "checkpoints"))
    ht.export(folder)
    assert "run" in Predictor.load(folder).about, "from the bundle"
    import keras

    model = keras.models.load_model(folder / "model.keras")
    *_, kernel, bias = model.get_weights()
    model.set_weights([*model.get_weights()[:-2], kernel * 0.5, bias])
    model.save(folder / "model.keras")
    newer = Predictor.load(folder)
    assert "run" not in newer.about
    images = np.asarray(digits.prepared.test.images[:5])
    assert np.abs(newer.probabilities(images) - Predictor.load(folder / "bundle").probabilities(images)).max() > 0.01


def test_a_bundle_changed_anywhere_is_refused(bundle: Path) -> None:
    for name in ("model.keras", "bundle.json", "golden.npz", "seen.npz", "README.md"):
        data = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(CorruptError, match="missing or was changed"):
            Predictor.load(bundle)
        (bundle / name).write_bytes(data)
    Predictor.load(bundle)


def test_another_model_under_the_same_manifest_is_refused(bundle: Path) -> None:
    """Someone puts in other weights and makes the manifest agree: the golden images still tell."""
    import keras

    model = keras.models.load_model(bundle / "model.keras")
    model.set_weights([weight * 1.05 for weight in model.get_weights()])
    model.save(bundle / "model.keras")
    store.write_manifest(bundle)
    with pytest.raises(ModelError, match="no longer returns the probabilities"):
        Predictor.load(bundle, engine="keras")


def test_a_bundle_replaced_while_it_is_read_is_read_again(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.inference import verify

    good = verify.read_bundle
    tries = 0

    def torn(folder: Path, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:  # an export lands between the manifest and the model
            manifest = store.read_json(folder / store.MANIFEST)
            store.write_json_atomic(folder / store.MANIFEST, {**manifest, "again": 1})
            raise CorruptError("model.keras of the bundle is missing or was changed")
        return good(folder, **options)

    monkeypatch.setattr(verify, "read_bundle", torn)
    assert Predictor.load(bundle).classes[0] == "0"
    assert tries == 2


def test_a_bundle_for_another_engine_says_what_is_missing(bundle: Path) -> None:
    about = store.read_json(bundle / "bundle.json")
    models = [{**entry, "format": "tomorrow"} for entry in about["models"]]
    store.write_json_atomic(bundle / "bundle.json", {**about, "models": models})
    store.write_manifest(bundle)
    with pytest.raises(ModelError, match="kind of model"):
        Predictor.load(bundle)


def test_a_run_without_a_bundle_has_no_other_engine(digits: Any, tmp_path: Path) -> None:
    run = ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("bundle")))
    with pytest.raises(ModelError, match=r"The run has no onnx model.*export the run"):
        Predictor.load(run, engine="onnx")
    assert Predictor.load(run, engine="keras").about["model_sha256"] == run.model_sha256


def test_the_model_files_of_a_run_are_those_of_keras_or_of_an_encoder(tmp_path):
    from housetrain.inference.model_folder import model_files

    assert model_files(tmp_path) == ()
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in model_files(tmp_path)] == ["model.xml", "model.bin"]
