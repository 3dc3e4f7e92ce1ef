"""How good a model is on images it has never seen.

In: labels and probabilities (`evaluate_probabilities`, pure numbers), or a finished run (`evaluate`). Out: an
`Evaluation`, kept in ``RUN/evaluation/``. This is the only place in the package that opens the test split, and each
opening is written down in ``RUN/evaluations.jsonl`` before the first image is looked at. It does not know how the
model was made, nor how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from housetrain.errors import CorruptError, DataError, IncompleteError, ModelError, SourceChanged
from housetrain.evaluation import metrics
from housetrain.evaluation.evaluation import Answer, Baseline, ClassScores, Evaluation
from housetrain.system import store

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from housetrain.data.prepare import Prepared
    from housetrain.inference.predictor import Predictor
    from housetrain.training.run import Run

__all__ = ["Answer", "Baseline", "ClassScores", "Evaluation", "evaluate", "evaluate_probabilities"]

FOLDER = "evaluation"
OPENINGS = "evaluations.jsonl"
BATCH = 256
MISTAKES = 60


def evaluate_probabilities(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    paths: Sequence[str],
    sha256: Sequence[str],
) -> Evaluation:
    """Compare what a model said with what is true.

    Args:
        labels: Int (N,), the true class of each image as an index into ``classes``.
        probabilities: Float (N, C), each row in [0, 1] and summing to 1 within 1 % (bfloat16 is not exact; rows are
            normalized).
        classes: The C class names, two or more, without repeats.
        paths: The N images.
        sha256: Of the content of the N images.

    Returns:
        The `Evaluation`.

    Raises:
        DataError: There is no image.
        ModelError: ``probabilities`` are none.
        ValueError: Lengths, labels or class names do not fit together.
    """
    true = np.asarray(labels, dtype=np.int64)
    if true.size == 0:
        raise DataError(
            "The test split is empty", expected="images that were set aside", do="split again with test above 0"
        )
    given = _probabilities(probabilities, classes)
    n, count = given.shape
    if not len(true) == n == len(paths) == len(sha256):
        raise ValueError(
            f"labels, probabilities, paths and sha256 must have the same length. "
            f"Received: {len(true)}, {n}, {len(paths)}, {len(sha256)}"
        )
    if true.min() < 0 or true.max() >= count or len(set(classes)) != count:
        raise ValueError(f"labels must be indices into distinct classes. Received: {classes=}")

    from sklearn.metrics import confusion_matrix

    predicted = given.argmax(axis=1)
    right = predicted == true
    confusion = confusion_matrix(true, predicted, labels=np.arange(count))
    correct = int(right.sum())
    bins = metrics.calibration_bins(given[np.arange(n), predicted], right)
    counts = np.bincount(true, minlength=count)
    guess = int(counts.argmax())
    rows = tuple(
        Answer(path, digest, classes[label], classes[answer], _short(row[answer]), tuple(map(_short, row)))
        for path, digest, label, answer, row in zip(paths, sha256, true, predicted, given, strict=True)
    )
    wrong = sorted((row for row in rows if not row.right), key=lambda row: (-row.probability, row.path))
    return Evaluation(
        classes=tuple(classes),
        n=n,
        correct=correct,
        accuracy=correct / n,
        accuracy_interval=metrics.wilson(correct, n),
        loss=metrics.log_loss(true, given),
        baseline=Baseline(classes[guess], int(counts[guess]) / n),
        per_class={
            name: ClassScores.of(
                int(confusion[index, index]),
                support=int(confusion[index].sum()),
                predicted=int(confusion[:, index].sum()),
            )
            for index, name in enumerate(classes)
        },
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        auc=metrics.roc_auc(true, given),
        ece=metrics.expected_calibration_error(bins),
        bins=bins,
        top_k={k: metrics.top_k(true, given, k) for k in (3, 5)} if count > 5 else {},
        mistakes=tuple(wrong[:MISTAKES]),
        rows=rows,
    )


def evaluate(
    run: Run,
    *,
    prepared: Prepared | None = None,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Open the test split for a finished run, once, and keep the result in the run's folder.

    The opening is recorded before the first image is read, so that a look that was interrupted counts as a look. A
    second call for the same weights and the same images returns what the first one kept and opens nothing.

    The test is answered by ``Predictor.load(run)``, the model that `export` writes and `predict` serves: the
    run's current bundle if there is one; else OpenVINO in the bundle's precision for a model of more than 4 million
    parameters where it is installed; else Keras, whose probabilities agree with the bundle's to 1e-5.

    Args:
        run: A complete run.
        prepared: The images it was trained on; by default the folder that the run remembers.
        again: Open the test split even though these weights were tested.
        progress: Called with (done, total) images.

    Returns:
        The `Evaluation`, also in ``RUN/evaluation/``.

    Raises:
        IncompleteError: The run is not finished, or its prepared images are gone.
        SourceChanged: The prepared images are no longer those the run was trained on.
        DataError: The test split is empty.
        ModelError: The model does not load or does not give probabilities.
        DiskFull: The result cannot be kept.
    """
    from housetrain.inference.predictor import Predictor

    if not run.complete:
        raise IncompleteError(
            "The run is not finished",
            expected="a run with result.json",
            do="let it finish first: run the same command again",
            run=str(run.folder),
            state=run.state,
        )
    prepared = prepared or prepared_of(run)
    _refuse_other_images(run, prepared)
    weights = run.model_sha256
    if not again and (kept := _kept(run, weights, prepared.fingerprint)) is not None:
        return kept
    labels = prepared.labels("test")
    if len(labels) == 0:
        raise DataError(
            "The test split is empty",
            expected="images that were set aside",
            do="prepare again with test above 0, then train and evaluate",
            prepared=str(prepared.folder),
        )
    predictor = Predictor.load(run)  # before the opening is recorded: the model may not load
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    opening = {"when": now, "weights": weights, "data": prepared.fingerprint, "images": len(labels)}
    store.append_line(run.folder / OPENINGS, opening)
    openings = store.read_lines(run.folder / OPENINGS)
    given = _predict(predictor, prepared.images("test"), progress=progress)
    found = evaluate_probabilities(
        labels,
        given,
        prepared.classes,
        paths=prepared.paths("test"),
        sha256=prepared.sha256("test"),
    )
    result = replace(
        found,
        opened=len(openings),
        models_tested=len({line.get("weights") for line in openings}),
        weights=weights,
        data=prepared.fingerprint,
        when=now,
    )
    result.save(run.folder / FOLDER)
    return result


def _predict(
    predictor: Predictor, images: NDArray[np.uint8], *, progress: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), BATCH):
        parts.append(predictor.probabilities(np.asarray(images[start : start + BATCH])))
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
    return np.concatenate(parts)


def prepared_of(run: Run) -> Prepared:
    """Return the prepared images that a run was trained on.

    Raises:
        IncompleteError: They are gone, or the run does not say where they are.
        CorruptError: They were changed.
    """
    from housetrain.data.prepare import Prepared

    place = run.input_json.get("prepared")
    if not place:
        raise IncompleteError(
            "The run does not say where its prepared images are", do="pass them as prepared=", run=str(run.folder)
        )
    return Prepared.open(Path(place))


def _refuse_other_images(run: Run, prepared: Prepared) -> None:
    # An image of another split may be one that the model was trained on, so a fingerprint that differs is no detail.
    trained_on = run.input_json.get("data")
    if tuple(prepared.classes) != run.classes or trained_on not in (None, prepared.fingerprint):
        raise SourceChanged(
            "The prepared images are not those the run was trained on: its test images would mean nothing",
            do="train again on these images, or pass the folder that the run was trained on",
            prepared=str(prepared.folder),
            run=str(run.folder),
        )


def _kept(run: Run, weights: str, data: str) -> Evaluation | None:
    try:
        kept = Evaluation.load(run.folder / FOLDER)
    except (IncompleteError, CorruptError):
        return None
    return kept if (kept.weights, kept.data) == (weights, data) else None


def _probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    given = np.asarray(probabilities, dtype=np.float64)
    expected = f"(N, {len(classes)}) numbers in [0, 1], each row summing to 1"
    if given.ndim != 2 or given.shape[1] != len(classes) or len(classes) < 2:
        raise ModelError("The answer is not one probability a class", expected=expected, shape=given.shape)
    total = given.sum(axis=1, keepdims=True)
    odd = ~(np.isfinite(given).all(axis=1) & (given >= 0).all(axis=1) & (abs(total[:, 0] - 1) <= 0.01))
    if odd.any():
        raise ModelError(
            "The answer holds numbers that are no probabilities",
            expected=expected,
            rows=int(odd.sum()),
            first=given[odd][0][:5].tolist(),
        )
    return np.asarray(given / total, dtype=np.float64)


def _short(probability: float) -> float:
    # Seven digits are all that float32 has; so the CSV file holds exactly what is here.
    return float(f"{probability:.7g}")
