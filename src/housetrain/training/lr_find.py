"""Learning-rate finder: the loss while the learning rate rises, step by step, by a factor of ten million.

In: prepared images, a `Recipe`. Out: an `LrCurve` with a suggestion. It trains a fresh model for at most `STEPS` steps,
keeps nothing of it, and does not know run folders or drawings.

The range test is that of Smith 2017 (Cyclical Learning Rates, arXiv:1506.01186, section 3.3), with the schedule, the
smoothing and the suggestion ("valley") of fastai's ``lr_find``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import RecipeError
from housetrain.system.backend import load_keras
from housetrain.system.events import Callback, Callbacks

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe

STEPS, LOW, HIGH = 100, 1e-7, 10.0
"""Steps and ends of the range, as in fastai."""
_SMOOTHING = 0.98
_DIVERGED = 4.0  # times the lowest smoothed loss


@dataclass(frozen=True)
class LrCurve:
    """What `lr_find` measured.

    Attributes:
        rates: Learning rate of each step, rising.
        losses: Loss of each step's batch before its update, nats.
        smoothed: Their exponential average, corrected for its start.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def suggested(self) -> float:
        """The rate two thirds down the longest fall of the smoothed loss (fastai's "valley")."""
        return self.rates[valley(self.smoothed)]

    @property
    def lowest(self) -> float:
        """The rate at the lowest smoothed loss: too high to train with."""
        return self.rates[int(np.argmin(self.smoothed))]


def lr_find(prepared: Prepared, recipe: Recipe, *, callbacks: Sequence[Callback] = ()) -> LrCurve:
    """Train a fresh model with a learning rate that rises from `LOW` to `HIGH`, until the loss diverges.

    Args:
        prepared: The images; only the training split is used.
        recipe: The settings; its learning rate and schedule are not used.
        callbacks: Receive a note before TensorFlow is imported.

    Raises:
        RecipeError: The recipe has no learning rate to find: it fits a head on frozen features; or it does not fit.
        MissingExtra: No Keras backend is installed.
    """
    if recipe.frozen:
        raise RecipeError(
            "A head on frozen features has no learning rate to find",
            expected="a model that is trained by epochs, such as cnn",
            do="train it: the logistic head chooses its regularization itself; for a dense head 0.01 to 0.001 is usual",
            model=recipe.model,
        )
    load_keras("finding a learning rate", Callbacks(callbacks))
    model, feed = _compiled(prepared, recipe)
    rates, losses, smoothed = [], [], []
    average = 0.0
    for step, batch in zip(range(STEPS), _batches(feed), strict=False):
        rates.append(LOW * (HIGH / LOW) ** (step / (STEPS - 1)))
        model.optimizer.learning_rate = rates[-1]
        model.reset_metrics()
        loss = float(model.train_on_batch(*batch, return_dict=True)["loss"])
        if not math.isfinite(loss):
            rates.pop()
            break
        losses.append(loss)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING ** (step + 1)))
        if smoothed[-1] > _DIVERGED * min(smoothed):
            break
    return LrCurve(tuple(rates), tuple(losses), tuple(smoothed))


def valley(losses: Sequence[float]) -> int:
    """Return the step two thirds into the longest decreasing subsequence of losses, as fastai's ``valley`` does.

    Args:
        losses: Smoothed losses, one or more.
    """
    longest, end = [1] * len(losses), 0
    for i in range(1, len(losses)):
        longest[i] = 1 + max((longest[j] for j in range(i) if losses[i] < losses[j]), default=0)
        if longest[i] > longest[end]:
            end = i
    start = max(0, end - longest[end])
    third = (end - start) / 3
    return min(len(losses) - 1, start + int(third) + int(third / 2))


def _compiled(prepared: Prepared, recipe: Recipe) -> tuple[Any, Any]:
    """Return the model, compiled as training does but at a constant rate, and its batches."""
    from housetrain.models.build import build
    from housetrain.training.batches import Examples, Feed
    from housetrain.training.losses import loss_and_metrics
    from housetrain.training.optimizers import exempt_from_decay, optimizer_of

    classes = prepared.classes
    model = build(recipe, spec=prepared.spec, classes=classes)
    constant = type(recipe).from_json({**recipe.to_json(), "schedule": "constant", "warmup_epochs": 0.0, "ema": 0.0})
    loss, _ = loss_and_metrics(len(classes), smoothed=bool(recipe.label_smoothing))
    model.compile(optimizer=optimizer_of(constant, steps_per_epoch=STEPS), loss=loss)
    exempt_from_decay(model.optimizer, model)
    train, validation = prepared.train, prepared.validation
    feed = Feed(
        Examples(train.images, train.labels), Examples(validation.images, validation.labels), classes=len(classes),
        weighted=prepared.balance == "weights", batch_size=recipe.batch_size, seed=recipe.seed,
        smoothing=recipe.label_smoothing,
    )  # fmt: skip
    return model, feed


def _batches(feed: Any) -> Iterator[Any]:
    """Yield training batches, epoch after epoch."""
    epoch = 0
    while True:
        feed.begin_epoch(epoch)
        if hasattr(feed.train, "__getitem__"):  # of Keras; of TensorFlow it can be iterated
            yield from (feed.train[step] for step in range(feed.steps))
        else:
            yield from feed.train
        epoch += 1
