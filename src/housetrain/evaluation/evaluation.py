"""The test result of a model: one frozen value, and the folder that keeps it.

In: counts and predictions. Out: an `Evaluation`, as Python, JSON and CSV. It does not know where the predictions came
from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import CorruptError, IncompleteError, one_line
from housetrain.evaluation import balance, metrics
from housetrain.evaluation.calibration import Calibration, calibration
from housetrain.evaluation.elsewhere import Elsewhere
from housetrain.evaluation.metrics import CalibrationBin, Interval
from housetrain.evaluation.opening import Opening as Opening
from housetrain.evaluation.scores import ClassScores as ClassScores
from housetrain.evaluation.scores import Scores
from housetrain.inference.decision import UNDECIDED, Decision
from housetrain.models.outputs import at_temperature
from housetrain.system import json_types, store
from housetrain.system.csv_rows import read_rows, write_row
from housetrain.system.notebook import html_table
from housetrain.system.text import format_interval, format_percent
from housetrain.training.clusters import Clusters, clustered_interval, clusters, group_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISTAKES = 60
"""So many of the most confident mistakes are kept in ``evaluation.json``; all predictions are in the CSV file."""
_GROUPED = 0.9
"""Groups per image below which the headline says that images come in groups; a few near-duplicates change nothing."""
_MORE = ("group", "novel")  # columns of predictions.csv after the probabilities
_NOVEL = {"": None, "yes": True, "no": False}
_DERIVED = (
    "n", "correct", "accuracy", "accuracy_interval", "ece", "beats_baseline", "macro_f1", "macro_f1_interval",
    "macro_recall", "macro_recall_interval", "imbalanced",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The prediction for one test image, and its true class.

    Attributes:
        path: The image, relative to the root of the source folder.
        sha256: Of its content.
        label: Its true class.
        predicted: The class with the highest probability.
        probability: Of that class, in [0, 1].
        probabilities: Of all classes, in the order of the evaluation's ``classes``.
        group: Key of the images that belong together (see `housetrain.split`); ``""`` for an image on its own.
        novel: Whether it is unlike the training images; ``None`` where the model cannot tell.
    """

    path: str
    sha256: str
    label: str
    predicted: str
    probability: float
    probabilities: tuple[float, ...]
    group: str = ""
    novel: bool | None = None

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.label == self.predicted


@dataclass(frozen=True, slots=True)
class Baseline:
    """The majority-class baseline: always predict the most frequent class of the test images.

    The most frequent class of the training images may by chance be rare in the test; a model that learned nothing
    would then seem to beat the baseline.

    Attributes:
        label: That class.
        accuracy: Its share of the test images.
    """

    label: str
    accuracy: float


@dataclass(frozen=True, repr=False)
class Evaluation(Scores):
    """The test result of a model, with its uncertainty. JSON-plain except for ``rows``, which are a CSV file.

    Attributes:
        classes: Class names, in the order of ``confusion`` and of all probabilities.
        confusion: (C, C) counts: row = true class, column = predicted class.
        loss: Log loss (mean negative log probability of the true class); comparable with the run's ``val_loss``
            when that has no label smoothing and no class weights.
        auc: Area under the ROC curve (two classes), or its macro mean one-vs-rest; ``None`` with one class only.
        baseline: The majority-class baseline.
        per_class: Class name -> scores.
        bins: Calibration bins.
        top_k: k -> share of images whose class is among the k most probable; only for more than 5 classes.
        rows: All predictions, in the order of the test split.
        opening: When the test split was opened; ``None`` for numbers that do not belong to a run.
        elsewhere: What is known of images that are not the test split of the run, else ``None``.
        decision: How the probabilities became predictions; they are those at its temperature.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    loss: float
    auc: float | None
    baseline: Baseline
    per_class: dict[str, ClassScores]
    bins: tuple[CalibrationBin, ...]
    top_k: dict[int, float]
    rows: tuple[ImageResult, ...] = field(repr=False)
    opening: Opening | None = None
    elsewhere: Elsewhere | None = None
    decision: Decision = UNDECIDED

    def __repr__(self) -> str:
        where = f", on {self.elsewhere.folder!r}" if self.elsewhere else ""
        interval = format_interval(self.accuracy_interval)
        return f"Evaluation(accuracy={self.accuracy:.4g}, loss={self.loss:.4g}, n={self.n:,}, 95 % {interval}{where})"

    def _repr_html_(self) -> str:
        columns = ("support", "precision", "recall", "f1")
        rows = [[name, *(getattr(one, column) for column in columns)] for name, one in self.per_class.items()]
        return html_table(self.summary(), ["class", *columns], rows)

    @property
    def ece(self) -> float:
        """Expected calibration error of ``bins``, in [0, 1]."""
        return metrics.expected_calibration_error(self.bins)

    @property
    def mistakes(self) -> tuple[ImageResult, ...]:
        """The most confident misclassified images, most confident first."""
        wrong = sorted((row for row in self.rows if not row.correct), key=lambda row: (-row.probability, row.path))
        return tuple(wrong[:MISTAKES])

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration error beside what chance makes of it."""
        stated = np.array([row.probability for row in self.rows], dtype=np.float64)
        return calibration(stated, np.array([row.correct for row in self.rows], dtype=bool))

    @cached_property
    def calibration_before(self) -> Calibration | None:
        """The same without the temperature; ``None`` where that is 1."""
        if self.decision.temperature == 1:
            return None
        given = np.array([row.probabilities for row in self.rows], dtype=np.float64)
        stated = at_temperature(given, 1 / self.decision.temperature).max(axis=1)
        return calibration(stated, np.array([row.correct for row in self.rows], dtype=bool))

    @cached_property
    def clusters(self) -> Clusters:
        """How the test images come in groups, and how much that takes from what they say about the accuracy."""
        return clusters(self._correct, self._groups)

    @property
    def grouped(self) -> bool:
        """Whether the test images come in groups; a few near-duplicates do not count."""
        return self.clusters.groups < _GROUPED * self.n

    @property
    def falls_short(self) -> bool:
        """Whether the accuracy is lower than validation promised, by more than chance: see `Opening.falls_short`."""
        return self.opening is not None and self.opening.falls_short(self.correct, self.n, self.clusters.effect)

    @cached_property
    def accuracy_interval(self) -> Interval:
        """95 % Wilson interval of ``accuracy``; where images come in groups, of as many as the groups are worth."""
        return clustered_interval(self._correct, self._groups)

    @property
    def _correct(self) -> NDArray[np.bool_]:
        return np.array([row.correct for row in self.rows], dtype=bool)

    @property
    def _groups(self) -> NDArray[np.intp]:
        return group_numbers([row.group for row in self.rows])

    @cached_property
    def beats_baseline(self) -> bool:
        """Whether the model is shown to be better than always predicting the most frequent class.

        By accuracy: the whole 95 % interval lies above the baseline. Where classes are imbalanced, by balanced
        accuracy, in which the baseline is chance: a permutation test, see
        `housetrain.evaluation.balance.chance_of_balanced_accuracy`. A rare class that is found costs accuracy there.
        """
        if self.imbalanced:
            worth = np.rint(np.array(self.confusion) / self.clusters.effect)  # images that come in groups say less
            return balance.chance_of_balanced_accuracy(worth) <= balance.LEVEL
        return self.accuracy_interval[0] > self.baseline.accuracy

    def details(self) -> str:
        """Return what stands beside the accuracy: counts, interval, baseline, and a warning where there is one."""
        baseline = f"majority-class baseline {format_percent(self.baseline.accuracy)}"
        images = "unseen images" if self.elsewhere is None else "images"
        if self.grouped:
            images += f" in {self.clusters.groups:,} groups"
        text = (
            f"{self.correct:,} of {self.n:,} {images}; 95 % interval {format_interval(self.accuracy_interval)}; "
            f"{baseline}"
        )
        if self.imbalanced:
            recall, f1 = format_interval(self.macro_recall_interval), format_interval(self.macro_f1_interval)
            text += f"; balanced accuracy {format_percent(self.macro_recall)}, 95 % interval {recall}"
            text += f"; macro F1 {format_percent(self.macro_f1)}, 95 % interval {f1}"
        if self.falls_short and self.opening:
            text += f". {self.opening.describe_fall(grouped=self.grouped)}"
        if self.beats_baseline:
            return text
        name = one_line(self.baseline.label)
        return f"{text}. Not significantly better than always predicting “{name}”"

    def summary(self) -> str:
        """Return the result in one or two sentences."""
        first, stop, warning = self.details().partition(". ")
        where = "Test accuracy" if self.elsewhere is None else f"Accuracy on {one_line(self.elsewhere.folder)}:"
        return f"{where} {format_percent(self.accuracy)} ({first}){stop}{warning}."

    def to_json(self) -> dict[str, Any]:
        """Return everything except ``rows`` as plain JSON, derived numbers included."""
        value = {name: getattr(self, name) for name in _DERIVED}
        for name in self.__dataclass_fields__:
            if name != "rows":
                value[name] = getattr(self, name)
        value |= {
            "baseline": asdict(self.baseline),
            "per_class": {name: asdict(scores) for name, scores in self.per_class.items()},
            "bins": [asdict(one) for one in self.bins],
            "opening": asdict(self.opening) if self.opening else None,
            "elsewhere": self.elsewhere.to_json() if self.elsewhere else None,
            "calibration": asdict(self.calibration),
            "calibration_before": asdict(self.calibration_before) if self.calibration_before else None,
            "decision": self.decision.to_json(),
            "mistakes": [asdict(one) for one in self.mistakes],
        }
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, rows: Sequence[ImageResult]) -> Evaluation:
        """Return the evaluation that `to_json` converted.

        Raises:
            ValueError: The counts are not those of its classes.
        """
        sides = {len(value["classes"]), len(value["per_class"]), len(value["confusion"]), *map(len, value["confusion"])}
        if len(sides) > 1 or not any(map(any, value["confusion"])) or min(map(min, value["confusion"])) < 0:
            raise ValueError("confusion")
        return cls(
            classes=tuple(value["classes"]),
            confusion=tuple(tuple(row) for row in value["confusion"]),
            loss=value["loss"],
            auc=value["auc"],
            baseline=Baseline(**value["baseline"]),
            per_class={name: ClassScores.from_json(scores) for name, scores in value["per_class"].items()},
            bins=tuple(CalibrationBin.from_json(one) for one in value["bins"]),
            top_k={int(k): share for k, share in value["top_k"].items()},
            rows=tuple(rows),
            opening=Opening(**value["opening"]) if value["opening"] else None,
            elsewhere=Elsewhere.from_json(value["elsewhere"]) if value.get("elsewhere") else None,
            decision=Decision.from_json(value.get("decision", {})),
        )

    def save(self, folder: Path | str) -> Path:
        """Write ``evaluation.json`` and ``predictions.csv`` into ``folder``, all at once.

        Args:
            folder: Created, or replaced as a whole.

        Raises:
            DiskFull: It cannot be written; what was there before is intact.
        """
        folder = Path(folder)
        with store.commit_folder(folder.parent, folder.name) as inside:
            _write_rows(inside / "predictions.csv", self.classes, self.rows)
            store.write_json_atomic(inside / "evaluation.json", self.to_json())
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> Evaluation:
        """Return the evaluation that `save` wrote, verified against its manifest.

        Raises:
            IncompleteError: There is none.
            CorruptError: A file was changed after it was written.
        """
        folder = Path(folder)
        if not (folder / "evaluation.json").is_file():
            raise IncompleteError("There is no evaluation", do="run housetrain evaluate RUN", folder=str(folder))
        store.verify_folder(folder)
        path = folder / "evaluation.json"
        value = store.read_object(path)
        try:
            json_types.must_fit({**value, "rows": []}, cls, path)
            return cls.from_json(value, rows=_read_rows(folder / "predictions.csv"))
        except (KeyError, TypeError, ValueError, CorruptError) as error:
            raise CorruptError(
                "Another version of housetrain wrote the evaluation",
                do="run housetrain evaluate RUN again",
                folder=str(folder),
            ) from error


def _write_rows(path: Path, classes: Sequence[str], rows: Sequence[ImageResult]) -> None:
    header = ["path", "label", "predicted", "probability", "sha256", *(f"p({name})" for name in classes), *_MORE]
    # A file name is bytes; surrogateescape writes back the bytes it was read from.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        write_row(file, header, end="\r\n")
        for row in rows:
            novel = "" if row.novel is None else "yes" if row.novel else "no"
            cells = [row.path, row.label, row.predicted, row.probability, row.sha256, *row.probabilities]
            cells += [row.group, novel]
            write_row(file, cells, end="\r\n")


def _read_rows(path: Path) -> list[ImageResult]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = read_rows(file)
        last = next(lines)[-2:]
        more = [name for name in _MORE if name in last]  # earlier versions had no such columns
        rows = []
        for where, label, predicted, probability, digest, *rest in lines:
            given = tuple(map(float, rest[: len(rest) - len(more)]))
            marks = dict(zip(more, rest[len(given) :], strict=True))
            group, novel = marks.get("group", ""), _NOVEL[marks.get("novel", "")]
            rows.append(ImageResult(where, digest, label, predicted, float(probability), given, group, novel))
        return rows
