"""The whole way, from a folder of images to a prediction, as a person would walk it."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tree import snapshot

import housetrain as ht
from housetrain.errors import HousetrainError

TINY = {"conv": 2, "nodes": 16, "epochs": 2, "image_size": 32}


@pytest.fixture(scope="module")
def few_photos(photos: Path, petimages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 real photos a class, with the faults of a real download planted among them."""
    root = tmp_path_factory.mktemp("few") / "Pets"
    for label in ("cats", "dogs"):
        (root / label).mkdir(parents=True)
        for path in sorted((photos / label).iterdir())[:60]:
            shutil.copyfile(path, root / label / path.name)
    first_cat, other_cat = sorted((root / "cats").iterdir())[:2]
    (root / "cats" / "zero.jpg").write_bytes(b"")
    (root / "dogs" / "page.jpg").write_text("<html><body>not found</body></html>")
    (root / "dogs" / "half.jpg").write_bytes(sorted((root / "dogs").iterdir())[0].read_bytes()[:9000])
    shutil.copyfile(first_cat, root / "cats" / "z-again.jpg")
    shutil.copyfile(other_cat, root / "dogs" / "really-a-cat.jpg")
    (root / "cats" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return root


@pytest.fixture(scope="module")
def walked(few_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, dict[str, tuple[object, ...]]]:
    """The main job on those photos, and the state of the source before it."""
    before = snapshot(few_photos)
    out = tmp_path_factory.mktemp("out")
    outcome = ht.run(few_photos, out / "run", recipe=ht.Recipe.of("cnn", **TINY), prepared=out / "prepared")
    return outcome, before


def test_the_main_job_leaves_a_report_a_bundle_and_the_images_as_they_were(walked, few_photos: Path) -> None:
    outcome, before = walked
    page = outcome.report.read_text()
    assert outcome.report == outcome.run.folder / "report.html"
    assert "again.jpg" in page and "zero.jpg" in page
    assert (outcome.bundle / "manifest.json").exists()
    assert outcome.run.complete and len(outcome.run.history) == 2
    assert snapshot(few_photos) == before


def test_every_planted_fault_is_left_out_and_nothing_else(walked, photos: Path) -> None:
    outcome, _ = walked
    left_out = {row.path: row.reason for row in outcome.prepared.split.left_out}
    other_cat = "cats/" + sorted((photos / "cats").iterdir())[1].name
    assert set(left_out) == {
        "cats/zero.jpg", "cats/z-again.jpg", "dogs/page.jpg", "dogs/half.jpg", "dogs/really-a-cat.jpg", other_cat,
    }  # fmt: skip
    assert all(left_out.values())
    with (outcome.run.folder / "findings.csv").open(newline="") as file:
        named = {row["path"] for row in csv.DictReader(file)}
    assert set(left_out) <= named


def test_calling_again_trains_and_tests_nothing_anew(walked, few_photos: Path) -> None:
    outcome, _ = walked
    result = (outcome.run.folder / "result.json").stat().st_mtime_ns
    again = ht.run(few_photos, outcome.run.folder, recipe=ht.Recipe.of("cnn", **TINY), prepared=outcome.prepared.folder)
    assert (outcome.run.folder / "result.json").stat().st_mtime_ns == result
    assert again.evaluation.opening == outcome.evaluation.opening and outcome.evaluation.opening.count == 1


def test_train_and_predict_cannot_disagree(walked, few_photos: Path) -> None:
    """The bundle, fed the files, says exactly what the model said of the prepared arrays in the test."""
    outcome, _ = walked
    predictor = ht.Predictor.load(outcome.bundle)
    with (outcome.run.folder / "evaluation" / "predictions.csv").open(newline="") as file:
        tested = {row["path"]: row for row in csv.DictReader(file)}
    assert len(tested) == len(outcome.prepared.test.paths)
    results = list(predictor.predict_many([few_photos / path for path in tested]))
    for one, row in zip(results, tested.values(), strict=True):
        assert one.label == row["predicted"]
        assert one.probability == pytest.approx(float(row["probability"]), abs=2e-6)
        assert one.seen == "test"


def test_predict_says_when_a_image_was_trained_on(walked, few_photos: Path, photos: Path) -> None:
    outcome, _ = walked
    predictor = ht.Predictor.load(outcome.run.folder)
    assert predictor.predict(few_photos / outcome.prepared.train.paths[0]).seen == "train"
    assert predictor.predict(sorted((photos / "cats").iterdir())[-1]).seen is None


def test_another_recipe_in_the_same_folder_is_refused(walked, few_photos: Path) -> None:
    outcome, _ = walked
    with pytest.raises(HousetrainError):
        ht.run(few_photos, outcome.run.folder, recipe=ht.Recipe.of("cnn", **{**TINY, "nodes": 8}))


def test_digits_learn_to_97_percent_and_shuffled_labels_do_not(tmp_path: Path) -> None:
    """The promise of `make run`, and its other side: with labels dealt out at random nothing is claimed."""
    digits = ht.sample("digits", tmp_path / "digits")
    recipe = ht.Recipe.of("best", epochs=15, flip="none")
    outcome = ht.run(digits, tmp_path / "run", recipe=recipe, prepared=tmp_path / "prepared")
    assert outcome.prepared.spec.shape == (32, 32, 1), "small gray images stay small and gray"
    assert outcome.evaluation.accuracy >= 0.97
    assert outcome.evaluation.beats_baseline

    shuffled = tmp_path / "shuffled"
    files = sorted(digits.rglob("*.png"))[::3]
    labels = [path.parent.name for path in files]
    random.Random(0).shuffle(labels)
    for number, (path, label) in enumerate(zip(files, labels, strict=True)):
        (shuffled / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, shuffled / label / f"{number}.png")
    recipe = ht.Recipe.of("cnn", conv=2, nodes=16, image_size=28, epochs=3)
    fooled = ht.run(shuffled, tmp_path / "run2", recipe=recipe, prepared=tmp_path / "prepared2")
    assert not fooled.evaluation.beats_baseline
    assert "Not significantly" in fooled.evaluation.summary()


def test_a_killed_main_job_goes_on_and_ends_the_same(few_photos: Path, tmp_path: Path) -> None:
    """kill -9 while it trains; the same command finishes and no epoch is there twice."""
    command = [
        sys.executable, "-m", "housetrain", "run", str(few_photos), "--output", str(tmp_path / "run"), "--prepared",
        str(tmp_path / "prepared"), "--model", "cnn", "--conv", "1", "--nodes", "8", "--image-size", "24", "--epochs",
        "40", "--patience", "0", "--deterministic", "--json",
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    history = tmp_path / "run" / "history.jsonl"
    limit = time.monotonic() + 120
    while not (history.exists() and history.read_text().count("\n") >= 3):
        assert time.monotonic() < limit and first.poll() is None, first.stderr.read().decode()
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    epochs = [json.loads(line)["epoch"] for line in history.read_text().splitlines()]
    assert epochs == list(range(1, 41))
    assert Path(outcome["report"]).exists() and outcome["evaluation"]["opening"]["count"] == 1


@pytest.mark.slow
def test_the_findings_of_petimages_name_every_planted_fault_and_drop_nothing_else(petimages: Path) -> None:
    catalog = ht.scan(petimages)
    findings = ht.check(catalog)
    left_out = {path for finding in findings for path in finding.leaves_out}
    by_kind = {kind: [f for f in findings if f.kind == kind] for kind in {f.kind for f in findings}}
    unreadable = {path for finding in by_kind["unreadable"] for path in finding.paths}
    assert {"Cat/666.jpg", "Dog/11702.jpg"} <= unreadable
    assert len(unreadable) == 4, "two empty files, a truncated JPEG and an HTML page"
    assert len(by_kind["exact-duplicate"]) == 3 and len(by_kind["two-labels"]) == 1
    assert sum(len(finding.paths) for finding in by_kind["wrong-extension"]) == 1, "the GIF"
    assert catalog.ignored == {"Thumbs.db": 2}
    assert len(left_out) == 4 + 3 + 2
    assert sum(catalog.counts().values()) == len(catalog.images) - 4


@pytest.mark.slow
def test_best_on_petimages_reaches_088_on_images_it_never_saw(petimages: Path, tmp_path: Path) -> None:
    before = snapshot(petimages)
    started = time.monotonic()
    outcome = ht.run(petimages, tmp_path / "run", recipe=ht.Recipe.of("best"), prepared=tmp_path / "prepared")
    minutes = (time.monotonic() - started) / 60
    sys.stderr.write(f"\n{outcome.evaluation.summary()} in {minutes:.1f} minutes\n")
    assert outcome.evaluation.accuracy >= 0.88
    assert np.isclose(outcome.evaluation.n / sum(outcome.catalog.counts().values()), 0.15, atol=0.02)
    assert snapshot(petimages) == before
