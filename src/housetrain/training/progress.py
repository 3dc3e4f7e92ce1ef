"""Progress: what a person and a page see of a training while it runs.

In: events, plain dicts that ``train`` gives to everyone who listens (see `Event`). Out: a live bar or plain lines on
standard error, and ``progress.json`` in the run folder. It does not know Keras, and decides nothing about training.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from housetrain.errors import DiskFull, one_line
from housetrain.system import store

Event = Mapping[str, Any]
"""What a listener of a training is told, as JSON-plain dicts with an ``event`` key:

* ``begin``: run, name, epochs, first_epoch (from 1), steps, images, validation, parameters, precision, weights
* ``progress``, about twice a second: phase (``train`` or ``validate``; ``features`` before the epochs, in epoch 0),
  epoch, epochs, step, steps, loss, accuracy, images_per_s, eta_s (of the whole training, at most), pid
* ``epoch``: the row of ``history.jsonl``, with ``epochs`` and ``best`` (whether it is the best so far)
* ``note``: text, one line for a person (overfitting, a tracker that failed)
* ``end``: state (``complete``, ``stopped`` or ``failed``), reason, result (or ``None``), run
"""
Listener = Callable[[Event], None]


class ProgressFile:
    """Keeps ``progress.json`` of a run up to date, replaced as a whole so that a page never reads half of it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        """Write the event down, if it says how far training is."""
        kind = event["event"]
        if kind == "progress":
            self._last = {key: value for key, value in event.items() if key != "event"}
        elif kind == "begin":
            self._last = {"phase": "prepare", "epoch": event["first_epoch"], "epochs": event["epochs"]}
        elif kind == "end":
            self._last = self._last | {"phase": event["state"], "eta_s": 0.0 if event["state"] == "complete" else None}
        else:
            return
        value = self._last | {"pid": os.getpid(), "time": time.time()}
        store.write_json_atomic(self.path, value, durable=False)


class Terminal:
    """Shows a training on standard error: a live bar on a terminal, else one line an epoch. Follows ``NO_COLOR``.

    Use it as a context, so that the bar goes away whatever happens.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
        self._live = self._console.is_terminal
        self._task: Any = None

    def __enter__(self) -> Terminal:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        getattr(self, f"_{event['event']}")(event)

    def _begin(self, event: Event) -> None:
        again = f", going on with epoch {event['first_epoch']}" if event["first_epoch"] > 1 else ""
        self._say(
            f"Training {event['name']}: {event['parameters']:,} weights, {event['images']:,} images, "
            f"{event['epochs']} epochs of {event['steps']} steps, {event['precision']}{again}"
        )
        if event["weights"]:
            listed = ", ".join(f"{name} {weight:.2f}" for name, weight in list(event["weights"].items())[:12])
            self._say(f"Classes are weighed: {listed}{', ...' if len(event['weights']) > 12 else ''}")

    def _progress(self, event: Event) -> None:
        if not self._live:
            return
        description = f"epoch {event['epoch']}/{event['epochs']}"
        numbers = "checking on the validation images"
        if event["phase"] == "features":
            description = "features"
            numbers = f"{event['images_per_s']:,.0f} images/s"
            if event["eta_s"] is not None:
                numbers += f"  {in_words(event['eta_s'])} left"
        if event["phase"] == "train":
            numbers = (
                f"loss {_number(event['loss'])}  accuracy {_number(event['accuracy'])}  "
                f"{event['images_per_s']:,.0f} images/s"
            )
            if event["eta_s"] is not None:
                numbers += f"  {in_words(event['eta_s'])} left"
        if self._task is None:
            self._task = self._bar.add_task(description, total=event["steps"], numbers=numbers)
        self._bar.update(
            self._task, description=description, completed=event["step"], total=event["steps"], numbers=numbers
        )
        self._bar.refresh()

    def _epoch(self, event: Event) -> None:
        self._say(
            f"epoch {event['epoch']}/{event['epochs']}  loss {_number(event['loss'])}  "
            f"accuracy {_number(event['accuracy'])}  val_loss {_number(event['val_loss'])}  "
            f"val_accuracy {_number(event['val_accuracy'])}  {event['images_per_s']:,.0f} images/s  "
            f"{event['seconds']:.1f} s{'  best so far' if event['best'] else ''}"
        )

    def _note(self, event: Event) -> None:
        self._say(event["text"])

    def _end(self, event: Event) -> None:
        result = event["result"]
        if event["state"] == "complete" and result:
            self._say(
                f"Trained {result['epochs_run']} epochs in {in_words(result['seconds'])} ({result['reason']}): best is "
                f"epoch {result['best_epoch']}, val_loss {_number(result['val_loss'])}, "
                f"val_accuracy {_number(result['val_accuracy'])}"
            )
            if result["overfitting"]:
                self._say(result["overfitting"])
        elif event["state"] == "stopped":
            self._say(f"Stopped ({event['reason']}): the same command goes on.")

    def _say(self, text: str) -> None:
        self._console.print(one_line(text), markup=False)


def in_words(seconds: float) -> str:
    """Return a span of time as a person says it: ``42 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4f}"


def quietly(listener: Listener) -> Listener:
    """Return ``listener`` such that a full disk does not stop training over a file that is only watched."""

    def told(event: Event) -> None:
        try:
            listener(event)
        except DiskFull:
            return  # what must be kept (history, checkpoints) says so itself

    return told
