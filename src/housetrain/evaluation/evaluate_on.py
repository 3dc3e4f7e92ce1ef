"""Evaluate a run on a labeled folder from elsewhere: next year's photos, another camera.

In: a complete run, a folder of labeled images. Out: an `Evaluation` with what is known of the images (`Elsewhere`),
kept in ``RUN/evaluations/on-NAME/``. It does not touch the test split of the run, so it does not count as an opening.

    housetrain evaluate RUN --on FOLDER
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.data.class_map import ClassMap
from housetrain.errors import FolderError, HousetrainError, IncompleteError, RecipeError
from housetrain.evaluation import metrics
from housetrain.evaluation.elsewhere import Elsewhere, Novel, Shift, WithoutCopies
from housetrain.evaluation.evaluate import evaluate_probabilities
from housetrain.evaluation.evaluation import Evaluation
from housetrain.evaluation.shift import MOST, Measures, joined, measure, shifts
from housetrain.models.outputs import at_temperature
from housetrain.system import store
from housetrain.system.events import Callback, Callbacks
from housetrain.system.files import refuse_links
from housetrain.system.process_pool import Failed
from housetrain.system.text import format_list
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord
    from housetrain.data.label_source import LabelOptions
    from housetrain.images.input_spec import InputSpec
    from housetrain.inference.predictor import Predictor

FOLDER = "evaluations"
"""In the run folder: one folder for each folder that the run was tested on."""

_BATCH = 256


class _Tested(NamedTuple):
    images: list[ImageRecord]
    probabilities: NDArray[np.float32]
    measures: Measures
    novel: NDArray[np.bool_] | None


def evaluate_on(
    run: Run, folder: Path | str, *, options: LabelOptions, callbacks: Sequence[Callback] = ()
) -> Evaluation:
    """Test a run on a labeled folder that it was not trained on. See `housetrain.evaluate`.

    Args:
        run: A complete run.
        folder: The images, in any layout that `housetrain.scan` reads.
        options: The keyword arguments of `housetrain.scan`.
        callbacks: Receive the progress of the stages ``scan`` and ``evaluate``.

    Raises:
        IncompleteError: The run is not finished.
        FolderError: The folder has no image of a class that the model knows.
    """
    from housetrain.data.catalog import scan
    from housetrain.inference.predictor import Predictor

    if not run.complete:
        raise IncompleteError(
            "The run is not finished", do="rerun the same command to finish it", run=str(run.folder), state=run.state
        )
    refuse_links(run.folder)
    class_map = ClassMap.of(options.get("class_map"))
    catalog = scan(folder, callbacks=callbacks, **options)
    with Predictor.load(run) as whole:
        predictor = whole.mapped(class_map)
        usable, left_out = _usable(catalog)
        known = [image for image in usable if image.label in predictor.classes]
        unknown = Counter(image.label for image in usable if image.label not in predictor.classes)
        if not known:
            raise _nothing_in_common(sorted(unknown), predictor.classes, folder)
        tested = _test(predictor, catalog.root, known, Callbacks(callbacks))
    left_out += Counter({"unreadable": len(known) - len(tested.images)})
    place = {label: number for number, label in enumerate(predictor.classes)}
    result = evaluate_probabilities(
        [place[image.label] for image in tested.images],
        tested.probabilities,
        predictor.classes,
        paths=[image.path for image in tested.images],
        sha256=[image.sha256 for image in tested.images],
    )
    exact, near = _copies(run, catalog.root, tested.images, callbacks)
    about = Elsewhere(
        name=_name(run, catalog.root, Path(folder)),
        folder=str(catalog.root.absolute()),
        unknown=dict(unknown),
        absent=tuple(label for label in predictor.classes if label not in {one.label for one in tested.images}),
        left_out=dict(+left_out),
        exact_copies=exact,
        near_copies=near,
        without_copies=_without(result, {*exact, *(near or ())}),
        shift=_shift(run, tested, predictor.decision.temperature, callbacks),
        class_map=dict(class_map.names),
        novel=_novel(tested.novel),
    )
    result = replace(result, elsewhere=about, decision=predictor.decision)
    result.save(run.folder / FOLDER / about.name)
    return result


def _novel(marks: NDArray[np.bool_] | None) -> Novel | None:
    if marks is None:
        return None
    return Novel(len(marks), int(marks.sum()), metrics.wilson(int(marks.sum()), len(marks)))


def _usable(catalog: Catalog) -> tuple[list[ImageRecord], Counter[str]]:
    """Return the images to test, and how many are left out for which kind of finding."""
    from housetrain.data.checks import check

    kinds = {path: finding.kind for finding in check(catalog) for path in finding.leaves_out}
    kinds |= {image.path: "unreadable" for image in catalog.images if not image.usable}
    images = [image for image in catalog.usable if image.path not in kinds]
    return images, Counter(kinds.values())


def _nothing_in_common(found: Sequence[str], classes: Sequence[str], folder: Path | str) -> HousetrainError:
    alike = {label.casefold(): label for label in classes}
    pairs = [f"{label},{alike[label.casefold()]}" for label in found if label.casefold() in alike]
    example = pairs[0] if pairs else f"{found[0]},{classes[0]}" if found else f"NAME,{classes[0]}"
    if not found:
        return FolderError("The folder holds no image that can be tested", folder=str(folder))
    return RecipeError(
        "The folder has no class of the model",
        expected=f"classes named {format_list(classes, limit=8)}",
        do=f"name the classes in a file of lines such as {example} and add --map FILE",
        folder=str(folder),
        classes=format_list(found, limit=8),
    )


def _test(predictor: Predictor, root: Path, images: Sequence[ImageRecord], events: Callbacks) -> _Tested:
    """Decode and classify images, batch by batch; those that have become unreadable are missing in the result."""
    from housetrain.inference.inputs import read_many

    order: list[int] = []
    given: list[NDArray[np.float32]] = []
    measured: list[Measures] = []
    marks: list[NDArray[np.bool_] | None] = []
    pixels: list[NDArray[np.uint8]] = []

    def flush() -> None:
        if pixels:
            batch = np.stack(pixels)
            answers = predictor.answers(predictor.outputs(batch))
            given.append(answers.probabilities)
            marks.append(answers.novel)
            measured.append(measure(batch))
            pixels.clear()

    with events.stage("evaluate", total=len(images)):
        paths = [root / image.path for image in images]
        with closing(read_many(paths, predictor.spec)) as decoded:
            for done, (index, _, found) in enumerate(decoded, 1):
                if not isinstance(found, Failed):
                    order.append(index)
                    pixels.append(found[0])
                if len(pixels) == _BATCH:
                    flush()
                events.count("evaluate", done, len(images))
        flush()
    if not given:
        raise FolderError("No image can be read any more", do="check the folder", folder=str(root))
    sequence = np.argsort(order)  # workers finish in any order
    known = [one for one in marks if one is not None]
    return _Tested(
        [images[order[place]] for place in sequence],
        np.concatenate(given)[sequence],
        joined(measured)[sequence],
        np.concatenate(known)[sequence] if len(known) == len(marks) else None,
    )


# ------------------------------------------------------------------------------------------------- copies
def _copies(
    run: Run, root: Path, images: Sequence[ImageRecord], callbacks: Sequence[Callback]
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return the images that are exact, and those that are near copies of training or validation images."""
    from housetrain.data.catalog import records_of
    from housetrain.data.duplicates import near_groups

    split = run.split
    seen = [row for row in split.rows if row.split != "test"]
    contents = {row.sha256 for row in seen}
    exact = tuple(sorted(image.path for image in images if image.sha256 in contents))
    if not _there(split.root, [row.path for row in seen]):
        return exact, None
    trained = records_of(split.root, [row.path for row in seen], callbacks=callbacks)
    roots = {"trained": split.root, "here": root}
    together = [replace(one, path=f"trained/{one.path}") for one in trained if one.usable]
    together += [replace(one, path=f"here/{one.path}") for one in images if one.sha256 not in contents]
    near: set[str] = set()
    for group in near_groups(together, partial(_small, roots)):
        places = {image.path.partition("/")[0] for image in group}
        if len(places) == 2:
            near |= {image.path.partition("/")[2] for image in group if image.path.startswith("here/")}
    return exact, tuple(sorted(near))


def _there(root: Path, paths: Sequence[str]) -> bool:
    """Return whether the training images are still where they were, judged by up to 20 of them."""
    some = paths[:: max(1, len(paths) // 20)]
    return bool(some) and sum((root / path).is_file() for path in some) > len(some) // 2


def _small(roots: Mapping[str, Path], paths: Sequence[str]) -> NDArray[np.uint8]:
    """Return small grayscale images of both folders."""
    from housetrain.data.image_metadata import small_gray

    parts = [path.partition("/") for path in paths]
    made = {}
    for name, root in roots.items():
        own = [rest for top, _, rest in parts if top == name]
        made[name] = iter(small_gray(root, own))
    return np.stack([next(made[top]) for top, _, _ in parts])


def _without(result: Evaluation, copies: set[str]) -> WithoutCopies | None:
    rest = [row.correct for row in result.rows if row.path not in copies]
    if not copies or not rest:
        return None
    return WithoutCopies(len(rest), sum(rest), metrics.wilson(sum(rest), len(rest)))


# ------------------------------------------------------------------------------------------------- shift
def _shift(run: Run, tested: _Tested, temperature: float, callbacks: Sequence[Callback]) -> tuple[Shift, ...]:
    """Return how the tested images differ from the training images; empty where those are gone."""
    trained, validation = _training_inputs(run)
    if not len(trained) or not len(validation):
        return ()
    return shifts(
        measure(trained),
        measure(validation),
        tested.measures[:: max(1, len(tested.images) // MOST)],
        _others(run, tested, temperature, callbacks),
    )


def _others(
    run: Run, tested: _Tested, temperature: float, callbacks: Sequence[Callback]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the properties that are not measured on model inputs: the size of the files' images, the confidence."""
    from housetrain.data.catalog import records_of

    split = run.split
    others: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    paths = [row.path for row in split.of("train")][:MOST]
    if _there(split.root, paths):
        records = records_of(split.root, paths, callbacks=callbacks)
        others["size"] = _sizes(records), _sizes(tested.images)
    kept = run.validation_probabilities(len(split.of("validation")))
    if kept is not None and kept.shape[1] == tested.probabilities.shape[1]:  # classes merged by a map: not comparable
        others["confidence"] = tuple(  # type: ignore[assignment]
            np.asarray(values.max(axis=1), np.float64)
            for values in (at_temperature(kept, temperature), tested.probabilities)
        )
    return others


def _sizes(records: Sequence[ImageRecord]) -> NDArray[np.float64]:
    areas = [one.header.width * one.header.height for one in records if one.usable]
    return np.sqrt(np.asarray(areas, np.float64))


def _training_inputs(run: Run) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return some training and validation images as the model took them: prepared ones, else from their files."""
    try:
        prepared = prepared_of(run)
        return prepared.train.images[:MOST], prepared.validation.images[:MOST]  # their order mixes the classes
    except HousetrainError:
        read: Callable[[Any], NDArray[np.uint8]] = partial(_decoded, run.split.root, run.spec)
        return read(run.split.of("train")), read(run.split.of("validation"))


def _decoded(root: Path, spec: InputSpec, rows: Sequence[Any]) -> NDArray[np.uint8]:
    from housetrain.inference.inputs import read_many

    with closing(read_many([root / row.path for row in rows[:MOST]], spec)) as decoded:
        found = [result[0] for _, _, result in decoded if not isinstance(result, Failed)]
    return np.stack(found) if found else np.empty((0, *spec.shape), np.uint8)


# ------------------------------------------------------------------------------------------------- the folder
def _name(run: Run, root: Path, given: Path) -> str:
    """Return ``on-NAME``, with a number where another folder of this name was tested before."""
    name = re.sub(r"[^\w.-]+", "-", given.absolute().name).strip(".-") or "images"
    number = 1
    while True:
        free = f"on-{name}" if number == 1 else f"on-{name}-{number}"
        try:
            kept = store.read_object(run.folder / FOLDER / free / "evaluation.json", "elsewhere")["elsewhere"]
            if kept and kept.get("folder") == str(root.absolute()):
                return free
        except IncompleteError:
            return free
        number += 1
