"""The terminal: results on standard output, messages on standard error, one line each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from noise_folders import folder_of

import housetrain as ht
from housetrain.cli import terminal
from housetrain.cli.wrapping import wrapped
from housetrain.data.findings import Finding
from housetrain.evaluation.evaluate import evaluate_probabilities
from housetrain.inference.predictor import Prediction


def test_messages_go_to_standard_error_and_results_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.out("a result")
    terminal.fail("a problem\nin two lines")
    said = capsys.readouterr()
    assert said.out == "a result\n"
    assert said.err == "Error: a problem\\nin two lines\n"


def test_an_image_that_cannot_be_read_is_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    failed = terminal.predictions([Prediction.failed("x.jpg", "truncated")], top=1, as_json=False)
    assert failed == 1
    assert capsys.readouterr().out == "x.jpg\tcould not be read: truncated\n"
    terminal.predictions([Prediction.failed("x.jpg", "truncated")], top=1, as_json=True)
    assert json.loads(capsys.readouterr().out)["error"] == "truncated"


FOUND = Finding(
    "unreadable",
    "error",
    ("Cat/1.jpg", "Cat/2.jpg", "Cat/3.jpg", "Dog/4.jpg"),
    "4 files cannot be used: empty file",
    "replace the files with good copies if you have them; training excludes them",
    leaves_out=("Cat/1.jpg", "Cat/2.jpg", "Cat/3.jpg", "Dog/4.jpg"),
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_findings_are_read_at_every_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(terminal, "columns_of", lambda stream: width)
    monkeypatch.setattr(terminal, "fitted", lambda text, stream: wrapped(text, width))
    catalog = ht.scan(folder_of(tmp_path / "pets", cats=3, dogs=3), cache=False)
    terminal.findings(catalog, [FOUND, replace(FOUND, paths=(), leaves_out=(), do="")])
    lines = capsys.readouterr().out.splitlines()
    assert width > 100 or max(map(len, lines)) <= width
    said = " ".join(" ".join(lines).split())
    assert said.count("4 files cannot be used: empty file") == 2
    assert "Cat/1.jpg, Cat/2.jpg, Cat/3.jpg and 1 more" in said and said.count("training excludes them") == 1
    assert ("severity" in said) == (width > 100)
    assert width > 100 or said.count("(4 left out)") == said.count("Where") == said.count("Do ") == 1


def test_columns_of_findings_that_are_empty_are_not_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    catalog = ht.scan(folder_of(tmp_path / "pets", cats=3, dogs=3), cache=False)
    terminal.findings(catalog, [replace(FOUND, paths=(), leaves_out=())])
    header = capsys.readouterr().out.splitlines()[1]
    assert header.split() == ["severity", "kind", "what", "do"]


def test_a_path_is_quoted_for_the_shell() -> None:
    assert terminal.quoted(Path("runs/my pets")) == "'runs/my pets'"


def test_many_classes_are_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    classes = [f"class {number}" for number in range(1_200)]
    labels = list(range(1_200))
    given = np.full((1_200, 1_200), 0.1 / 1_199)
    given[labels, [(number + (number == 7)) % 1_200 for number in labels]] = 0.9
    names = [f"{number}.jpg" for number in labels]
    terminal.evaluation(evaluate_probabilities(labels, given, classes, paths=names, sha256=names))
    said = capsys.readouterr().out
    assert len(said.splitlines()) < 30
    assert "class 7 " in said
    assert "1,200 classes" in said


def test_a_path_in_the_working_folder_is_shown_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert terminal.here(tmp_path / "runs" / "pets") == Path("runs/pets")
    assert terminal.here(Path("/elsewhere/pets")) == Path("/elsewhere/pets")
    assert terminal.here(Path("runs/pets")) == Path("runs/pets")
