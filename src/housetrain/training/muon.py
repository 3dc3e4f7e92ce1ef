"""Muon: an optimizer that makes the small residual net learn in about half the epochs.

In: gradients of a convolutional net. Out: updated weights. Imported only where a model is trained.
Does not know: recipes, schedules, the loop.
"""

from __future__ import annotations

from typing import Any

import keras  # noqa: TID253 - a class needs its base; only optimizers.py imports this module, when it is asked for
from keras import ops  # noqa: TID253


@keras.saving.register_keras_serializable(package="housetrain")
class ConvMuon(keras.optimizers.Muon):  # type: ignore[misc]  # keras carries no types
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for kernels, Adam for all other weights.

    Muon makes the update of a weight matrix orthogonal, so that no direction of it learns faster than another. Keras'
    own takes matrices only, and a convolutional net has hardly any: here a kernel is one, with a row for each of
    ``height * width * inputs`` and a column for each filter. The Newton-Schulz iteration runs on the small
    filters-by-filters Gram matrix, which gives the same to float32 rounding in less than half the time.

    Args:
        *args: Of `keras.optimizers.Muon`.
        **kwargs: Of `keras.optimizers.Muon`.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) != 4 or variable.shape[2] <= 3  # kernels on the image itself have too few inputs

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        wanted = gradient + self.momentum * m if self.nesterov else m
        update = self.orthogonal(ops.reshape(wanted, (-1, variable.shape[-1])))
        self.assign_sub(variable, ops.reshape(self.lr_adjust(lr * update), variable.shape))

    def orthogonal(self, matrix: Any) -> Any:
        """Return a float32 matrix with the same singular vectors and all singular values near 1 (0.7 to 1.2)."""
        wide = matrix.shape[0] < matrix.shape[1]
        x = ops.transpose(matrix) if wide else matrix
        x = x / (ops.norm(x) + 1e-7)
        gram, one = ops.matmul(ops.transpose(x), x), ops.eye(x.shape[1])
        total = one
        for step in range(self.ns_steps):
            factor = self.muon_a * one + self.muon_b * gram + self.muon_c * ops.matmul(gram, gram)
            total = ops.matmul(total, factor) if step else factor
            gram = ops.matmul(ops.matmul(factor, gram), factor)
        x = ops.matmul(x, total)
        return ops.transpose(x) if wide else x
