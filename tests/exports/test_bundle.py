"""What a bundle holds, and that making one is all or nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import prepared_digits
import pytest

import housetrain as ht
from housetrain.errors import DiskFull, IncompleteError, ModelError
from housetrain.exports import bundle as bundles
from housetrain.exports import run_images
from housetrain.inference import verify
from housetrain.inference.formats import keras as keras_format
from housetrain.system import store

FILES = {"model.keras", "model.xml", "model.bin", "bundle.json", "golden.npz", "seen.npz", "README.md", "manifest.json"}


def test_a_bundle_is_whole_and_says_what_it_is(digits: Any, bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == FILES
    store.verify_folder(bundle)
    about = json.loads((bundle / "bundle.json").read_bytes())
    assert about["layout_version"] == 3 and about["keras"][0] == "3"
    assert [(entry["format"], entry["file"]) for entry in about["models"]] == [
        ("openvino", "model.xml"),
        ("keras", "model.keras"),
    ]
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert about["spec"] == digits.prepared.spec.to_json()
    assert about["recipe"] == digits.run.recipe_json
    assert about["data"] == digits.prepared.fingerprint
    assert about["metrics"]["validation"]["accuracy"] > 0.8
    assert about["counts"] == digits.prepared.counts()
    assert about["trained"] and about["housetrain"] == ht.__version__
    assert str(digits.run.folder.parent) not in (bundle / "bundle.json").read_text(), "no path of this machine"


def test_an_export_tells_its_callbacks_and_reads_the_model_once(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    told: list[tuple[Any, ...]] = []

    class Follow(ht.Callback):
        def begin(self, stage: str, **facts: Any) -> None:
            told.append(("begin", stage, facts["run"]))

        def progress(self, stage: str, done: int, total: int, **facts: Any) -> None:
            told.append((stage, done, total, facts["unit"]))

        def end(self, stage: str, state: str = "complete", **facts: Any) -> None:
            told.append(("end", stage, state))

    loaded: list[str] = []
    load = keras.models.load_model
    monkeypatch.setattr(keras.models, "load_model", lambda path, **rest: loaded.append(str(path)) or load(path, **rest))
    run = ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run", ignore=lambda *_: ["bundle"]))
    ht.evaluate(run, prepared=digits.prepared, again=True)
    ht.export(run, tmp_path / "bundle", callbacks=[Follow()])
    steps = [("export", done, 2, "models") for done in (1, 2)]
    assert told == [("begin", "export", run.name), *steps, ("end", "export", "complete")]
    assert loaded == [str(run.model_path)], "the tested model is the exported one"
    told.clear()
    with pytest.raises(DiskFull):
        ht.export(run, Path("/proc/none"), callbacks=[Follow()])
    assert told[-1] == ("end", "export", "failed")


def test_golden_images_are_real_and_of_every_kind(digits: Any, bundle: Path) -> None:
    golden = verify.read_bundle(bundle).golden
    validation = np.asarray(digits.prepared.validation.images)
    places = [int(np.flatnonzero((validation == image).all(axis=(1, 2, 3)))[0]) for image in golden.images]
    assert len(places) == bundles.GOLDEN_IMAGES == 12
    assert set(digits.prepared.validation.labels[places]) == set(range(10))
    np.testing.assert_allclose(golden.probabilities.sum(axis=1), 1, atol=1e-5)


def test_seen_is_every_image_of_every_split(digits: Any, bundle: Path) -> None:
    seen = verify.read_bundle(bundle).seen
    for split in ("train", "validation", "test"):
        prefixes = {int(value[:16], 16) for value in digits.prepared.arrays(split).sha256}
        assert set(seen.prefixes[split].tolist()) == prefixes
        assert all(seen.split_of(prefix) == split for prefix in prefixes)


def test_the_model_in_it_is_for_use_only(pets: Any, tmp_path: Path) -> None:
    """It holds neither augmentation nor an optimizer, and nothing that plain Keras would not know."""
    bundle = ht.export(pets.run, tmp_path / "bundle").folder
    assert pets.run.recipe_json["flip"] == "horizontal"
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "Augment" not in config and "Random" not in config and "housetrain" not in config
    assert not json.loads(config).get("compile_config")
    assert keras_format.unknown_classes(json.loads(config)) == []


def test_the_same_run_gives_the_same_bytes(digits: Any, bundle: Path, tmp_path: Path) -> None:
    again = ht.export(digits.run.folder, tmp_path / "elsewhere" / "bundle").folder
    assert (again / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()


def test_golden_images_come_from_the_files_or_else_from_noise(digits: Any, tmp_path: Path) -> None:
    """The prepared arrays are gone; then the images are gone too. A bundle is made all the same, and says so."""
    folder = tmp_path / "run"
    shutil.copytree(digits.run.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "bundle"))
    facts = json.loads((folder / "input.json").read_bytes())
    (folder / "input.json").write_text(json.dumps({**facts, "prepared": str(tmp_path / "gone")}))
    expected = verify.read_bundle(ht.export(digits.run, tmp_path / "expected").folder).golden.images
    from_files = verify.read_bundle(ht.export(folder, tmp_path / "files").folder)
    assert from_files.about["golden"] == "validation"
    np.testing.assert_array_equal(from_files.golden.images, expected)

    away = digits.images.with_name("away")
    digits.images.rename(away)
    try:
        from_noise = verify.read_bundle(ht.export(folder, tmp_path / "noise").folder)
    finally:
        away.rename(digits.images)
    assert from_noise.about["golden"] == "noise" and len(from_noise.golden.images) == 12
    assert ht.Predictor.load(tmp_path / "noise").predict(next(digits.images.rglob("*.png"))).label


# ------------------------------------------------------------------------------------------------- all or nothing
def test_a_moved_run_is_exported_with_the_images_that_are_named(digits: Any, tmp_path: Path) -> None:
    run = ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run", ignore=lambda *_: ["bundle"]))
    arrays = ht.Prepared.open(shutil.copytree(digits.prepared.folder, tmp_path / "elsewhere" / "arrays"))
    exported = ht.export(run, tmp_path / "bundle", prepared=arrays)
    assert verify.read_bundle(exported.folder).about["golden"] == "validation"
    other = prepared_digits.digits(tmp_path / "other", classes=2, most=60)
    with pytest.raises(IncompleteError, match="no longer those of the run"):
        ht.export(run, tmp_path / "bundle", prepared=other)
    verify.read_bundle(exported.folder)


def test_a_run_without_a_model_is_refused(digits: Any, tmp_path: Path) -> None:
    shutil.copytree(digits.run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "*.keras"))
    with pytest.raises(IncompleteError, match="no model yet"):
        ht.export(tmp_path / "run")
    with pytest.raises(IncompleteError, match="no such run folder"):
        ht.export(tmp_path / "nothing")


def test_nothing_but_a_bundle_is_replaced(digits: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "only-copy.jpg").write_bytes(b"x")
    with pytest.raises(ModelError, match="holds something else"):
        ht.export(digits.run, photos)
    assert (photos / "only-copy.jpg").read_bytes() == b"x"
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ModelError, match="holds something else"):
        ht.export(digits.run, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert ht.Predictor.load(ht.export(digits.run, tmp_path / "empty").folder)


def test_a_failed_export_leaves_the_old_bundle_and_nothing_else(
    digits: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (bundle / "manifest.json").read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "_save_arrays", fail)
    with pytest.raises(DiskFull, match="the previous content is intact"):
        ht.export(digits.run, bundle)
    assert (bundle / "manifest.json").read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]
    ht.Predictor.load(bundle)


def test_a_model_that_answers_nan_is_not_exported(digits: Any, tmp_path: Path) -> None:
    import keras

    folder = tmp_path / "run"
    shutil.copytree(digits.run.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "bundle"))
    model = keras.models.load_model(folder / "model.keras")
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    model.save(folder / "model.keras")
    with pytest.raises(ModelError, match="NaN or infinite"):
        ht.export(folder)
    assert not (folder / "bundle").exists()


@pytest.mark.kill
def test_an_export_killed_at_any_moment_leaves_the_old_bundle_or_the_new(digits: Any, bundle: Path) -> None:
    code = (
        "import housetrain as ht\nwhile True:\n"
        f"    ht.export({str(digits.run.folder)!r}, {str(bundle)!r}).folder; print('.', flush=True)"
    )
    rng = np.random.default_rng(0)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline(), "the export failed"
    time.sleep(float(rng.uniform(0, 0.5)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store.verify_folder(bundle)
    ht.export(digits.run, bundle)
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name], "leftovers are cleared by the next export"


def test_the_run_the_bundle_and_the_test_agree_on_every_probability(digits: Any, tmp_path: Path) -> None:
    """The temperature is applied in one place, found from the same files, and is part of the bundle."""
    run = ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run", ignore=lambda *_: ["bundle"]))
    tested = ht.evaluate(run, prepared=digits.prepared, again=True)
    own = ht.Predictor.load(run)
    exported = ht.Predictor.load(ht.export(run, tmp_path / "bundle").folder)
    assert tested.decision == own.decision == exported.decision
    assert tested.decision.temperature != 1 and tested.decision.images == len(digits.prepared.validation)
    images = np.asarray(digits.prepared.test.images[:32])
    expected = [row.probabilities for row in tested.rows[:32]]
    for predictor in (own, exported):
        np.testing.assert_allclose(predictor.probabilities(images), expected, atol=2e-5)
    about = json.loads((tmp_path / "bundle" / "bundle.json").read_bytes())
    del about["decision"]
    store.write_json_atomic(tmp_path / "bundle" / "bundle.json", about)
    store.write_manifest(tmp_path / "bundle")
    old = ht.Predictor.load(tmp_path / "bundle")
    assert old.decision.temperature == 1 and not old.predict(images[0]).unsure, "a bundle of an earlier version"


# ------------------------------------------------------------------------------------------------- the README
def test_a_bundle_works_wherever_it_is_moved(bundle: Path, digits: Any, tmp_path: Path) -> None:
    moved = tmp_path / "a folder with ünïcode and 'quotes'"
    bundle.rename(moved)
    assert ht.Predictor.load(moved).predict(next(digits.images.rglob("*.png"))).seen in (
        "train",
        "validation",
        "test",
    )


def test_golden_rows_are_spread_over_the_classes() -> None:
    labels = ["a"] * 50 + ["b"] * 3 + ["c"] * 20
    chosen = [labels[place] for place in run_images.spread(labels, 12)]
    assert len(chosen) == 12 and chosen.count("b") == 3 and abs(chosen.count("a") - chosen.count("c")) <= 1
    assert run_images.spread(labels[:2], 12) == [0, 1]
    assert len(set(run_images.spread([str(number) for number in range(100)], 12))) == 12
