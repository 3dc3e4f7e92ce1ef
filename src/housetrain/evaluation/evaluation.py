"""What is known of a model after its test: one frozen value, and the folder it is kept in.

In: counts and answers. Out: an `Evaluation`, as Python, JSON and CSV. It does not know where the answers came from.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from housetrain.errors import CorruptError, IncompleteError
from housetrain.evaluation import metrics
from housetrain.evaluation.metrics import CalibrationBin, Interval
from housetrain.system import store


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said about one test image.

    Attributes:
        path: The image, relative to the root of the source folder.
        sha256: Of its content.
        label: Its class.
        predicted: The class the model gave it.
        probability: Of that class, in [0, 1].
        probabilities: Of all classes, in the order of the evaluation's ``classes``.
    """

    path: str
    sha256: str
    label: str
    predicted: str
    probability: float
    probabilities: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether the model was right."""
        return self.label == self.predicted

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answer:
        """Return the answer that ``dataclasses.asdict`` made plain."""
        return cls(**{**value, "probabilities": tuple(value["probabilities"])})


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How well one class is told from the others. A score without a denominator is ``None``.

    Attributes:
        support: Test images of the class.
        predicted: Test images that were given this class.
        hits: Images that are both.
        precision: Share of the images given this class that are of it.
        recall: Share of the images of this class that were given it.
        f1: Harmonic mean of the two.
        precision_interval: 95 % Wilson interval of ``precision``.
        recall_interval: 95 % Wilson interval of ``recall``.
        f1_interval: 95 % interval of ``f1`` (see `housetrain.evaluation.metrics.f1_interval`).
    """

    support: int
    predicted: int
    hits: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None
    f1_interval: Interval | None

    @classmethod
    def of(cls, hits: int, *, support: int, predicted: int) -> ClassScores:
        """Return the scores that follow from three counts."""
        return cls(
            support=support,
            predicted=predicted,
            hits=hits,
            precision=hits / predicted if predicted else None,
            recall=hits / support if support else None,
            f1=2 * hits / (support + predicted) if support + predicted else None,
            precision_interval=metrics.wilson(hits, predicted) if predicted else None,
            recall_interval=metrics.wilson(hits, support) if support else None,
            f1_interval=metrics.f1_interval(hits, support - hits, predicted - hits),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClassScores:
        """Return the scores that ``dataclasses.asdict`` made plain."""
        return cls.of(value["hits"], support=value["support"], predicted=value["predicted"])


@dataclass(frozen=True, slots=True)
class Baseline:
    """Always guessing the commonest class of the tested images: the best that guessing one class can do.

    The commonest class of the training images may by chance be rare among the tested ones; a model that has learned
    nothing would then pass for better than guessing.

    Attributes:
        label: That class.
        accuracy: Share of the test images on which the guess is right.
    """

    label: str
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """How good a model is, with how sure that is. JSON-plain apart from ``rows``, which are a CSV file.

    Attributes:
        classes: Class names, in the order of ``confusion`` and of all probabilities.
        n: Test images.
        correct: Images that got their own class.
        accuracy: ``correct / n``.
        accuracy_interval: Its 95 % Wilson interval.
        loss: Log loss (mean negative log probability of the true class); comparable with the run's ``val_loss``
            when that has no label smoothing and no class weights.
        baseline: What guessing achieves.
        per_class: Class name -> scores.
        confusion: (C, C) counts: row = true class, column = predicted class.
        auc: Area under the ROC curve (two classes), or its macro mean one-vs-rest; ``None`` with one class only.
        ece: Expected calibration error with 15 bins, in [0, 1].
        bins: Those bins.
        top_k: k -> share of images whose class is among the k most probable; only for more than 5 classes.
        mistakes: The most confident wrong answers, the worst first.
        rows: All answers, in the order of the test split.
        opened: How often this run had opened its test split, this time included; 0 for numbers that are not a run's.
        models_tested: How many different weights of this run had been tested by then.
        weights: sha256 of the model file.
        data: Fingerprint of the prepared images.
        when: Local date and time, ISO 8601.
    """

    classes: tuple[str, ...]
    n: int
    correct: int
    accuracy: float
    accuracy_interval: Interval
    loss: float
    baseline: Baseline
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    auc: float | None
    ece: float
    bins: tuple[CalibrationBin, ...]
    top_k: dict[int, float]
    mistakes: tuple[Answer, ...]
    rows: tuple[Answer, ...] = field(repr=False)
    opened: int = 0
    models_tested: int = 0
    weights: str = ""
    data: str = ""
    when: str = ""

    @property
    def beats_baseline(self) -> bool:
        """Whether the model beats guessing beyond doubt: the whole interval lies above the baseline."""
        return self.accuracy_interval[0] > self.baseline.accuracy

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur."""
        scores = [scores.f1 for scores in self.per_class.values() if scores.f1 is not None]
        return sum(scores) / len(scores)

    @property
    def macro_recall(self) -> float:
        """Mean recall over the classes that occur: the balanced accuracy."""
        scores = [scores.recall for scores in self.per_class.values() if scores.recall is not None]
        return sum(scores) / len(scores)

    def in_words(self) -> str:
        """Return the result as one or two sentences for a person."""
        low, high = (f"{bound * 100:.1f}" for bound in self.accuracy_interval)
        verdict = (
            f"Right on {self.correct:,} of {self.n:,} images it had never seen: {self.accuracy * 100:.1f} % "
            f"(95 % interval {low}–{high} %); guessing the commonest class would be right on "
            f"{self.baseline.accuracy * 100:.1f} %."
        )
        if not self.beats_baseline:
            verdict += " It is not shown that the model does better than guessing."
        return verdict

    def to_json(self) -> dict[str, Any]:
        """Return everything but ``rows`` as a JSON-plain dict."""
        value = asdict(replace(self, rows=()))
        del value["rows"]
        return value | {
            "beats_baseline": self.beats_baseline,
            "macro_f1": self.macro_f1,
            "macro_recall": self.macro_recall,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, rows: Sequence[Answer] = ()) -> Evaluation:
        """Return the evaluation that `to_json` wrote."""
        own = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        own |= {
            "classes": tuple(value["classes"]),
            "accuracy_interval": metrics.pair(value["accuracy_interval"]),
            "baseline": Baseline(**value["baseline"]),
            "per_class": {name: ClassScores.from_json(scores) for name, scores in value["per_class"].items()},
            "confusion": tuple(tuple(row) for row in value["confusion"]),
            "bins": tuple(CalibrationBin.from_json(one) for one in value["bins"]),
            "top_k": {int(k): share for k, share in value["top_k"].items()},
            "mistakes": tuple(Answer.from_json(answer) for answer in value["mistakes"]),
            "rows": tuple(rows),
        }
        return cls(**own)

    def save(self, folder: Path) -> Path:
        """Write ``evaluation.json`` and ``predictions.csv`` into ``folder``, all at once.

        Args:
            folder: Made or exchanged as a whole.

        Raises:
            DiskFull: It cannot be written; what was there before is intact.
        """
        with store.commit_folder(folder.parent, folder.name) as inside:
            _write_rows(inside / "predictions.csv", self.classes, self.rows)
            store.write_json_atomic(inside / "evaluation.json", self.to_json())
        return folder

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Return the evaluation that `save` wrote, verified against its manifest.

        Raises:
            IncompleteError: There is none.
            CorruptError: A file was changed after it was written.
        """
        if not (folder / "evaluation.json").is_file():
            raise IncompleteError("There is no evaluation", do="housetrain evaluate RUN makes it", folder=str(folder))
        store.verify_folder(folder)
        value = store.read_json(folder / "evaluation.json")
        try:
            return cls.from_json(value, rows=_read_rows(folder / "predictions.csv"))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(
                "The evaluation was written by another version of housetrain",
                do="housetrain evaluate RUN makes it anew",
                folder=str(folder),
            ) from error


def _write_rows(path: Path, classes: Sequence[str], rows: Sequence[Answer]) -> None:
    header = ["path", "label", "predicted", "probability", "sha256", *(f"p({name})" for name in classes)]
    # A file name is bytes; surrogateescape writes back the very bytes it was read from.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)  # its \r\n is what makes it quote a \r in a name
        writer.writerow(header)
        for row in rows:
            writer.writerow([row.path, row.label, row.predicted, row.probability, row.sha256, *row.probabilities])


def _read_rows(path: Path) -> list[Answer]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        return [
            Answer(where, digest, label, predicted, float(probability), tuple(map(float, all_of_them)))
            for where, label, predicted, probability, digest, *all_of_them in lines
        ]
