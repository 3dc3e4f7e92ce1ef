"""The terminal: results on standard output, messages on standard error, one line each."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from housetrain.cli import terminal
from housetrain.evaluation.evaluate import evaluate_probabilities
from housetrain.inference.predictor import Prediction


def test_messages_go_to_standard_error_and_results_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.out("a result")
    terminal.fail("a problem\nin two lines")
    said = capsys.readouterr()
    assert said.out == "a result\n"
    assert said.err == "Error: a problem\\nin two lines\n"


def test_a_table_keeps_each_cell_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table("", ("name", "images"), [("a\nb", 3), ("[red]c[/red]", 12)], right=("images",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "a\\nb" in lines[1] and "[red]c[/red]" in lines[2]
    assert lines[1].rstrip().endswith(" 3") and lines[2].rstrip().endswith("12")


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


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_narrow_table_drops_columns_rather_than_break_a_word_or_number(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(terminal, "console", lambda: out)
    columns = ("model", "state", "val_loss", "parameters", "images/s", "reason")
    rows = [
        ("3-conv-64-nodes-0-dense", "complete", "0.6931 ±0.0123", "1,234,567", "12,345", "stopped early by halving"),
        ("1-conv-32-nodes-2-dense", "failed", "", "9,876,543", "9", "the loss is not a number"),
    ]
    terminal.table("", columns, rows, right=columns[2:5], drop=("images/s", "parameters", "state"))
    assert isinstance(out.file, io.StringIO)
    printed = out.file.getvalue()
    lines = printed.splitlines()
    assert max(map(len, lines)) <= width
    assert ("Not shown at this width: " in printed) == (width == 60)
    shown = [column for column in columns if column in lines[0]]
    assert "val_loss" in shown and (("images/s" in shown) == (width > 60))
    for index, column in enumerate(columns):
        for row in rows:
            assert column not in shown or all(word in printed.split() for word in row[index].split())
