"""What the tests of sweeps share: a small grid, an executor without Keras, and a listener."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from housetrain.sweeps.executors import Outcome
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.status import Snapshot
from housetrain.sweeps.trial import TrialRequest
from housetrain.system import store
from housetrain.system.events import Callback
from housetrain.training.run import Run


def small(**more: object) -> Grid:
    """A grid of nets that train in a second."""
    settings = {"conv": (1, 2), "nodes": (4, 8), "dense": (0,), "epochs": 2, "batch_size": 16, "deterministic": True}
    return Grid(**{**settings, **more})


class Fake:
    """An executor without Keras: it writes what a training would leave, as a script says."""

    def __init__(self, slots: int = 2, script: Callable[[TrialRequest], Outcome] | None = None) -> None:
        self.slots, self.script = slots, script or self.train
        self.given: list[TrialRequest] = []
        self._waiting: list[TrialRequest] = []
        self.most = 0

    def submit(self, job: TrialRequest) -> None:
        self.given.append(json.loads(json.dumps(job)))  # JSON-plain, or it breaks here
        self._waiting.append(job)
        self.most = max(self.most, len(self._waiting))

    def poll(self, timeout_s: float) -> list[Outcome]:
        return [self.script(self._waiting.pop(0))] if self._waiting else []

    def close(self) -> None:
        self._waiting.clear()

    @staticmethod
    def train(job: TrialRequest) -> Outcome:
        """Write a history whose losses follow from the name: more nodes and more convolutions do better."""
        recipe, folder = job["recipe"], Path(job["folder"])
        quality = recipe["conv"] + recipe["nodes"] / 100 + recipe["seed"] / 1000
        done = len(Run(folder).history)
        last = job["until"] or recipe["epochs"]
        if not (folder / "recipe.json").exists():
            store.write_json_atomic(folder / "recipe.json", recipe)
        for epoch in range(done + 1, last + 1):
            row = {"epoch": epoch, "loss": 1 / epoch, "val_loss": 1 / (quality * epoch), "val_accuracy": 0.9}
            store.append_line(folder / "history.jsonl", {**row, "seconds": 0.1, "images_per_s": 100.0})
        if last < recipe["epochs"]:
            return Outcome(job["name"], "paused")
        store.write_json_atomic(folder / "result.json", {"reason": "all epochs", "seconds": 1.0, "parameters": 10})
        return Outcome(job["name"], "complete")


class Listener(Callback):
    """Keeps every event of a sweep."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.notes: list[str] = []
        self.stages: list[str] = []

    def begin(self, stage: str, **facts: object) -> None:
        self.stages.append(f"begin {stage}")

    def progress(self, stage: str, done: int, total: int, **facts: object) -> None:
        snapshot = facts["snapshot"]
        assert stage == "sweep" and isinstance(snapshot, Snapshot) and (done, total) == (snapshot.done, snapshot.total)
        self.snapshots.append(snapshot)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, stage: str, state: str = "complete", **facts: object) -> None:
        self.stages.append(f"end {stage} {state}")
