"""The progress bar of the command line: every stage on standard error, all in one look.

In: the events of the work. Out: a live bar on a terminal, plain lines elsewhere. Color follows ``NO_COLOR``. It decides
nothing about the work.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.cli import ticking
from housetrain.cli.waiting import over
from housetrain.cli.wrapping import fitted
from housetrain.errors import one_line
from housetrain.system.events import TITLES, Callback, Stage, State
from housetrain.system.progress_file import PROGRESS_FILE, ProgressFile

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from housetrain.cli.event_log import EventLog
    from housetrain.cli.event_texts import EventTexts
    from housetrain.sweeps.status import Snapshot

_REFRESH_S = 0.1

logs: list[EventLog] = []
"""The log of the command that runs, if one was asked for: see `housetrain.cli.log_options`."""


def callbacks_for(*, quiet: bool) -> list[Callback]:
    """Return the callbacks of a command: a progress bar unless it is quiet, its log, and the file of the studio."""
    file = os.environ.get(PROGRESS_FILE)
    console = next((log.console for log in logs if log.console), None)
    bar = [] if quiet else [ProgressBar(console, lines=console is None)]
    return [*bar, *logs, *([ProgressFile(Path(file))] if file else [])]


class ProgressBar(Callback):
    """Shows each stage on standard error: a live bar with speed and time left on a terminal, else plain lines.

    Args:
        console: Where to print; standard error by default.
        lines: Whether to print lines, too; the bar alone is for a console on which a log prints them.
    """

    def __init__(self, console: Console | None = None, *, lines: bool = True) -> None:
        if console is not None:
            self._console = console
        self._lines = lines
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}  # stage, or trial of a sweep
        self._started: dict[Stage, tuple[float, int]] = {}
        self._refreshed = 0.0

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console  # takes 0.1 s to import: only when there is something to print

        return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    @functools.cached_property
    def _texts(self) -> EventTexts:
        from housetrain.cli.event_texts import EventTexts

        return EventTexts()

    # ------------------------------------------------------------------------------------------ events
    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        self._print(self._texts.begin(stage, facts))

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        self._print(self._texts.progress(done, total, facts))
        if not self._console.is_terminal:
            return
        snapshot: Snapshot | None = facts.get("snapshot")
        title = TITLES[stage]
        if stage == "train":
            title = f"epoch {facts['epoch']}/{facts['epochs']}" if "epoch" in facts else "strength"
        self._draw(stage, title, done, total, self._numbers(stage, done, total, facts))
        if snapshot:
            self._draw_trials(snapshot)
        self._refresh(force=done >= total)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        self._print(self._texts.epoch(row, facts))

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        self._print([text])

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        self._remove(stage)
        self._print(self._texts.end(stage, state, facts))

    def _draw_trials(self, snapshot: Snapshot) -> None:
        """Draw a bar for each trial that runs now."""
        for name in self._tasks.keys() - set(TITLES) - {live.name for live in snapshot.live}:
            self._remove(name)
        for live in snapshot.live:
            loss = "" if live.val_loss is None else f"val_loss {live.val_loss:.4f}  "
            numbers = f"epoch {live.epoch}/{live.epochs}  {loss}{live.images_per_s:,.0f} images/s"
            self._draw(live.name, f"  {live.name}", round(100 * live.share), 100, numbers)

    # ------------------------------------------------------------------------------------------ the bar
    def _numbers(self, stage: Stage, done: int, total: int, facts: Mapping[str, Any]) -> str:
        """Return the text beside the bar: scores, speed, time left, as far as they are known."""
        from housetrain.cli.event_texts import left as time_left
        from housetrain.cli.event_texts import number

        if facts.get("phase") == "validate":
            return "validating"
        start, before = self._started.setdefault(stage, (time.monotonic(), done))
        seconds, finished = time.monotonic() - start, done - before
        rate = facts.get("images_per_s") or (finished / seconds if seconds > 0.5 else None)
        left = facts["eta_s"] if "eta_s" in facts else (total - done) / rate if rate else None
        scores = [f"{name} {number(facts[name])}" for name in ("loss", "accuracy") if _known(facts.get(name))]
        if snapshot := facts.get("snapshot"):
            rate, left = None, snapshot.eta_s
            losses = [row.val_loss for row in snapshot.board.rows if row.val_loss is not None]
            scores = [f"best val_loss {min(losses):.4f}"] if losses else []
        speed = [f"{rate:,.0f} {facts.get('unit', 'images')}/s"] if rate else []
        return "  ".join([*scores, *speed]) + time_left(left)

    def _draw(self, key: str, title: str, done: int, total: int, numbers: str) -> None:
        over()
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}", markup=False),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._bar.start()
        if key not in self._tasks:
            self._tasks[key] = self._bar.add_task(title, total=total, numbers=numbers)
        self._bar.update(self._tasks[key], description=title, completed=done, total=total, numbers=numbers)

    def _refresh(self, *, force: bool) -> None:
        now = time.monotonic()
        if self._bar is not None and (force or now - self._refreshed >= _REFRESH_S):
            self._refreshed = now
            self._bar.refresh()

    def _remove(self, key: str) -> None:
        """Remove a bar; with a sweep, the bars of its trials, too. The terminal is given back with the last one."""
        if key == "sweep":
            for name in self._tasks.keys() - set(TITLES):
                self._remove(name)
        if self._bar is not None and key in self._tasks:
            self._bar.remove_task(self._tasks.pop(key))
            if not self._tasks:
                self._bar.stop()
                self._bar = None

    def _print(self, lines: Iterable[str]) -> None:
        if self._lines:
            for line in lines:
                over()
                self._console.print(fitted(one_line(line), self._console.file), markup=False)
                if line.endswith(" ...") and self._console.file is sys.stderr and self._bar is None:
                    ticking.start()  # it announces something long, such as an import, which reports no progress


def _known(value: float | None) -> bool:
    """Return whether there is a number; the metrics of Keras have none before the first step."""
    return value is not None and math.isfinite(value)
