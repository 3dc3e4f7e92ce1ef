"""The progress bar of the command line: every stage on standard error, all in one look.

In: the events of the work. Out: a live bar on a terminal, plain lines elsewhere. Color follows ``NO_COLOR``. It decides
nothing about the work.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.cli.wrapping import fitted
from housetrain.errors import one_line
from housetrain.system.events import TITLES, Callback, Stage, State
from housetrain.system.progress_file import PROGRESS_FILE, ProgressFile
from housetrain.system.text import format_count, format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from housetrain.sweeps.status import Snapshot

_REFRESH_S = 0.1
_MOST_WEIGHTS = 12
_OVER = ("complete", "pruned", "failed")


def callbacks_for(*, quiet: bool) -> list[Callback]:
    """Return the callbacks of a command: a progress bar unless it is quiet, and the file that the studio asked for."""
    file = os.environ.get(PROGRESS_FILE)
    return ([] if quiet else [ProgressBar()]) + ([ProgressFile(Path(file))] if file else [])


class ProgressBar(Callback):
    """Shows each stage on standard error: a live bar with speed and time left on a terminal, else plain lines.

    Args:
        console: Where to print; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        if console is not None:
            self._console = console
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}  # stage, or trial of a sweep
        self._started: dict[Stage, tuple[float, int]] = {}
        self._finished: set[str] = set()
        self._refreshed = 0.0

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console  # takes 0.1 s to import: only when there is something to print

        return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    # ------------------------------------------------------------------------------------------ events
    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        if stage == "train":
            self._begin_training(facts)

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        if snapshot := facts.get("snapshot"):
            self._report_trials(snapshot)
        if row := facts.get("row"):
            self._print(f"strength {done}/{total}  l2 {row['l2']:g}  {_scores(row, best=facts['best'])}")
        if not self._console.is_terminal:
            return
        title = TITLES[stage]
        if stage == "train":
            title = f"epoch {facts['epoch']}/{facts['epochs']}" if "epoch" in facts else "strength"
        self._draw(stage, title, done, total, self._numbers(stage, done, total, facts))
        if snapshot:
            self._draw_trials(snapshot)
        self._refresh(force=done >= total)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        self._print(f"epoch {row['epoch']}/{facts['epochs']}  {_scores(row, best=facts['best'])}")

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        self._print(text)

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        self._remove(stage)
        if state == "stopped" and stage == "train":
            self._print(f"Stopped ({facts.get('reason', '')}). Rerun the same command to resume.")
        elif state == "complete" and stage == "train":
            self._end_training(facts["result"])

    # ------------------------------------------------------------------------------------------ training
    def _begin_training(self, facts: Mapping[str, Any]) -> None:
        first = facts.get("first_epoch", 1)
        if "epochs" in facts:
            plan = f"{format_count(facts['epochs'], 'epoch')} of {format_count(facts['steps_per_epoch'], 'step')}"
        else:
            plan = f"logistic regression with up to {format_count(facts['steps'], 'regularization strength')}"
        sizes = f"{format_count(facts['parameters'], 'parameter')}, {format_count(facts['images'], 'image')}"
        self._print(
            f"Training {facts['name']}: {sizes}, {plan}, "
            f"{facts['precision']}{f', resuming with epoch {first}' if first > 1 else ''}"
        )
        if weights := facts["weights"]:
            listed = ", ".join(f"{name} {weight:.2f}" for name, weight in list(weights.items())[:_MOST_WEIGHTS])
            self._print(f"Class weights: {listed}{', ...' if len(weights) > _MOST_WEIGHTS else ''}")

    def _end_training(self, result: Mapping[str, Any]) -> None:
        if "epochs_run" in result:
            work, best = format_count(result["epochs_run"], "epoch"), f"epoch {result['best_epoch']}"
        else:
            work, best = format_count(result["steps_run"], "regularization strength"), f"l2 {result['l2']:g}"
        self._print(
            f"Trained {work} in {format_duration(result['seconds'])} ({result['reason']}): best is {best}, "
            f"val_loss {_number(result['val_loss'])}, val_accuracy {_number(result['val_accuracy'])}"
        )
        if result["overfitting"]:
            self._print(result["overfitting"])

    # ------------------------------------------------------------------------------------------ sweeps
    def _report_trials(self, snapshot: Snapshot) -> None:
        """Print a line for each trial that ended since the last call."""
        for row in snapshot.board.rows:
            if row.state in _OVER and row.name not in self._finished:
                self._finished.add(row.name)
                loss = f"val_loss {row.val_loss:.4f}" if row.val_loss is not None else row.reason
                self._print(f"{snapshot.done}/{snapshot.total}  {row.name}  {row.state}  {loss}{_left(snapshot.eta_s)}")

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
        if facts.get("phase") == "validate":
            return "validating"
        start, before = self._started.setdefault(stage, (time.monotonic(), done))
        seconds, finished = time.monotonic() - start, done - before
        rate = facts.get("images_per_s") or (finished / seconds if seconds > 0.5 else None)
        left = facts["eta_s"] if "eta_s" in facts else (total - done) / rate if rate else None
        scores = [f"{name} {_number(facts[name])}" for name in ("loss", "accuracy") if _known(facts.get(name))]
        if snapshot := facts.get("snapshot"):
            rate, left = None, snapshot.eta_s
            losses = [row.val_loss for row in snapshot.board.rows if row.val_loss is not None]
            scores = [f"best val_loss {min(losses):.4f}"] if losses else []
        speed = [f"{rate:,.0f} {facts.get('unit', 'images')}/s"] if rate else []
        return "  ".join([*scores, *speed]) + _left(left)

    def _draw(self, key: str, title: str, done: int, total: int, numbers: str) -> None:
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

    def _print(self, text: str) -> None:
        self._console.print(fitted(one_line(text), self._console.file), markup=False)


def _scores(row: Mapping[str, Any], *, best: bool) -> str:
    numbers = "  ".join(f"{name} {_number(row[name])}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
    return f"{numbers}  {row['images_per_s']:,.0f} images/s  {row['seconds']:.1f} s{'  best so far' if best else ''}"


def _known(value: float | None) -> bool:
    """Return whether there is a number; the metrics of Keras have none before the first step."""
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> str:
    return "not a number" if value is None or math.isnan(value) else f"{value:.4f}"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"  {format_duration(seconds)} left"
