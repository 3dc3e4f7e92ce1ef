"""Labels that are probably wrong: `housetrain labels`.

In: a run or prepared images. Out: `LabelIssues`, ranked, each with its reasons. Only training and validation images
are looked at: the test images stay for `housetrain.evaluate`. Nothing is corrected here; decisions are in a file of
their own (`housetrain.data.corrections`), and the folder of images is never changed.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from housetrain.data.corrections import COLUMNS, LEAVE_OUT, Corrections
from housetrain.data.output import refuse_inside
from housetrain.data.prepared import Prepared
from housetrain.data.prepared_folder import MANIFEST
from housetrain.data.split_manifest import Row
from housetrain.errors import CorruptError, DataError
from housetrain.evaluation import confident_learning
from housetrain.evaluation.label_features import LOOKED_AT, label_features
from housetrain.system import json_types, store
from housetrain.system.csv_rows import write_row
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import disk_errors, is_relative, write_atomic
from housetrain.system.text import format_count, format_percent
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

FOLDER = "labels"
"""Of the prepared images: where the last result is kept, for the page of the studio."""

FILE = "labels.json"
NEIGHBORS = 10
"""Nearest images that are asked about each one."""

_SHOWN_NEIGHBORS = 3
_MORE_COLUMNS = ("suggested", "probability", "probability_of_given", "split", "reason")


class Neighbor(NamedTuple):
    """An image that looks like another one: its path, label, and the cosine of both."""

    path: str
    sha256: str
    label: str
    similarity: float


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label is probably wrong.

    Attributes:
        path: Relative to the folder of images.
        sha256: Of the file.
        given: Its label.
        suggested: The most probable class.
        probability: Of the suggested class, by a model that was not fitted to the image, 0 to 1.
        given_probability: Of its label, by the same model.
        split: ``"train"`` or ``"validation"``.
        agree: How many of the nearest images have the suggested label.
        asked: Of how many.
        neighbors: The nearest images with another label than the given one.
    """

    path: str
    sha256: str
    given: str
    suggested: str
    probability: float
    given_probability: float
    split: str
    agree: int
    asked: int
    neighbors: tuple[Neighbor, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is listed, in one line."""
        sure = f"{self.suggested} {format_percent(self.probability)}"
        but = f"{self.given} {format_percent(self.given_probability)}"
        return f"{sure}, {but}; {self.agree} of the {self.asked} most similar images are {self.suggested}"


@dataclass(frozen=True, repr=False)
class LabelIssues:
    """Labels of a folder that are probably wrong, the surest first. Made by `housetrain.labels`.

    Attributes:
        issues: The images.
        root: The folder of images.
        prepared: The prepared images that were looked at.
        classes: Class names.
        images: Number of images that were looked at.
        decided: Number of images that a person had decided about; they are not listed.
        features: What they are judged by, in words.
        accuracy: Share of the labels that the model out of fold agrees with.
        note: What would make the result better, or ``""``.
    """

    issues: tuple[LabelIssue, ...]
    root: Path
    prepared: Path
    classes: tuple[str, ...]
    images: int
    decided: int
    features: str
    accuracy: float
    note: str = ""

    def __len__(self) -> int:
        return len(self.issues)

    def __repr__(self) -> str:
        return f"LabelIssues({str(self.root)!r}, {len(self):,} of {self.images:,} labels)"

    def summary(self) -> str:
        """Return one line for people."""
        decided = f"; {self.decided:,} decided before" if self.decided else ""
        return (
            f"{format_count(len(self), 'label')} of {self.images:,} probably wrong, by {self.features} "
            f"(training and validation images; the test images are not looked at{decided})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-plain."""
        return {**asdict(self), "root": str(self.root), "prepared": str(self.prepared), "layout_version": 1}

    def to_csv(self) -> str:
        """Return a row for each image. The column ``corrected`` is empty: filled, it is a file of corrections."""
        text = io.StringIO(newline="")
        write_row(text, (*COLUMNS, *_MORE_COLUMNS))
        for one in self.issues:
            more = (one.suggested, round(one.probability, 4), round(one.given_probability, 4), one.split, one.reason)
            write_row(text, (one.path, one.sha256, one.given, "", "", "", *more))
        return text.getvalue()

    def write_csv(self, path: Path | str) -> Path:
        """Write `to_csv` to a file, in one step.

        Raises:
            FolderError: It is inside the folder of images.
            DiskFull: It cannot be written.
        """
        target, data = Path(path), self.to_csv().encode("utf-8", "surrogateescape")
        refuse_inside(self.root, target)
        with disk_errors(target, bytes_needed=len(data)):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, data)
        return target

    @classmethod
    def load(cls, prepared: Prepared | Path | str) -> LabelIssues:
        """Return the last result for a prepared folder.

        Raises:
            IncompleteError: There is none.
            CorruptError: It is not what was written.
        """
        arrays = prepared if isinstance(prepared, Prepared) else Prepared.open(prepared)
        path = arrays.folder / FOLDER / FILE
        plain = json_types.must_fit(store.read_json(path), _Plain, path)
        issues = tuple(
            LabelIssue(
                **{name: one[name] for name in _PlainIssue.__annotations__ if name != "neighbors"},
                neighbors=tuple(Neighbor(*near) for near in one["neighbors"]),
            )
            for one in plain["issues"]
        )
        names = [*(one.path for one in issues), *(near.path for one in issues for near in one.neighbors)]
        for name in names:
            if not is_relative(name):
                raise CorruptError("The list names an image outside of its folder", path=str(path), image=name)
        known = {name: plain[name] for name in ("images", "decided", "features", "accuracy", "note")}
        # The folders are those that it lies in: a file from elsewhere names no place to read or write.
        return cls(issues, arrays.split.root, arrays.folder, tuple(plain["classes"]), **known)


class _PlainIssue(TypedDict):
    path: str
    sha256: str
    given: str
    suggested: str
    probability: float
    given_probability: float
    split: str
    agree: int
    asked: int
    neighbors: list[tuple[str, str, str, float]]


class _Plain(TypedDict):
    issues: list[_PlainIssue]
    root: str
    prepared: str
    classes: list[str]
    images: int
    decided: int
    features: str
    accuracy: float
    note: str
    layout_version: int


def labels(
    source: Run | Prepared | Path | str,
    *,
    corrections: Path | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> LabelIssues:
    """Find labels that are probably wrong, by confident learning on pretrained features.

    A logistic regression predicts each image without having been fitted to it: grouped, stratified folds, in which
    near-duplicates stay together. The method is that of Northcutt et al. 2021; see
    `housetrain.evaluation.confident_learning`. The result is also kept in ``PREPARED/labels/labels.json``.

    Args:
        source: A run, or prepared images, or the folder of either. A run on frozen features lends its features.
        corrections: Decisions that were made already: those images are not listed, and count with the corrected label.
        seed: Of the folds.
        workers: Processes that decode images; all cores by default.
        callbacks: Follow the progress, such as `housetrain.ProgressBar`.

    Returns:
        The images, the surest first. Only training and validation images are looked at.

    Raises:
        IncompleteError: There is no run and there are no prepared images.
        DataError: A class has too few images.
        FolderError: The corrections cannot be used.
    """
    start = time.monotonic()
    prepared, run = opened(source)
    events = Callbacks(callbacks)
    known = Corrections.read(corrections) if corrections is not None else Corrections(Path())
    found = label_features(prepared, run, workers=workers, callbacks=callbacks)
    if found.note:
        events.note(found.note[:1].upper() + found.note[1:])
    rows, keep, decided = _decided(prepared, known)
    number_of = {label: number for number, label in enumerate(prepared.classes)}
    numbers = np.array([number_of[row.label] for row in rows], dtype=np.int64)
    groups = [row.group for row in rows]
    _check(numbers, groups, prepared.classes)
    parts = confident_learning.components(found.rows[keep])
    out = confident_learning.out_of_fold(parts, numbers, groups, classes=len(prepared.classes), seed=seed)
    wrong = confident_learning.wrong_labels(numbers, out.probabilities)
    wrong = np.array([one for one in wrong if rows[one].sha256 not in decided], dtype=np.int64)
    near = confident_learning.neighbors(parts, wrong, groups, count=NEIGHBORS)
    issues = tuple(
        _issue(place, rows, out.probabilities[place], prepared.classes, neighbors)
        for place, neighbors in zip(wrong, near, strict=True)
    )
    accuracy = float(np.mean(out.probabilities.argmax(axis=1) == numbers))
    result = LabelIssues(
        issues, prepared.split.root, prepared.folder, prepared.classes, len(rows), len(decided), found.name, accuracy,
        found.note,
    )  # fmt: skip
    store.write_json_atomic(prepared.folder / FOLDER / FILE, result.to_json())
    events.note(f"Looked at {len(rows):,} labels in {time.monotonic() - start:.1f} s")
    return result


def opened(source: Run | Prepared | Path | str) -> tuple[Prepared, Run | None]:
    """Return the prepared images that a run, or a folder, stands for, and the run."""
    if isinstance(source, Prepared):
        return source, None
    if isinstance(source, Run):
        return prepared_of(source), source
    if (Path(source) / MANIFEST).exists():
        return Prepared.open(source), None
    run = Run.open(source)
    return prepared_of(run), run


def _decided(prepared: Prepared, known: Corrections) -> tuple[list[Row], list[int], set[str]]:
    """Return the rows with corrected labels, their places among all, and the sha256 of those that were decided."""
    rows: list[Row] = []
    keep: list[int] = []
    decided: set[str] = set()
    for place, row in enumerate(row for name in LOOKED_AT for row in prepared.arrays(name).rows):
        one = known.of(row.path, row.sha256)
        if one is not None:
            decided.add(row.sha256)
            if one.corrected == LEAVE_OUT:
                continue
            if one.corrected in prepared.classes:
                row = replace(row, label=one.corrected)
        rows.append(row)
        keep.append(place)
    return rows, keep, decided


def _check(numbers: np.ndarray, groups: Sequence[str], classes: Sequence[str]) -> None:
    keys = np.asarray(groups)
    few = [name for number, name in enumerate(classes) if len(set(keys[numbers == number])) < 2]
    if few:
        raise DataError(
            f"Too few different images to judge labels by: {', '.join(few[:10])}",
            expected="at least two of each class in training and validation, better hundreds",
            do="add images, or drop the class with --map",
        )


def _issue(
    place: int,
    rows: Sequence[Row],
    probabilities: np.ndarray,
    classes: Sequence[str],
    near: confident_learning.Neighbors,
) -> LabelIssue:
    row, best = rows[place], int(probabilities.argmax())
    agree = sum(rows[one].label == classes[best] for one in near.places)
    others = [
        Neighbor(rows[one].path, rows[one].sha256, rows[one].label, round(float(alike), 3))
        for one, alike in zip(near.places, near.similarity, strict=True)
        if rows[one].label != row.label
    ]
    return LabelIssue(
        row.path, row.sha256, row.label, classes[best], round(float(probabilities[best]), 4),
        round(float(probabilities[classes.index(row.label)]), 4), row.split, agree, len(near.places),
        tuple(others[:_SHOWN_NEIGHBORS]),
    )  # fmt: skip
