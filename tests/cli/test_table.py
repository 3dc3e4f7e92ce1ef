"""Tables: as wide as the terminal, no word or number broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from housetrain.cli import table


def test_a_table_keeps_each_cell_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    table.table("", ("name", "images"), [("a\nb", 3), ("[red]c[/red]", 12)], right=("images",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "a\\nb" in lines[1] and "[red]c[/red]" in lines[2]
    assert lines[1].rstrip().endswith(" 3") and lines[2].rstrip().endswith("12")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_narrow_table_drops_columns_rather_than_break_a_word_or_number(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(table, "console", lambda: out)
    columns = ("model", "state", "val_loss", "parameters", "images/s", "reason")
    rows = [
        ("3-conv-64-nodes-0-dense", "complete", "0.6931 ±0.0123", "1,234,567", "12,345", "stopped early by halving"),
        ("1-conv-32-nodes-2-dense", "failed", "", "9,876,543", "9", "the loss is not a number"),
    ]
    table.table("", columns, rows, right=columns[2:5], drop=("images/s", "parameters", "state"))
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


@pytest.mark.parametrize("width", [30, 60])
def test_a_table_that_fits_no_terminal_becomes_paragraphs(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(table, "console", lambda: out)
    columns = ("stage", "seconds", "val_loss", "val_accuracy", "gain", "")
    rows = [
        ("pretrained", "12", "0.0031", "100.0 %", "", "selected"),
        ("several-stages", "2", "0.0047", "98.2 %", "+0.0012 ± 0.0034", ""),
    ]
    table.table("", columns, rows, right=columns[1:5])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert [line for line in lines if not line.startswith(" ")] == ["stage  pretrained", "stage  several-stages"]
    text = " ".join(lines)
    assert text.count("selected") == 1 and text.count("gain") == 1
    for cell in ("val_loss 0.0031", "val_accuracy 98.2 %", "gain +0.0012 ± 0.0034"):
        assert any(cell in line for line in lines)


def test_a_table_without_names_of_columns_begins_with_its_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    table.table("", ("", ""), [("Python", "3.11"), ("memory", "23 GiB")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Python", "3.11"],
        ["memory", "23", "GiB"],
    ]
