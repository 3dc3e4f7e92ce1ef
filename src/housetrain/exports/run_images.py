"""Images of a run for the comparison with its exported models, and for calibration.

In: a run, a split. Out: uint8 images with their labels, spread evenly over the classes. Does not know: models.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from housetrain.errors import DecodeError, HousetrainError, IncompleteError
from housetrain.inference.engine import Images
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of

if TYPE_CHECKING:
    from housetrain.data.prepared import Prepared
    from housetrain.data.split_manifest import SplitName

GOLDEN_IMAGES = 12


def images_of(run: Run, split: SplitName, wanted: list[int], prepared: Prepared | None = None) -> tuple[Images, str]:
    """Return images of a split, and where they come from: the split's name, or ``"noise"``.

    They are read from the prepared arrays if those are still the run's, else from the files. If both are gone they come
    from a seeded random generator: noise reveals less about a model than photos, but it still reveals a changed one.

    Raises:
        IncompleteError: ``prepared`` is given and holds other images than the run's.
    """
    if prepared is not None:
        return _prepared_images(run, split, wanted, prepared), split
    for find in (_prepared_images, _decoded_images):
        with contextlib.suppress(HousetrainError):
            return find(run, split, wanted), split
    return np.random.default_rng(0).integers(0, 256, (GOLDEN_IMAGES, *run.spec.shape), dtype=np.uint8), "noise"


def _prepared_images(run: Run, split: SplitName, wanted: list[int], prepared: Prepared | None = None) -> Images:
    prepared = prepared or prepared_of(run)
    same = prepared.spec == run.spec and prepared.arrays(split).sha256 == tuple(
        row.sha256 for row in run.split.of(split)
    )
    if not (same and wanted):
        raise IncompleteError("The prepared images are no longer those of the run", folder=str(prepared.folder))
    images = prepared.arrays(split).images
    return np.stack([np.asarray(images[index]) for index in wanted])


def _decoded_images(run: Run, split: SplitName, wanted: list[int]) -> Images:
    from housetrain.images import decode

    rows, found = run.split.of(split), []
    for index in wanted:
        with contextlib.suppress(DecodeError):
            found.append(decode.load_image(run.split.root / rows[index].path, run.spec))
    if not found:
        raise IncompleteError("The images of the run are gone", folder=str(run.split.root))
    return np.stack(found)


def spread(labels: list[str], count: int) -> list[int]:
    """Return up to ``count`` positions in a list of labels, spread evenly over the classes."""
    places: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        places.setdefault(label, []).append(index)
    turns = [row[turn] for turn in range(count) for _, row in sorted(places.items()) if turn < len(row)]
    return sorted(turns[:count])
