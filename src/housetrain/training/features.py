"""Features: the outputs of a frozen base model for each image, computed once and kept on disk.

In: prepared images, a `Base`. Out: float16 features, one row per image and augmented view. It does not know labels,
heads or run folders.

A row is kept under a hash of the image's content, the view and the base's weights, so an image that is in another
split, or in a folder that grew, is not computed again (`feature_store`).
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.inference.engine import run_padded, stream
from housetrain.inference.fastest import (
    Calibration,
    FeaturePrecision,
    batch_of,
    fastest_engine,
    serving_precision,
)
from housetrain.models.augmented_views import View, changed
from housetrain.models.backbone_weights import fingerprint
from housetrain.models.backbones import base_layers
from housetrain.models.efficientnet_lite import columns_of, every_stage
from housetrain.system import json_text
from housetrain.training.feature_store import FeatureStore, key_of
from housetrain.training.precision import auto_precision

if TYPE_CHECKING:
    from housetrain.data.prepared import SplitArrays
    from housetrain.images.input_spec import InputSpec
    from housetrain.inference.encoder import Encoder
    from housetrain.inference.engine import Images, LoadedModel
    from housetrain.models.recipe import Recipe

_DURABLE_EVERY_S = 2.0  # seconds of work that a kill may lose

Progress = Callable[[int, int], None]


class Base:
    """A model without its head. Its engine is built only if features are missing.

    Args:
        name: The model's name.
        width: Features per image that are computed and kept.
        make: Returns the engine, uint8 images in, features out.
        about: JSON-plain: what the features depend on, such as weights and input spec.
        columns: Which of the features are used.
        exact: The base that computes as the exported model does; by default this one.
    """

    def __init__(
        self,
        name: str,
        width: int,
        make: Callable[[], LoadedModel],
        about: Mapping[str, Any],
        columns: slice = slice(None),
        exact: Base | None = None,
    ) -> None:
        self.name, self.width, self._make, self.about, self.columns = name, width, make, dict(about), columns
        self.exact = exact or self

    @classmethod
    def of_model(
        cls,
        whole: Any,
        name: str,
        *,
        spec: InputSpec,
        decoder: Mapping[str, str],
        precision: FeaturePrecision,
        sample: np.ndarray,
        stages: int | None = None,
        prepared: Path | None = None,
        calibration: Callable[[], Images] | None = None,
    ) -> Base:
        """Return the base of a pretrained Keras model.

        Args:
            whole: A model of `models.build`.
            name: The model's name.
            spec: Its input.
            decoder: Versions of what decoded the images: another one may give other pixels for the same file.
            precision: What to compute in; ``"auto"`` lets the machine decide between bfloat16 and float32.
            sample: A few uint8 images to compare engines on.
            stages: How many stages of an EfficientNet-Lite the features come from. Those of all stages are computed and
                kept, in 6 to 9 % more time, so that recipes with other numbers of stages find theirs.
            prepared: For ``"int8"``: the folder of the prepared images, below which the value ranges are kept.
            calibration: For ``"int8"``: returns some training images; called if features are missing.
        """
        import keras

        output = base_layers(whole)[-1].output if stages is None else every_stage(whole, name)
        columns = slice(None) if stages is None else columns_of(name, stages)
        model = keras.Model(whole.input, output)
        width = int(model.output.shape[-1])
        about = {
            "model": name,
            "weights": fingerprint(whole),
            "spec": spec.to_json(),
            "width": width,
            "decoder": dict(decoder),
        }

        def computing_in(precision: FeaturePrecision, exact: Base | None = None) -> Base:
            def make() -> LoadedModel:
                ranges = None
                if precision == "int8" and prepared is not None and calibration is not None:
                    ranges = Calibration(base.folder(prepared) / "ranges.json", calibration())
                return fastest_engine(model, precision=precision, sample=sample, calibration=ranges)

            base = cls(name, width, make, about | {"precision": precision}, columns, exact)
            return base

        used = auto_precision() if precision == "auto" else precision
        served = serving_precision(whole.count_params(), precision=precision)
        if used != "float32" and served == "fp32":
            return computing_in(precision, exact=computing_in("float32"))
        return computing_in(precision, exact=computing_in("auto") if used == "int8" else None)

    @classmethod
    def of_encoder(cls, encoder: Encoder, recipe: Recipe, *, spec: InputSpec, decoder: Mapping[str, str]) -> Base:
        """Return the base that is an encoder of the user's own, in float32.

        Args:
            encoder: The encoder.
            recipe: Its recipe.
            spec: See `of_model`, as the next one.
            decoder: Versions.
        """
        about = {
            "model": recipe.model,
            "weights": encoder.sha256,
            "preprocessing": recipe.preprocessing,
            "spec": spec.to_json(),
            "width": encoder.width,
            "decoder": dict(decoder),
        }
        return cls(recipe.model, encoder.width, lambda: encoder.engine, about)

    @functools.cached_property
    def engine(self) -> LoadedModel:
        """What computes the features: of a Keras model the fastest engine of this machine."""
        return self._make()

    def folder(self, prepared: Path) -> Path:
        """Return where the features of the images in the folder ``prepared`` are kept."""
        digest = hashlib.sha256(json_text.encode(self.about)).hexdigest()[:16]
        return prepared / "features" / f"{self.name}-{digest}"


class Features(NamedTuple):
    """The features of one split.

    Attributes:
        rows: float16 ``(N * (1 + views), features)``: all images in their order, then the first view of all, and so on.
        engine: Name of the engine that computed them.
        precision: Compute type of that engine.
        computed: How many rows were missing.
    """

    rows: np.ndarray
    engine: str
    precision: str
    computed: int


def features_of(
    base: Base,
    split: SplitArrays,
    folder: Path,
    *,
    views: Sequence[View] = (),
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> Features:
    """Return the features of a split: those that are kept, the others computed and kept.

    Args:
        base: Computes them.
        split: The images.
        folder: Of the prepared images.
        views: Augmented views besides the images themselves.
        progress: Called with (done, total) rows.
        check: Called between batches; it may raise to stop. Computed rows stay.
    """
    everything: list[View | None] = [None, *views]
    keys = [key_of(sha256, view) for view in everything for sha256 in split.sha256]
    with FeatureStore(base.folder(folder), base.about, base.width) as kept:
        missing = _missing(kept, keys)
        if missing:
            kept.computed_by(base.engine)
            missing = _missing(kept, keys)  # all of them, if the precision changed
            _Computation(kept, split, keys, missing, everything, base.engine).run(progress, check)
        elif progress is not None:
            progress(len(keys), len(keys))
        return Features(kept.rows(keys, base.columns), kept.engine["name"], kept.engine["precision"], len(missing))


def _missing(kept: FeatureStore, keys: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(key for key in keys if key not in kept))


class _Computation:
    """Computes the missing rows of one split."""

    def __init__(
        self,
        kept: FeatureStore,
        split: SplitArrays,
        keys: Sequence[bytes],
        missing: Sequence[bytes],
        views: Sequence[View | None],
        engine: LoadedModel,
    ) -> None:
        self.kept, self.split, self.missing, self.views, self.engine = kept, split, missing, views, engine
        self.total, self.batch = len(keys), batch_of(engine)
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        self.places = [first[key] for key in missing]
        self.done = 0
        self.waiting: list[np.ndarray] = []

    def run(self, progress: Progress | None, check: Callable[[], None] | None) -> None:
        saved = time.monotonic()
        batches = self._batches(check)
        try:
            for rows in stream(
                lambda some: run_padded(self.engine, some, self.batch), batches, parallel=self.engine.parallel
            ):
                self.waiting.append(rows)
                self.done += len(rows)
                if time.monotonic() - saved > _DURABLE_EVERY_S:
                    self._save()
                    saved = time.monotonic()
                if progress is not None:
                    progress(self.total - len(self.missing) + self.done, self.total)
        finally:
            self._save()

    def _batches(self, check: Callable[[], None] | None) -> Iterator[np.ndarray]:
        images, sha256, count = self.split.images, self.split.sha256, len(self.split)
        for start in range(0, len(self.places), self.batch):
            if check is not None:
                check()
            places = self.places[start : start + self.batch]
            yield np.stack([changed(images[n % count], self.views[n // count], sha256[n % count]) for n in places])

    def _save(self) -> None:
        if self.waiting:
            rows = np.concatenate(self.waiting)
            self.kept.append(self.missing[self.done - len(rows) : self.done], rows)
        self.waiting = []
