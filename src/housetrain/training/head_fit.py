"""Transfer learning: a frozen net, its features once, a head in seconds; one whole model comes out.

In: prepared images, a recipe with ``frozen``. Out: a run as any other, whose ``model.keras`` takes images and gives
probabilities. Does not know: how features are computed and kept (`features`, `inference`), where weights come from
(`backbones`).

It is the tutorials' recipe (base without its top, frozen, in inference mode; mean over the image; a head on the
logits), only that the base looks at each image once instead of once an epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.inference.fastest import DTYPES, batch_of
from housetrain.models.augmented_views import View
from housetrain.models.backbone_weights import fingerprint
from housetrain.models.backbones import base_layers
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.events import State
from housetrain.training import features, logistic
from housetrain.training.batches import class_weights, targets_of
from housetrain.training.trainer import Session

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitName
    from housetrain.inference.engine import LoadedModel
    from housetrain.inference.fastest import FeaturePrecision

CHOSEN = "the best regularization is found"
_WORSE = 2  # strengths that may be worse than the best before the path ends: the loss is nearly convex along it
_TICK_S = 0.5


class Frozen(NamedTuple):
    """A frozen net, ready to compute features.

    Args:
        model: Its name.
        weights: Hash of its weights.
        width: Features an image.
        engine: Computes them.
    """

    model: str
    weights: str
    width: int
    engine: LoadedModel

    @classmethod
    def of(cls, whole: Any, model: str, *, precision: FeaturePrecision, sample: np.ndarray) -> Frozen:
        """Return the base of a whole model.

        Args:
            whole: A model of `models.build`.
            model: Its name.
            precision: What it computes in.
            sample: A few images to compare engines on.
        """
        import keras

        from housetrain.inference.fastest import fastest_engine

        weights = fingerprint(whole)
        kept = _FROZEN.get((weights, precision))
        if kept is None:
            base = keras.Model(whole.input, base_layers(whole)[-1].output)
            engine = fastest_engine(base, precision=precision, sample=sample)
            kept = cls(model, weights, int(base.output.shape[-1]), engine)
            _FROZEN.clear()  # one net takes some hundred megabytes
            _FROZEN[weights, precision] = kept
        return kept

    def features(self, prepared: Prepared, name: SplitName, **options: Any) -> np.ndarray:
        """Return the features of a split. See `features.features_of`."""
        return features.features_of(
            prepared, name, model=self.model, weights=self.weights, width=self.width, engine=self.engine,
            **options,
        )  # fmt: skip


_FROZEN: dict[tuple[str, str], Frozen] = {}  # the base of the last recipe: the trials of a sweep share it


def session_of(recipe: Recipe) -> type[Session]:
    """Return what trains a recipe with ``frozen``."""
    return Logistic if recipe.head == "logistic" else DenseHead


def views_of(recipe: Recipe) -> tuple[View, ...]:
    """Return the augmented views that a recipe asks for."""
    amounts = recipe.model_dump(include={"flip", "shift", "rotate", "zoom", "stretch", "contrast"})
    return tuple(View(number, recipe.seed, **amounts) for number in range(1, recipe.views + 1))


def plain_of(recipe: Recipe) -> Recipe:
    """Return ``recipe`` without what happens only while training: the whole model is built of it."""
    nothing = {"shift": 0.0, "rotate": 0.0, "zoom": 0.0, "stretch": 0.0, "contrast": 0.0, "dropout": 0.0}
    return recipe.but(flip="none", **nothing)


class FrozenSession(Session):
    """What both heads have in common: the whole model, the features, the progress while they are computed."""

    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        """Build the whole model; return the features of train (and its views) and of validation."""
        from housetrain.models.build import build

        recipe, prepared = self.recipe, self.prepared
        self.callbacks.begin("features", name=recipe.name, run=str(self.run.folder))
        self.kept = build(plain_of(recipe), spec=prepared.spec, classes=prepared.classes)
        sample = np.asarray(prepared.images("train")[:4])
        self.frozen = Frozen.of(self.kept, recipe.model, precision=recipe.precision, sample=sample)
        self.precision = DTYPES[self.frozen.engine.precision]
        views = views_of(recipe)
        counts = {name: len(rows) for name, rows in (("train", prepared.sha256("train")),
                                                      ("validation", prepared.sha256("validation")))}  # fmt: skip
        total = counts["train"] * (1 + len(views)) + counts["validation"]
        start, told, first = time.monotonic(), 0.0, None

        def counting(offset: int) -> Callable[[int, int], None]:
            def progress(done: int, _: int) -> None:
                nonlocal told, first
                now = time.monotonic()
                first = offset + done if first is None else first
                if now - told >= _TICK_S:
                    told = now
                    self._report_features(offset + done, total, first, now - start)

            return progress

        try:
            train = self.frozen.features(prepared, "train", views=views, progress=counting(0), check=self.signals.check)
            validation = self.frozen.features(
                prepared, "validation", progress=counting(total - counts["validation"]), check=self.signals.check
            )
        except BaseException as error:
            state: State = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self.callbacks.end("features", state, reason=str(error), run=str(self.run.folder))
            raise
        self.callbacks.end("features")
        self.feature_seconds = time.monotonic() - start
        self.callbacks.note(
            f"Features of {total:,} images in {self.feature_seconds:.1f} s with {self.frozen.engine.name}"
            f"{f', {first:,} were kept from before' if first and first > batch_of(self.frozen.engine) else ''}"
        )
        return train, validation

    def _report_features(self, done: int, total: int, first: int | None, seconds: float) -> None:
        computed = done - (first or 0)
        rate = computed / seconds if seconds > 0 else 0.0
        eta = round((total - done) / rate, 1) if rate > 0 else None
        self.callbacks.progress("features", done, total, epoch=0, epochs=self.epochs, images_per_s=round(rate, 1),
                                eta_s=eta)  # fmt: skip

    def _parameters(self) -> int:
        return int(self.kept.count_params())

    def _more_results(self) -> dict[str, Any]:
        return {"features_s": round(self.feature_seconds, 3), "engine": self.frozen.engine.name}


class Logistic(FrozenSession):
    """Logistic regression on features. An "epoch" is one strength of regularization, from strong to weak."""

    def _opened_feed(self) -> Any:
        prepared, recipe = self.prepared, self.recipe
        self.train_rows, self.validation_rows = self._features()
        labels = np.tile(prepared.labels("train"), 1 + recipe.views)
        classes = len(prepared.classes)
        per_class = class_weights(labels, classes) if prepared.balance == "weights" else None
        smooth = targets_of(labels, classes, smoothing=recipe.label_smoothing)
        self.targets = smooth if smooth.ndim == 2 else np.eye(classes, dtype=np.float32)[labels]
        self.train_labels = labels
        self.epochs = len(logistic.STRENGTHS)
        self.head: logistic.Head | None = None
        return _Rows(len(labels), prepared.labels("validation"), per_class)

    def _compiled(self) -> Any:
        self.net = self.kept
        return self.kept

    def _fit(self) -> None:
        from housetrain.training.losses import scores

        classes = len(self.prepared.classes)
        shares = None if self.feed.weights is None else self.feed.weights[self.train_labels]
        start = time.monotonic()
        for head in logistic.path(self.train_rows, self.targets, weights=shares, check=self.signals.check):
            fitted = time.monotonic()
            outputs = head.probabilities(self.validation_rows)
            numbers, confusion = scores(outputs, self.feed.labels, classes)
            seen, _ = scores(head.probabilities(self.train_rows), self.train_labels, classes)
            self._check_number(numbers["val_loss"], "validation")
            row = {
                "epoch": len(self.history) + 1,
                "loss": seen["val_loss"],
                "accuracy": seen["val_accuracy"],
                **numbers,
                "l2": head.strength,
                "steps": head.steps,
                "seconds": round(time.monotonic() - start, 3),
                "images_per_s": round(len(self.train_labels) * max(1, head.steps) / max(fitted - start, 1e-6), 1),
            }
            if not self.best or numbers["val_loss"] < self.best["val_loss"]:
                self.head, self.best_outputs = head, outputs
            self._keep(row, confusion)
            if self._done():
                return
            start = time.monotonic()

    def _keep(self, row: dict[str, Any], confusion: Any) -> None:
        improved = not self.best or row["val_loss"] < self.best["val_loss"]
        self.history.append(row)
        self.best, self.waited = (row, 0) if improved else (self.best, self.waited + 1)
        if self.waited >= _WORSE or len(self.history) == self.epochs:
            self.reason = CHOSEN
        store.append_line(self.run.folder / "history.jsonl", row, durable=False)
        self.callbacks.epoch(row, epochs=self.epochs, best=improved, confusion=confusion)

    def _take_best(self) -> bool:
        if self.head is not None:
            self.kept.get_layer("probability").set_weights([self.head.kernel, self.head.bias])
        return self.head is not None

    def _more_results(self) -> dict[str, Any]:
        # Along the path the validation loss must rise in the end: that is how the strength is found, no overfitting.
        return super()._more_results() | {"l2": self.best["l2"], "overfitting_epoch": None, "overfitting": ""}


class DenseHead(FrozenSession):
    """A `Dense` head on features, trained by epochs as any net: dropout, label smoothing, early stopping, resuming."""

    def _opened_feed(self) -> Any:
        from housetrain.training.batches import Feed

        train, validation = self._features()
        recipe = self.recipe
        rows: Any = FeatureArrays(self.prepared, train, validation, copies=1 + recipe.views)
        return Feed(rows, batch_size=recipe.batch_size, seed=recipe.seed, smoothing=recipe.label_smoothing)

    def _built(self) -> Any:
        import keras

        from housetrain.models.backbones import HEAD_DROPOUT
        from housetrain.models.keras_layers import layer_seed

        inputs = x = keras.Input((self.frozen.width,), dtype="float16", name="features")
        if self.recipe.dropout:
            seed = layer_seed(self.recipe.seed, HEAD_DROPOUT)
            x = keras.layers.Dropout(self.recipe.dropout, seed=seed, name=HEAD_DROPOUT, dtype="float32")(x)
        own = self.kept.get_layer("probability")
        return keras.Model(inputs, type(own).from_config(own.get_config())(x), name="head")

    def _take_best(self) -> bool:
        from housetrain.training import checkpoint

        newest = checkpoint.newest(self.run.checkpoints)
        if newest is None:
            return False
        best = self._built()
        newest.restore_best(best)
        self.kept.get_layer("probability").set_weights(best.get_layer("probability").get_weights())
        return True


class FeatureArrays:
    """Features with the methods of `Prepared` that a `Feed` asks for.

    Args:
        prepared: For labels and names.
        train: float16 (N * copies, width).
        validation: float16 (M, width).
        copies: How often the training images come: once and once for each view.
    """

    def __init__(self, prepared: Prepared, train: np.ndarray, validation: np.ndarray, *, copies: int) -> None:
        self._prepared, self._copies = prepared, copies
        self._arrays = {"train": train, "validation": validation}
        self.classes, self.balance = prepared.classes, prepared.balance

    def images(self, name: SplitName) -> np.ndarray:
        """Return the features of a split."""
        return self._arrays[name]

    def labels(self, name: SplitName) -> np.ndarray:
        """Return the labels that belong to them."""
        return np.tile(self._prepared.labels(name), self._copies if name == "train" else 1)


class _Rows:
    """What a `Session` asks of its feed where no batches are needed."""

    def __init__(self, count: int, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self.count, self.labels, self.weights, self.steps = count, labels, weights, 1

    def release(self) -> None:
        """Give nothing back."""
