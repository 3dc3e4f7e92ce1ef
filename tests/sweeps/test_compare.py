"""Two runs side by side: what differs, and whether luck explains it."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from handmade_runs import split_of, write_images
from rich.console import Console

from housetrain.cli import table, terminal
from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import SourceChanged
from housetrain.evaluation.evaluate import evaluate_probabilities
from housetrain.evaluation.opening import Opening
from housetrain.images.input_spec import InputSpec
from housetrain.models.recipe import Recipe
from housetrain.sweeps.compare import compare
from housetrain.system import store
from housetrain.training.run import Run

CLASSES = ("dark", "light")


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run, np.ndarray]:
    """Two runs of the same images, without answers yet, and the truth."""
    write_images(tmp_path / "images", CLASSES, per_class=150)
    manifest = split_of(tmp_path / "images", CLASSES)
    truth = np.array([CLASSES.index(row.label) for row in manifest.of("validation")])
    made = []
    for name, settings in (("first", {"nodes": 32}), ("second", {"nodes": 64, "learning_rate": 3e-4})):
        folder = tmp_path / name
        folder.mkdir()
        manifest.save(folder)
        store.write_json_atomic(folder / "recipe.json", Recipe.of("cnn", **settings).to_json())
        store.write_json_atomic(folder / "input.json", {"classes": CLASSES, "data": "abc", "prepared": "/nowhere"})
        for epoch in (1, 2):
            row = {"epoch": epoch, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.6 / epoch, "val_accuracy": 0.8}
            store.append_line(folder / "history.jsonl", {**row, "images_per_s": 100.0 * epoch})
        made.append(Run.open(folder))
    return made[0], made[1], truth


def answer(run: Run, truth: np.ndarray, wrong: range) -> None:
    said = truth.astype(np.float32)
    said[list(wrong)] = 1 - said[list(wrong)]
    np.save(run.folder / "validation.npy", np.where(said == 1, 0.9, 0.1).astype(np.float32)[:, None])


def test_one_that_is_better_is_named(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    answer(first, truth, range(20))
    answer(second, truth, range(18, 23))
    found = compare(first, second)
    assert (found.images, found.only_first, found.only_second) == (len(truth), 3, 18)
    assert found.p_value == pytest.approx(0.00149, abs=1e-5)  # scipy.stats.binomtest(18, 21).pvalue
    assert found.better is not None and found.better.name == "second"
    assert "second is better" in found.summary() and "McNemar" in found.summary()
    assert found.settings == {"nodes": (32, 64), "learning_rate": (1e-3, 3e-4)}
    assert found.loss_difference < 0 < found.loss_error
    assert found.curves() == [(1, 0.6, 0.6), (2, 0.3, 0.3)]
    assert ("nodes", "32", "64") in found.rows()


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: tuple[Run, Run, np.ndarray], tmp_path: Path) -> None:
    first, second, truth = runs
    answer(first, truth, range(20))
    answer(second, truth, range(18, 23))
    other = Run.open(shutil.copytree(second.folder, tmp_path / "older" / "first"))
    found = compare(first, other)
    assert (found.first.name, found.second.name) == (f"{tmp_path.name}/first", "older/first")
    assert "older/first is better" in found.summary()


def test_a_difference_that_luck_explains_is_none(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    answer(first, truth, range(10))
    answer(second, truth, range(4, 12))
    found = compare(first, second)
    assert found.better is None and "the difference is not significant" in found.summary()
    answer(second, truth, range(10))
    assert "exactly the same" in compare(first, second).summary()


def test_a_choice_from_many_runs_needs_a_larger_difference(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    answer(first, truth, range(12))
    answer(second, truth, range(11, 13))
    assert (found := compare(first, second)).better is not None and found.chosen_from == 2
    for name in ("third", "fourth", "fifth"):
        shutil.copytree(second.folder, first.folder.parent / name)
    again = compare(first, second)
    assert again.chosen_from == 5 and again.p_value == pytest.approx(10 * found.p_value) and again.better is None
    assert "corrected for a choice from 5 runs" in again.summary()


def test_runs_of_other_images_are_not_compared(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    answer(first, truth, range(1))
    value = {**second.input_json, "data": "other"}
    store.write_json_atomic(second.folder / "input.json", value)
    fewer = dataclasses.replace(second.split, rows=second.split.rows[1:])
    SplitManifest.of_rows(fewer.root, CLASSES, rows=fewer.rows, options=fewer.options).save(second.folder)
    with pytest.raises(SourceChanged, match="cannot be compared"):
        compare(first, Run.open(second.folder))


def test_the_test_split_is_compared_where_both_have_opened_it(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    answer(first, truth, range(20))
    answer(second, truth, range(20))
    labels = [0, 1] * 100

    def test(run: Run, wrong: int, *, opened: int, images: int = 200) -> None:
        (run.folder / "model.keras").write_bytes(run.name.encode())
        given = [[0.9, 0.1] if (label == 0) == (place >= wrong) else [0.1, 0.9] for place, label in enumerate(labels)]
        names = [f"{number:064x}" for number in range(200)]
        shown = names[:images]
        result = evaluate_probabilities(labels[:images], given[:images], CLASSES, paths=shown, sha256=shown)
        opening = Opening(1, 1, run.model_sha256, "abc", "now", runs=opened)
        dataclasses.replace(result, opening=opening).save(run.folder / "evaluation")

    test(first, 30, opened=1)
    assert compare(first, second).test is None, "only one was tested"
    test(second, 5, opened=2)
    found = compare(first, second)
    assert found.test is not None
    assert (found.test.images, found.test.only_first, found.test.only_second, found.test.runs) == (200, 0, 25, 2)
    assert found.test.p_value < 1e-5 and found.test.smallest == pytest.approx(0.07, abs=0.001)
    text = found.summary()
    assert "Of 200 test images" in text and "second is better" in text and "opened by 2 runs" in text
    assert text.count("would have been found") == 2 and found.to_json()["test"]["only_second"] == 25
    (second.folder / "model.keras").write_bytes(b"trained on")
    assert compare(first, second).test is None, "the test is that of an earlier model"
    test(second, 5, opened=2, images=100)
    assert compare(first, second).test is None, "other images"


def test_runs_of_one_split_in_two_sizes_can_be_compared(runs: tuple[Run, Run, np.ndarray]) -> None:
    first, second, truth = runs
    for run, side in ((first, 50), (second, 100)):
        spec = InputSpec(side, side, "grayscale").to_json()
        value = {"classes": CLASSES, "data": f"data-{side}", "prepared": "/nowhere", "spec": spec}
        store.write_json_atomic(run.folder / "input.json", value)
        answer(run, truth, range(side // 10))
    found = compare(Run.open(first.folder), Run.open(second.folder))
    assert found.settings["input"] == ("50x50 grayscale, stretch", "100x100 grayscale, stretch")
    assert (found.only_first, found.only_second, found.chosen_from) == (5, 0, 2)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_runs_of_long_names_and_many_epochs_fit_a_terminal(
    width: int,
    runs: tuple[Run, Run, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for run in runs[:2]:
        answer(run, runs[2], range(4))
        for epoch in range(3, 51):
            row = {"epoch": epoch, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.3 + abs(epoch - 31) / 99}
            store.append_line(run.folder / "history.jsonl", {**row, "val_accuracy": 0.8, "images_per_s": 100.0})
    name = "a-cnn-of-a-rather-long-name-that-ends-in-"
    folders = [run.folder.rename(tmp_path / f"{name}{run.name}") for run in runs[:2]]
    found = compare(*map(Run.open, folders))
    out = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    for module in (table, terminal):
        monkeypatch.setattr(module, "console", lambda **_: out)
    terminal.comparison(found)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if line.startswith("epoch or strength"))
    names = head.split()[-2:]
    assert len(set(names)) == 2 and (width == 40 or (names[0].startswith("a-c") and names[1].endswith("ond")))
    curve = [line.split() for line in lines if len(line.split()) == 3 and line.split()[0].isdigit()]
    epochs = [int(row[0]) for row in curve]
    assert 10 <= len(epochs) <= 15 and {1, 31, 50} <= set(epochs) and epochs == sorted(epochs)
    said = capsys.readouterr().out
    assert "of 50 rows; --json has all" in said
