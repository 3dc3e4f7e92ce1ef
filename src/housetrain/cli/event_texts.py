"""Events in words: what a progress bar prints above itself, and what a log keeps.

In: events of the work. Out: lines of text, without their time. It does not know where they are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from housetrain.system.events import Stage, State
from housetrain.system.text import format_count, format_duration

if TYPE_CHECKING:
    from housetrain.sweeps.status import Snapshot

_MOST_WEIGHTS = 12
_OVER = ("complete", "pruned", "failed")


class EventTexts:
    """The lines of one command's events. Each method returns those of one event, most often none or one."""

    def __init__(self) -> None:
        self._finished: set[str] = set()  # trials of a sweep

    def begin(self, stage: Stage, facts: Mapping[str, Any]) -> list[str]:
        """Return what is known when a training begins; nothing of other stages."""
        if stage != "train":
            return []
        first = facts.get("first_epoch", 1)
        if "epochs" in facts:
            plan = f"{format_count(facts['epochs'], 'epoch')} of {format_count(facts['steps_per_epoch'], 'step')}"
        else:
            plan = f"logistic regression with up to {format_count(facts['steps'], 'regularization strength')}"
        sizes = f"{format_count(facts['parameters'], 'parameter')}, {format_count(facts['images'], 'image')}"
        lines = [
            f"Training {facts['name']}: {sizes}, {plan}, "
            f"{facts['precision']}{f', resuming with epoch {first}' if first > 1 else ''}"
        ]
        if weights := facts["weights"]:
            listed = ", ".join(f"{name} {weight:.2f}" for name, weight in list(weights.items())[:_MOST_WEIGHTS])
            lines.append(f"Class weights: {listed}{', ...' if len(weights) > _MOST_WEIGHTS else ''}")
        return lines

    def progress(self, done: int, total: int, facts: Mapping[str, Any]) -> list[str]:
        """Return a line for each trial that ended since the last call, and one for a regularization strength."""
        lines = self._trials(facts["snapshot"]) if facts.get("snapshot") else []
        if row := facts.get("row"):
            best = "  best so far" if facts["best"] else ""  # the other scores are in the report: this is one line
            lines.append(
                f"strength {done}/{total}  l2 {_strength(row['l2'])}  val_loss {number(row['val_loss'])}{best}"
            )
        return lines

    def epoch(self, row: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
        """Return the scores of an epoch."""
        return [f"epoch {row['epoch']}/{facts['epochs']}  {_scores(row, best=facts['best'])}"]

    def end(self, stage: Stage, state: State, facts: Mapping[str, Any]) -> list[str]:
        """Return how a training ended; nothing of other stages, and of a failure, which is an error of its own."""
        if stage != "train" or state == "failed":
            return []
        if state == "stopped":
            return [f"Stopped ({facts.get('reason', '')}). Rerun the same command to resume."]
        result = facts["result"]
        if "epochs_run" in result:
            work, best = format_count(result["epochs_run"], "epoch"), f"epoch {result['best_epoch']}"
        else:
            work, best = format_count(result["steps_run"], "regularization strength"), f"l2 {_strength(result['l2'])}"
        line = (
            f"Trained {work} in {format_duration(result['seconds'])} ({result['reason']}): best is {best}, "
            f"val_loss {number(result['val_loss'])}, val_accuracy {number(result['val_accuracy'])}"
        )
        return [line, result["overfitting"]] if result["overfitting"] else [line]

    def _trials(self, snapshot: Snapshot) -> list[str]:
        lines = []
        for row in snapshot.board.rows:
            if row.state in _OVER and row.name not in self._finished:
                self._finished.add(row.name)
                loss = f"val_loss {row.val_loss:.4f}" if row.val_loss is not None else row.reason
                lines.append(f"{snapshot.done}/{snapshot.total}  {row.name}  {row.state}  {loss}{left(snapshot.eta_s)}")
        return lines


def number(value: float | None) -> str:
    """Return a score with four digits."""
    return "not a number" if value is None or math.isnan(value) else f"{value:.4f}"


def _strength(value: float) -> str:
    """Return a regularization strength, which spans many powers of ten: 1e2, 3e-4."""
    return re.sub(r"\.?0*e[+]?(-?)0*(?=\d)", r"e\1", f"{value:.1e}")


def left(seconds: float | None) -> str:
    """Return the time left, after two spaces; empty where it is unknown."""
    return "" if seconds is None else f"  {format_duration(seconds)} left"


def _scores(row: Mapping[str, Any], *, best: bool) -> str:
    numbers = "  ".join(f"{name} {number(row[name])}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
    return f"{numbers}  {row['images_per_s']:,.0f} images/s  {row['seconds']:.1f} s{'  best so far' if best else ''}"
