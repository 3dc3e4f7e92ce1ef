"""Optimizers: a recipe's optimizer and learning-rate schedule for Keras.

In: a `Recipe`, the steps of an epoch. Out: a built-in Keras optimizer, `FusedAdam` or `ConvMuon`.
It does not know the model, the images or the loop, and is imported only where a model is trained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras  # noqa: TID253 - classes need their bases; imported only inside train()
from keras import ops  # noqa: TID253

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # keras carries no types
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) whose update is one pass over the weights on TensorFlow.

    Keras composes the update from about a dozen operations, each a pass over all weights and both moments; TensorFlow
    has one kernel with the same formula, ``ResourceApplyAdam``. On other backends, with ``amsgrad`` and for sparse
    gradients this is Keras' own update.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its two moments in place."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        if isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate that depends on the step: linear warm-up, then constant, half a cosine, or up and down.

    Args:
        kind: ``"constant"``, ``"cosine"`` (Loshchilov & Hutter 2017, arXiv:1608.03983) or ``"one-cycle"`` (Smith and
            Topin 2018, arXiv:1708.07120, with cosine annealing up and down as in fast.ai).
        peak: The largest rate.
        steps: Steps of the whole training.
        warmup: Steps of the rise. If 0, one-cycle rises over 30 % of the steps.
    """

    def __init__(self, kind: str, *, peak: float, steps: int, warmup: int = 0) -> None:
        self.kind, self.peak, self.steps = kind, peak, steps
        self.warmup = warmup or (round(0.3 * steps) if kind == "one-cycle" else 0)

    def __call__(self, step: Any) -> Any:
        """Return the rate of ``step``, counted from 0, as a float32 scalar."""
        step = ops.cast(step, "float32")
        # The first step has a rate above 0; the last of the warm-up is at the peak.
        rise = ops.minimum((step + 1) / max(1, self.warmup), 1.0)
        if self.kind == "one-cycle":
            rise = 0.04 + 0.96 * 0.5 * (1 - ops.cos(math.pi * rise))
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        decay = 1.0 if self.kind == "constant" else 0.5 * (1 + ops.cos(math.pi * progress))
        return self.peak * ops.where(step < self.warmup, rise, decay)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"kind": self.kind, "peak": self.peak, "steps": self.steps, "warmup": self.warmup}


def optimizer_of(recipe: Recipe, *, steps_per_epoch: int) -> Any:
    """Return the optimizer of ``recipe``.

    Args:
        recipe: Optimizer, learning rate, schedule, warm-up, weight decay and moving average.
        steps_per_epoch: Batches per epoch; the schedule runs over ``recipe.epochs`` of them.
    """
    rate: Any = recipe.learning_rate
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if recipe.schedule != "constant" or warmup:
        steps = recipe.epochs * steps_per_epoch
        rate = Schedule(recipe.schedule, peak=recipe.learning_rate, steps=steps, warmup=warmup)
    common: dict[str, Any] = {"learning_rate": rate, "weight_decay": recipe.weight_decay or None}
    if recipe.ema:
        common |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=0.9, nesterov=True, **common)
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(**common)
    if recipe.optimizer == "muon":
        from housetrain.training.muon import ConvMuon

        return ConvMuon(momentum=0.9, adam_beta_2=0.99, adam_weight_decay=common["weight_decay"], **common)
    return FusedAdam(**common)  # in Keras adamw is adam with decoupled weight decay


def exempt_from_decay(optimizer: Any, model: Any) -> None:
    """Keep weight decay off biases and the scales of batch norm: only kernels decay."""
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
