"""Where the lines of a log go: whole lines in a file, above the bar on a console."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from housetrain.cli.log_handlers import EVENTS, IN_FILE_ONLY, ConsoleHandler, FileHandler
from housetrain.cli.progress_bar import ProgressBar
from housetrain.errors import StoreError

FULL = """
import logging, resource, sys
from pathlib import Path
from housetrain.cli.log_handlers import EVENTS, FileHandler
log, path = logging.getLogger(EVENTS), Path(sys.argv[1])
handler = FileHandler(path, "first")
log.addHandler(handler)
log.setLevel(logging.INFO)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, unlimited[1]))
log.info("does not fit"); log.info("nor this")
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
log.info("fits again"); log.info("and stays")
handler.close()
"""


def record(text: str, *, name: str = EVENTS, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "levelno": 20, "levelname": "INFO", "msg": text, **extra})


def texts(path: Path) -> list[str]:
    return [line.split(maxsplit=2)[2] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "log")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].endswith(" first") and lines[-2].endswith(" fits again") and lines[-1].endswith(" and stays")
    assert lines[-3].endswith(" WARNING note: 2 lines are missing here, which could not be written")
    assert len(lines) == 5 and len(lines[1]) == 20, "a torn line, then whole ones"
    assert done.stderr.count("The log file cannot be written, the work continues") == 1


def test_any_text_is_one_line_of_utf_8(tmp_path: Path) -> None:
    handler = FileHandler(tmp_path / "log", "first")
    for text in ("cafe\u0301 猫 🐈", "two\nlines\x1b[31m", "not UTF-8: \udcff"):
        handler.emit(record(text))
    handler.emit(record("waiting", name="housetrain.system.lock"))
    handler.close()
    assert texts(tmp_path / "log") == [
        "first",
        "cafe\u0301 猫 🐈",
        "two\\nlines\\x1b[31m",
        "not UTF-8: \\udcff",
        "info: waiting",
    ]


def test_two_commands_share_a_file_and_a_torn_line_is_ended(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("torn")
    handlers = [FileHandler(tmp_path / "log", f"command {number}") for number in range(2)]
    for number in range(50):
        handlers[number % 2].emit(record(f"line {number}"))
    for handler in handlers:
        handler.close()
        handler.close()  # a second time is no error
    first, *lines = (tmp_path / "log").read_text().splitlines()
    assert first == "torn"
    assert [line.split(maxsplit=2)[2] for line in lines] == [
        "command 0",
        "command 1",
        *(f"line {number}" for number in range(50)),
    ]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 JPEG", b"text \xff"])
def test_a_file_that_is_no_text_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(content)
    with pytest.raises(StoreError, match="not a text file"):
        FileHandler(tmp_path / "photo", "first")
    assert (tmp_path / "photo").read_bytes() == content


def test_a_text_whose_beginning_ends_within_a_character_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * 4095 + "é\n", encoding="utf-8")
    FileHandler(tmp_path / "log", "first").close()
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("first\n")


def test_lines_are_printed_above_the_bar_of_the_same_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, highlight=False, soft_wrap=True)
    bar, handler = ProgressBar(console, lines=False), ConsoleHandler(console)
    bar.begin("scan")
    bar.progress("scan", 1, 4)
    bar.note("a line that the log prints")
    handler.handle(record("note: [red]here"))
    handler.handle(record("error: printed at the end", **IN_FILE_ONLY))
    bar.progress("scan", 4, 4)
    bar.end("scan")
    text = out.getvalue()
    assert "note: [red]here\n" in text and "1/4" in text and text.index("here") < text.index("4/4")
    assert "a line that the log prints" not in text and "printed at the end" not in text


def test_a_closed_terminal_stops_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("closed")

    ConsoleHandler(Console(file=Closed())).handle(record("note: nothing"))
