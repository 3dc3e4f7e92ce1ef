"""The terminal: results on standard output, messages on standard error, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from housetrain.cli import terminal
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
