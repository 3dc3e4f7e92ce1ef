"""Evaluate a model on images that were not used to train or select it.

In: labels and probabilities (`evaluate_probabilities`, pure numbers), or a finished run (`evaluate`). Out: an
`Evaluation`, kept in ``RUN/evaluation/``. This is the only place in the package that opens the test split. Each
opening is recorded in ``RUN/evaluations.jsonl`` before the first image is read. It does not know how the model was
trained, nor how results are shown.

    housetrain evaluate RUN
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import CorruptError, DataError, DiskFull, IncompleteError, ModelError, RecipeError, SourceChanged
from housetrain.evaluation import metrics
from housetrain.evaluation.evaluation import Baseline, ClassScores, Evaluation, ImageResult, Opening
from housetrain.system import store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import refuse_links
from housetrain.training.clusters import clusters, group_numbers
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from housetrain.data.label_source import LabelOptions
    from housetrain.data.prepare import Prepared
    from housetrain.inference.predictor import Predictor

__all__ = ["Baseline", "ClassScores", "Evaluation", "ImageResult", "Opening", "evaluate", "evaluate_probabilities"]

FOLDER = "evaluation"
OPENINGS = "evaluations.jsonl"
LEDGER = "test-openings.jsonl"
"""In the prepared folder: one line for each opening of its test split by any run."""
BATCH = 256


def evaluate_probabilities(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    paths: Sequence[str],
    sha256: Sequence[str],
    groups: Sequence[str] = (),
    novel: Sequence[bool] | None = None,
) -> Evaluation:
    """Compare a model's probabilities with the true classes.

    Args:
        labels: Int (N,), the true class of each image as an index into ``classes``.
        probabilities: Float (N, C), each row in [0, 1] and summing to 1 within 1 % (bfloat16 is not exact; rows are
            normalized).
        classes: The C class names, two or more, all different.
        paths: The N images.
        sha256: Of the content of the N images.
        groups: Key of the images that belong together, for each of the N; by default each is on its own.
        novel: Whether each of the N images is unlike the training images, where the model can tell.

    Returns:
        The `Evaluation`, without an opening.

    Raises:
        DataError: There is no image.
        ModelError: ``probabilities`` are not probabilities.
        ValueError: Lengths, labels or class names do not agree.
    """
    true = np.asarray(labels, dtype=np.int64)
    if true.size == 0:
        raise DataError("The test split is empty", expected="at least one test image", do="split with test above 0")
    given = _checked_probabilities(probabilities, classes)
    n, count = given.shape
    if not len(true) == n == len(paths) == len(sha256):
        raise ValueError(
            f"labels, probabilities, paths and sha256 must have the same length. "
            f"Received: {len(true)}, {n}, {len(paths)}, {len(sha256)}"
        )
    if true.min() < 0 or true.max() >= count or len(set(classes)) != count:
        raise ValueError(f"labels must be indices into distinct classes. Received: {classes=}")
    predicted = given.argmax(axis=1)
    marks: Sequence[bool | None] = novel or [None] * n
    rows = tuple(
        ImageResult(
            path, digest, classes[label], classes[at], _rounded(row[at]), tuple(map(_rounded, row)), group, mark
        )
        for path, digest, label, at, row, group, mark in zip(
            paths, sha256, true, predicted, given, groups or [""] * n, marks, strict=True
        )
    )
    return _scored(true, given, predicted, classes, rows)


def _scored(
    true: NDArray[np.int64],
    given: NDArray[np.float64],
    predicted: NDArray[np.int64],
    classes: Sequence[str],
    rows: tuple[ImageResult, ...],
) -> Evaluation:
    from sklearn.metrics import confusion_matrix

    n, count = given.shape
    confusion = confusion_matrix(true, predicted, labels=np.arange(count))
    support, groups = confusion.sum(axis=1), group_numbers([row.group for row in rows])
    majority = int(support.argmax())
    return Evaluation(
        classes=tuple(classes),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        loss=metrics.log_loss(true, given),
        auc=metrics.roc_auc(true, given),
        baseline=Baseline(classes[majority], int(support[majority]) / n),
        per_class={
            name: ClassScores.of_groups(true == index, predicted == index, groups, given[:, index])
            for index, name in enumerate(classes)
        },
        bins=metrics.calibration_bins(given[np.arange(n), predicted], predicted == true),
        top_k={k: metrics.top_k(true, given, k) for k in (3, 5)} if count > 5 else {},
        rows=rows,
    )


def evaluate(
    run: Run | Path | str,
    *,
    on: Path | str | None = None,
    prepared: Prepared | None = None,
    again: bool = False,
    callbacks: Sequence[Callback] = (),
    **label_options: Unpack[LabelOptions],
) -> Evaluation:
    """Open the test split for a finished run, once, and keep the result in the run folder.

    The opening is recorded before the first image is read, so an interrupted evaluation counts as an opening. A second
    call for the same model and the same images returns the kept result and opens nothing.

    ``Predictor.load(run)`` computes the probabilities: the model that `export` writes and `predict` serves. That
    is the run's current bundle if there is one; otherwise OpenVINO in the bundle's precision for a model of more than
    4 million parameters, where it is installed; otherwise Keras, whose probabilities agree with the bundle's to 1e-5.

    Args:
        run: A complete run, or its folder.
        on: Test on this labeled folder instead, such as next year's photos, without opening the
            test split. Copies of training images are named, and so is what differs from the training images; see
            `Evaluation.elsewhere`.
        prepared: The images it was trained on; by default the folder recorded in the run.
        again: Open the test split even if this model was tested before.
        callbacks: Receive the progress of the stage ``evaluate``, in images.
        **label_options: Only with ``on``: where its labels come from, if not from class folders (see `scan`), and
            ``class_map``, which renames, merges or drops classes of the folder and of the model.

    Returns:
        The `Evaluation`, also in ``RUN/evaluation/``, or in ``RUN/evaluations/on-NAME/``.

    Raises:
        IncompleteError: The run is not finished, or its prepared images are missing.
        SourceChanged: The prepared images are no longer those the run was trained on.
        DataError: No test split was set aside.
        ModelError: The model does not load or does not return probabilities.
        CorruptError: The run holds links, which could lead elsewhere what is written.
        DiskFull: The result cannot be kept.
    """
    run = Run.open(run) if isinstance(run, Path | str) else run
    if on is not None:
        from housetrain.evaluation.evaluate_on import evaluate_on

        return evaluate_on(run, on, options=label_options, callbacks=callbacks)
    if given := sorted(name for name, value in label_options.items() if value):
        raise RecipeError("Options of labels are for a folder to test on", do="add on=FOLDER", options=", ".join(given))
    return _evaluate_split(run, prepared, again=again, callbacks=callbacks)


def _evaluate_split(run: Run, prepared: Prepared | None, *, again: bool, callbacks: Sequence[Callback]) -> Evaluation:
    """Test a run on its test split."""
    from housetrain.inference.predictor import Predictor

    if run.complete and prepared is None and not again:  # a kept result needs no images
        kept = _kept(run, run.model_sha256, str(run.input_json.get("data")))
        if kept is not None:
            return kept
    refuse_links(run.folder)
    prepared = _images_of(run, prepared)
    model_sha256 = run.model_sha256
    if not again and (kept := _kept(run, model_sha256, prepared.fingerprint)) is not None:
        return kept
    if len(prepared.test.labels) == 0:
        raise DataError(
            NO_TEST,
            do="test on other labeled images (--on FOLDER), or prepare with a test split and train again",
            prepared=str(prepared.folder),
        )
    with Predictor.load(run) as predictor:  # before the opening is recorded: the model may not load
        opening = _record_opening(run, model_sha256, prepared)
        result = _evaluate_images(predictor, prepared, Callbacks(callbacks))
    result = replace(result, opening=opening, decision=predictor.decision)
    result.save(run.folder / FOLDER)
    return result


def _images_of(run: Run, prepared: Prepared | None) -> Prepared:
    """Return the prepared images of a complete run."""
    if not run.complete:
        raise IncompleteError(
            "The run is not finished",
            expected="a run with result.json",
            do="rerun the same command to finish it",
            run=str(run.folder),
            state=run.state,
        )
    prepared = prepared or prepared_of(run)
    # With another split, an image of the test may be one that the model was trained on.
    trained_on = run.input_json.get("data")
    if tuple(prepared.classes) != run.classes or trained_on not in (None, prepared.fingerprint):
        raise SourceChanged(
            "The prepared images are not those the run was trained on",
            expected="the images and the split of the training",
            do="train again on these images, or pass the folder that the run was trained on",
            prepared=str(prepared.folder),
            run=str(run.folder),
        )
    return prepared


def _record_opening(run: Run, model_sha256: str, prepared: Prepared) -> Opening:
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    images = len(prepared.test.labels)
    line = {"when": now, "model_sha256": model_sha256, "data": prepared.fingerprint, "images": images}
    store.append_line(run.folder / OPENINGS, line)
    openings = store.read_lines(run.folder / OPENINGS)
    models = {line.get("model_sha256") for line in openings}
    runs = _runs_on_record(run, prepared, line)
    result = run.result or {}
    return Opening(
        count=len(openings),
        models_tested=len(models),
        model_sha256=model_sha256,
        data=prepared.fingerprint,
        when=now,
        runs=runs,
        validation_accuracy=result.get("val_accuracy"),
        validation_images=len(prepared.validation.labels),
        validation_tries=max(1, int(result.get("epochs_run") or result.get("steps_run") or 1)),
        validation_effect=_validation_effect(run, prepared),
    )


def _validation_effect(run: Run, prepared: Prepared) -> float | None:
    """Return the design effect of the validation images; ``None`` where the run did not keep its predictions."""
    labels = np.asarray(prepared.validation.labels)
    kept = run.validation_probabilities(len(labels))
    if kept is None or not len(labels):
        return None
    return clusters(
        kept.argmax(axis=1) == labels, group_numbers([row.group for row in prepared.validation.rows])
    ).effect


def _runs_on_record(run: Run, prepared: Prepared, line: dict[str, Any]) -> int:
    """Add an opening to the ledger of the prepared folder. Return how many runs have opened this test split.

    The split is known by its fingerprint: the same split, prepared once more for another image size, has its record.
    """
    own, split = str(run.folder.resolve()), prepared.split.fingerprint
    ledger = prepared.folder / LEDGER
    with contextlib.suppress(DiskFull):  # a prepared folder without write permission; the run has its own record
        store.append_line(ledger, {**line, "run": own, "split": split})
    return len({own} | {str(one.get("run")) for one in store.read_lines(ledger) if one.get("split") == split})


def _evaluate_images(predictor: Predictor, prepared: Prepared, events: Callbacks) -> Evaluation:
    images = prepared.test.images
    events.begin("evaluate", total=len(images))
    try:
        parts = []
        for start in range(0, len(images), BATCH):
            parts.append(predictor.outputs(np.asarray(images[start : start + BATCH])))
            events.progress("evaluate", min(start + BATCH, len(images)), len(images))
        found = predictor.answers(np.concatenate(parts))
        result = evaluate_probabilities(
            prepared.test.labels,
            found.probabilities,
            prepared.classes,
            paths=prepared.test.paths,
            sha256=prepared.test.sha256,
            groups=[row.group for row in prepared.test.rows],
            novel=None if found.novel is None else found.novel.tolist(),
        )
    except BaseException as error:
        events.end("evaluate", "stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    events.end("evaluate", accuracy=result.accuracy)
    return result


def _kept(run: Run, model_sha256: str, data: str) -> Evaluation | None:
    try:
        kept = Evaluation.load(run.folder / FOLDER)
    except (IncompleteError, CorruptError):
        return None
    opening = kept.opening
    return kept if opening and (opening.model_sha256, opening.data) == (model_sha256, data) else None


def _checked_probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    given = np.asarray(probabilities, dtype=np.float64)
    expected = f"(N, {len(classes)}) numbers in [0, 1], each row summing to 1"
    if given.ndim != 2 or given.shape[1] != len(classes) or len(classes) < 2:
        raise ModelError("The model does not return one probability per class", expected=expected, shape=given.shape)
    total = given.sum(axis=1, keepdims=True)
    odd = ~(np.isfinite(given).all(axis=1) & (given >= 0).all(axis=1) & (abs(total[:, 0] - 1) <= 0.01))
    if odd.any():
        raise ModelError(
            "The model returns numbers that are not probabilities",
            expected=expected,
            rows=int(odd.sum()),
            first=given[odd][0][:5].tolist(),
        )
    return np.asarray(given / total, dtype=np.float64)


def _rounded(probability: float) -> float:
    # float32 has seven digits; so the CSV file holds exactly these values.
    return float(f"{probability:.7g}")
