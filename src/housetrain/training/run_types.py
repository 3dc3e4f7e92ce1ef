"""The types of what a run folder's JSON files hold, as far as readers rely on them.

In: nothing. Out: `TypedDict` classes for `housetrain.system.json_types.must_fit`. Files may hold further keys.
"""

from __future__ import annotations

from typing import Any, TypedDict

Number = float | None
SCORES = ("loss", "accuracy", "val_loss", "val_accuracy")


class Input(TypedDict, total=False):
    """``input.json``."""

    spec: dict[str, Any]
    classes: list[str]
    data: str
    prepared: str | None
    decoder: dict[str, str] | None
    own_model: str


class _Scored(TypedDict, total=False):
    lr: Number
    l2: Number
    seconds: float
    images_per_s: Number
    loss: Number
    accuracy: Number
    val_loss: Number
    val_accuracy: Number


class Epoch(_Scored):
    """A line of ``history.jsonl``."""

    epoch: int


class Step(_Scored):
    """A line of that of a path."""

    step: int


class Progress(TypedDict, total=False):
    """``progress.json``."""

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_s: Number
    eta_s: Number
    time: float


class _Length(TypedDict, total=False):
    reason: str | None
    epochs_run: int
    steps_run: int
    best_epoch: int
    best_step: int
    overfitting_epoch: int | None
    overfitting: str


class Result(_Length, total=False):
    """``result.json``."""

    loss: Number
    accuracy: Number
    val_loss: Number
    val_accuracy: Number
    seconds: float
    images_per_s: Number
    parameters: int | None
    precision: str


class _Stage(TypedDict):
    name: str
    seconds: float
    val_loss: float
    val_accuracy: float
    gain: float
    gain_error: float
    best: bool


class Stages(TypedDict):
    """``stages.json``."""

    rows: list[_Stage]
