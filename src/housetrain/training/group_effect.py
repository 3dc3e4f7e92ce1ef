"""What an accuracy gains when images that belong together are on both sides: an estimate on kept features.

In: a catalog, named groups, and a prepared folder whose features an earlier run kept. Out: a `GroupEffect`. It computes
no features and uses no test image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from housetrain.data.earlier_split import prepared_folders
from housetrain.data.prepared import Prepared
from housetrain.data.split_groups import split_groups
from housetrain.errors import HousetrainError
from housetrain.system.text import format_percent
from housetrain.training.cross_validation import cross_validate
from housetrain.training.feature_store import kept_features

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.groups import ImageGroups

STRENGTH = 1e-3
"""L2 penalty of the logistic regression: in the middle of what validation chooses."""

_MOST = 4000  # images that are used


class GroupEffect(NamedTuple):
    """Two cross-validated accuracies of the same images and features.

    Attributes:
        ignored: Only near-duplicates stay in one fold.
        respected: Whole groups stay in one fold.
        images: Training and validation images.
    """

    ignored: float
    respected: float
    images: int

    def describe(self) -> str:
        """Return the estimate in one sentence, without a full stop."""
        gain = (self.ignored - self.respected) * 100
        verdict = f"ignoring them flatters by {gain:.1f} points" if gain >= 0.5 else "ignoring them flatters hardly"
        return (
            f"Cross-validated on kept features of {self.images:,} images: {format_percent(self.ignored)} if these "
            f"groups are ignored, {format_percent(self.respected)} if they stay together: {verdict}"
        )


def group_effect(catalog: Catalog, named: ImageGroups) -> GroupEffect | None:
    """Return what ignoring groups adds to the accuracy, or ``None`` where no features of these images are kept."""
    alike, whole = split_groups(catalog), split_groups(catalog, named=named)
    for folder in prepared_folders(catalog.root):
        try:
            prepared = Prepared.open(folder)
        except HousetrainError:
            continue
        rows = [row for part in (prepared.train, prepared.validation) for row in part.rows if row.path in whole]
        rows = sorted(rows, key=lambda row: (whole[row.path], row.sha256))[:_MOST]  # whole groups, in no order
        features = kept_features(folder, [row.sha256 for row in rows])
        if features is None:
            continue
        place = {label: number for number, label in enumerate(prepared.classes)}
        labels = np.array([place[row.label] for row in rows], dtype=np.int64)
        found = [_accuracy(features, labels, [of[row.path] for row in rows]) for of in (alike, whole)]
        if found[0] is not None and found[1] is not None:
            return GroupEffect(found[0], found[1], len(rows))
    return None


def _accuracy(features: np.ndarray, labels: np.ndarray, groups: Iterable[str]) -> float | None:
    classes = int(labels.max()) + 1
    found = cross_validate(features, labels, list(groups), classes=classes, strength=STRENGTH, weighted=True)
    return None if found is None else float(found["accuracy"])
