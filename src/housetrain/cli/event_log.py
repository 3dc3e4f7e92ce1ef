"""The log of a command: each event as a line with its time, in a file, on standard error, or both.

In: events of the work, and what the modules of the package log. Out: lines that begin with a time and the name of the
event: ``command``, ``begin``, ``note``, ``epoch``, ``strength``, ``trial``, ``end``, ``error``, ``exit``. A log never
stops or changes the work. It does not know what the work is.

    2026-11-26T17:04:01.250+01:00 INFO    begin scan: total 8,000
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from housetrain.cli.event_texts import EventTexts
from housetrain.cli.log_handlers import EVENTS, IN_FILE_ONLY, ConsoleHandler, FileHandler
from housetrain.cli.table import console as console_of
from housetrain.system.events import Callback, Stage, State
from housetrain.system.text import format_duration

if TYPE_CHECKING:
    from rich.console import Console

_package = logging.getLogger("housetrain")
_events = logging.getLogger(EVENTS)
_LEVELS: dict[State, int] = {"complete": logging.INFO, "stopped": logging.WARNING, "failed": logging.ERROR}
_FACTS = ("name", "run", "folder", "total", "images", "failed", "accuracy", "reason")


class EventLog(Callback):
    """Logs events of the work. Where the lines are shown is decided by the handlers of the logger: see `logged`.

    Args:
        console: The console that shows the lines, too, if there is one: a progress bar must use the same one.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self._texts = EventTexts()
        self._began: dict[Stage, float] = {}

    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        self._began[stage] = time.monotonic()
        lines = self._texts.begin(stage, facts)
        known = _text({"run": facts.get("run")} if lines else facts)
        _events.info(_joined(f"begin {stage}", *lines, known))

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`. Only what ended is logged: a trial of a sweep, a regularization strength."""
        for line in self._texts.progress(done, total, facts):
            _events.info(f"trial {line}" if stage == "sweep" else line)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        for line in self._texts.epoch(row, facts):
            _events.info(line)

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        _events.info(f"note: {text}")

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        began = self._began.pop(stage, None)
        took = "" if began is None else f" after {format_duration(time.monotonic() - began)}"
        lines = self._texts.end(stage, state, facts)
        known = _text({"run": facts.get("run")} if lines else facts)
        _events.log(_LEVELS[state], _joined(f"end {stage}", f"{state}{took}", *lines, known))


@contextlib.contextmanager
def logged(file: Path | None, *, verbose: bool) -> Iterator[None]:
    """Keep the log of the command that works in this context, and of how it ends.

    Args:
        file: Where lines are appended, or ``None``.
        verbose: Whether lines go to standard error, too.

    Raises:
        StoreError: The file cannot be written, or is not a text file. The work has not started.
    """
    from housetrain.cli.progress_bar import logs
    from housetrain.training.environment import command_line

    about = f"command: {command_line()} (process {os.getpid()}, Python {platform.python_version()})"
    console = console_of(stderr=True) if verbose else None
    handlers: list[logging.Handler] = [] if console is None else [ConsoleHandler(console)]
    if file is not None:
        handlers.append(FileHandler(file, about))
    log, start = EventLog(console), time.monotonic()
    with _handled(handlers, terminal_too=console is None):
        logs.append(log)
        code = 0
        try:
            yield
        except BaseException as error:
            code = _report(error)
            raise
        finally:
            logs.remove(log)
            _events.info(f"exit {code} after {format_duration(time.monotonic() - start)}")


@contextlib.contextmanager
def _handled(handlers: list[logging.Handler], *, terminal_too: bool) -> Iterator[None]:
    """Send records of the package to these handlers; its warnings stay on the terminal, where they are without them."""
    before = _package.level, _events.propagate
    _package.setLevel(logging.INFO)
    _events.propagate = False
    others = [logging.lastResort] if terminal_too and logging.lastResort else []
    added = [(_package, one) for one in (*handlers, *others)] + [(_events, one) for one in handlers]
    for logger, handler in added:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, handler in added:
            logger.removeHandler(handler)
        for handler in handlers:
            handler.close()
        _package.setLevel(before[0])
        _events.propagate = before[1]


def _report(error: BaseException) -> int:
    """Log why a command ends early, in the file alone: the command line prints it itself. Return its exit code."""
    from housetrain.training import interrupt

    if isinstance(error, KeyboardInterrupt):
        _events.warning("error: interrupted; rerun the same command to resume", extra=IN_FILE_ONLY)
        return 128 + interrupt.number_of(error)
    if isinstance(error, BrokenPipeError):
        return 0  # the reader of the results has closed the pipe
    code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", None)  # ours, and Typer's
    if isinstance(code, int):
        lines = [] if isinstance(error, SystemExit | typer.Exit) else [str(error)]
    else:  # an error of the program: where it happened is worth the lines
        code, lines = 1, "".join(traceback.format_exception(error)).splitlines()
    for line in lines:
        _events.error(f"error: {line}", extra=IN_FILE_ONLY)
    return code


def _text(facts: Mapping[str, Any]) -> str:
    """Return the facts that a reader of a log can use."""
    known = {name: facts[name] for name in _FACTS if facts.get(name) not in (None, "")}
    if known.get("total") == 0:  # the images come one by one: how many there are is not known
        del known["total"]
    return ", ".join(f"{name} {_plain(value)}" for name, value in known.items())


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _joined(event: str, *texts: str) -> str:
    said = "; ".join(text for text in texts if text)
    return f"{event}: {said}" if said else event
