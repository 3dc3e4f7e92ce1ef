"""Do the recorded job of a run again, from the image files, and say where the two part.

In: a finished run. Out: a second run beside it, and a `Reproduction` that compares images, pixels, weights and
predictions. The test split is not opened: the predictions compared are those of the validation images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from housetrain.errors import FolderError, HousetrainError, IncompleteError, RecipeError, SourceChanged, one_line
from housetrain.system.events import Callback, Callbacks
from housetrain.system.text import format_count, format_list
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.data.prepared import Prepared
    from housetrain.data.split_manifest import SplitManifest
    from housetrain.models.recipe import Recipe
    from housetrain.sweeps.compare import Comparison

Verdict = Literal["bit-equal", "equal within chance", "different"]

_ROWS = 256  # images whose pixels are compared at once
_NAMED = 5  # files that fit a one-line message


@dataclass(frozen=True)
class Reproduction:
    """What `reproduce` found.

    Attributes:
        run: The run that was done again.
        again: The new run.
        pixels: Whether the prepared pixels are equal; ``None`` where those of the run are gone.
        weights: The largest absolute difference of two weights, 0 or more; ``None`` where the shapes differ.
        probabilities: The largest difference of a validation probability, in [0, 1].
        comparison: Both runs on the validation images.
        versions: Packages whose versions differ: name -> (then, now); an empty text where one is not known.
    """

    run: Run
    again: Run
    pixels: bool | None
    weights: float | None
    probabilities: float
    comparison: Comparison
    versions: dict[str, tuple[str, str]]

    @property
    def verdict(self) -> Verdict:
        """``bit-equal``: all weights and predictions are. ``different``: one run is significantly more accurate."""
        if self.weights == 0 and self.probabilities == 0:
            return "bit-equal"
        return "equal within chance" if self.comparison.better is None else "different"

    @property
    def parts_at(self) -> str:
        """The first of ``pixels``, ``weights`` and ``predictions`` that differs; ``""`` for bit-equal runs."""
        if self.pixels is False:
            return "pixels"
        if self.weights != 0:
            return "weights"
        return "predictions" if self.probabilities else ""

    def summary(self) -> str:
        """Return the verdict in a few sentences."""
        if self.verdict == "bit-equal":
            return "Bit-equal: every weight and every validation probability is the same."
        where = {
            "pixels": "The prepared pixels already differ",
            "weights": "The pixels are the same" if self.pixels else "The pixels of the run are gone",
            "predictions": "The weights are the same, the predictions are not",
        }[self.parts_at]
        far = "" if self.weights is None else f"; weights differ by up to {self.weights:.2g}"
        changed = f" Versions that changed: {self._versions()}." if self.versions else ""
        verdict = "Equal within chance" if self.comparison.better is None else "Different"
        return f"{verdict}. {where}{far}. {self.comparison.summary()}{changed}"

    def _versions(self) -> str:
        return format_list([f"{name} {then or '?'} -> {now or '?'}" for name, (then, now) in self.versions.items()])

    def to_json(self) -> dict[str, Any]:
        """Return the findings, JSON-plain."""
        return {
            "run": str(self.run.folder),
            "again": str(self.again.folder),
            "verdict": self.verdict,
            "parts_at": self.parts_at,
            "pixels": self.pixels,
            "weights": self.weights,
            "probabilities": self.probabilities,
            "versions": {name: list(pair) for name, pair in self.versions.items()},
            "comparison": self.comparison.to_json(),
            "summary": self.summary(),
        }


def reproduce(
    run: Run | Path | str,
    output: Path | str | None = None,
    *,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Reproduction:
    """Train the recorded recipe again on the recorded images, and compare the two runs.

    The files are read first: an image that is missing or changed is named, and nothing is trained. An interrupted call
    resumes. The order of floating-point sums may differ between calls, so only runs of ``deterministic=True`` on one
    machine are bit-equal; others are compared with McNemar's exact test on the validation images.

    Args:
        run: A finished run, or its folder.
        output: The folder of the new run; by default ``RUN-again``. Its arrays are in ``OUTPUT-prepared``.
        workers: Processes that read images; all cores by default.
        callbacks: Receive the progress of the stages ``scan``, ``prepare`` and ``train``.

    Raises:
        IncompleteError: The run is not finished.
        SourceChanged: Images are missing or changed since; they are named.
        RecipeError: The run cannot be done again from its folder, such as one of a model given in Python.
    """
    from housetrain.data.prepare import prepare
    from housetrain.models.recipe import Recipe
    from housetrain.sweeps.compare import compare
    from housetrain.training.train import train

    run = run if isinstance(run, Run) else Run.open(run)
    recipe = _recipe(run, Recipe)
    folder = Path(output) if output else run.folder.resolve().with_name(f"{run.name}-again")
    if folder.resolve() == run.folder.resolve():
        raise FolderError("The output is the run itself", do="name another folder", output=str(folder))
    split = run.split
    _verify(split, Callbacks(callbacks))
    arrays = prepare(
        split, folder.with_name(f"{folder.name}-prepared"), spec=run.spec, workers=workers, callbacks=callbacks
    )
    again = train(arrays, recipe, folder, callbacks=callbacks)
    count = len(split.of("validation"))
    first, second = (one.validation_probabilities(count) for one in (run, again))
    if first is None or second is None:
        raise IncompleteError(
            "The validation predictions of the run are gone", expected="validation.npy", run=str(run.folder)
        )
    far = float(np.abs(first - second).max(initial=0.0))
    return Reproduction(
        run, again, _same_pixels(run, arrays), _weights(run, again), far, compare(run, again), _versions(run, again)
    )


def _recipe(run: Run, recipe: type[Recipe]) -> Recipe:
    """Return the recipe of a run that can be done again from its folder."""
    if not run.complete:
        raise IncompleteError(
            "The run is not finished", do="rerun the same command to finish it", run=str(run.folder), state=run.state
        )
    if run.input_json.get("own_model"):
        raise RecipeError(
            "The model of this run was given in Python", do="train it again with the same script", run=str(run.folder)
        )
    return recipe.from_json(run.recipe_json)


def _verify(split: SplitManifest, events: Callbacks) -> None:
    """Read every image file and compare its hash with the recorded one."""
    missing, changed = [], []
    with events.stage("scan", total=len(split.rows)):
        for number, row in enumerate(split.rows, start=1):
            try:
                found = hashlib.sha256((split.root / row.path).read_bytes()).hexdigest()
            except OSError:
                missing.append(row.path)
            else:
                if found != row.sha256:
                    changed.append(row.path)
            events.progress("scan", number, len(split.rows))
    if missing or changed:
        parts = [("missing", missing), ("changed", changed)]
        named = "; ".join(f"{what}: {format_list(paths, limit=_NAMED)}" for what, paths in parts if paths)
        raise SourceChanged(
            f"{format_count(len(missing) + len(changed), 'image')} of the run cannot be used as recorded ({named})",
            do="put the original files back; `housetrain run` on the present folder trains a new model",
            folder=str(split.root),
        )


def _same_pixels(run: Run, arrays: Prepared) -> bool | None:
    from housetrain.training.run_data import prepared_of

    try:
        before = prepared_of(run)
    except HousetrainError:
        return None
    if before.folder.resolve() == arrays.folder.resolve():
        return None
    for one, other in (
        (before.train, arrays.train),
        (before.validation, arrays.validation),
        (before.test, arrays.test),
    ):
        for start in range(0, len(one), _ROWS):
            if not np.array_equal(one.images[start : start + _ROWS], other.images[start : start + _ROWS]):
                return False
    return True


def _weights(run: Run, again: Run) -> float | None:
    first, second = (one.load_model().get_weights() for one in (run, again))
    if [weight.shape for weight in first] != [weight.shape for weight in second]:
        return None
    return max(
        (float(np.abs(one - other).max(initial=0.0)) for one, other in zip(first, second, strict=True)), default=0.0
    )


def _versions(run: Run, again: Run) -> dict[str, tuple[str, str]]:
    from housetrain.training.environment import read_environment

    then, now = (read_environment(one.folder).get("versions") or {} for one in (run, again))
    names = sorted(then.keys() | now.keys())
    return {
        name: (one_line(str(then.get(name) or "")), one_line(str(now.get(name) or "")))
        for name in names
        if then.get(name) != now.get(name)
    }
