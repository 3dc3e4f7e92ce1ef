"""Lines that fit a terminal: what is wrapped, and what stays whole."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from housetrain.cli import terminal
from housetrain.cli.progress_bar import ProgressBar
from housetrain.cli.wrapping import columns_of, fitted, wrapped
from housetrain.system.text import cell_width

LINES = [
    "Test accuracy 100.0 % (18 of 18 unseen images; 95 % interval 82.4–100.0 %; majority-class baseline 50.0 %).",
    "strength 15/18  l2 3e-05  loss 0.0000  accuracy 1.0000  val_loss 0.0009  val_accuracy 1.0000  104,376 images/s",
    "Report   runs/photos/report.html",
    "Prepared 84 train (猫 42, 犬 42), 18 validation, 18 test (猫 9, 犬 9) as 224x224 rgb in prepared/動物-224x224",
    "Error: This is not a folder. Do: give the folder above the class folders; to see this image: "
    "housetrain show '/data/my photos/cat.1.jpg'. Received: path='/data/my photos/cat.1.jpg'",
    "Error: Interrupted. Completed work is kept; rerun the same command to resume: "
    "housetrain run photos --set dropout=0.5 --epochs 5 --output elsewhere",
]
WHOLE = [
    "95 %",
    "val_loss 0.0009",
    "Report   runs/photos/report.html",
    "prepared/動物-224x224",
    "housetrain show '/data/my photos/cat.1.jpg'.",
    "housetrain run photos --set dropout=0.5 --epochs 5 --output elsewhere",
]


@pytest.mark.parametrize("width", [30, 60, 80, 120])
@pytest.mark.parametrize(("line", "whole"), list(zip(LINES, WHOLE, strict=True)))
def test_no_word_command_or_field_is_broken(line: str, whole: str, width: int) -> None:
    lines = wrapped(line, width).split("\n")
    assert " ".join(" ".join(lines).split()) == " ".join(line.split())
    assert any(whole in one for one in lines)
    for one in lines:
        assert cell_width(one) <= width or one.strip() == whole, one
    assert wrapped(line, None) == line


def test_lines_are_filled() -> None:
    lines = wrapped("word " * 40, 60).split("\n")
    assert all(len(one) > 50 for one in lines[:-1])
    assert all(one.startswith("  word") for one in lines[1:])


def test_spaces_inside_a_line_are_kept() -> None:
    assert wrapped("Images   my  photos", 200) == "Images   my  photos"
    assert "a   b  c" in wrapped("a   b  c  " + "d" * 30 + "  e", 32)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
    """A terminal of 44 columns: what is written to it, and what can be read at its other end."""
    monkeypatch.setenv("COLUMNS", "44")
    other, end = pty.openpty()
    with os.fdopen(end, "w", encoding="utf-8") as stream:
        yield stream, other
    os.close(other)


def test_results_messages_errors_and_progress_fit_the_terminal(
    narrow: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = narrow
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for line in LINES[:2]:
        terminal.out(line)
        terminal.note(line)
        terminal.fail(line)
        ProgressBar().note(line)
    terminal.out("photos/cat.1.jpg\ttabby 57.1 %  Egyptian cat 20.7 %  tiger cat 11.9 %")
    terminal.print_json({"long": "word " * 30})
    stream.flush()
    raw = b""
    while not raw.endswith(b"}\r\n"):  # the end of the JSON; a terminal is read in parts
        raw += os.read(other, 100_000)
    said = raw.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r\n", "\n")
    prose, brace, json = said.partition("{\n")
    assert brace and "word " * 30 in json  # JSON is not wrapped: a line break inside a string is not JSON
    assert max(map(len, prose.splitlines())) <= 44
    assert prose.count("strength 15/18") == 4 and prose.count("95 %") == 4
    assert "photos/cat.1.jpg  tabby 57.1 %\n  Egyptian cat 20.7 %  tiger cat 11.9 %\n" in prose


def test_a_file_or_pipe_gets_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with (tmp_path / "log").open("w") as file:
        assert columns_of(file) is None and fitted(LINES[0], file) == LINES[0]
    assert columns_of(io.StringIO()) is None and columns_of(file) is None


def test_the_width_is_that_of_the_terminal(narrow: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    assert columns_of(narrow[0]) == 44
    monkeypatch.setenv("COLUMNS", "wide")
    assert columns_of(narrow[0]) is None  # a terminal that does not know its width
    fcntl.ioctl(narrow[1], termios.TIOCSWINSZ, struct.pack("HHHH", 40, 97, 0, 0))
    assert columns_of(narrow[0]) == 97


def test_a_name_between_colons_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.note("no folder runs/:cat:")
    terminal.fail("no folder runs/:cat:")
    ProgressBar().note("runs/:cat:")
    assert capsys.readouterr().err.count("runs/:cat:") == 3
