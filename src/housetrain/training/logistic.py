"""Logistic regression on features: the head of a frozen base, along a path of regularization strengths.

In: features (N, D), targets, image weights. Out: for each strength, from strong to weak, the kernel and bias of a
`Dense` layer. It does not know Keras or images, nor which strength is the best: validation decides.

The fit uses standardized features, so that one strength suits all of them and few iterations are needed; the returned
kernel and bias take the features as they are. Matrix products run on one thread: most wait for memory, and where other
programs use the cores, the threads of OpenBLAS wait for each other, ten times as long as the product takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STRENGTHS = tuple(float(f"{digit}e{power}") for power in range(2, -7, -1) for digit in (3, 1))
"""L2 penalties on standardized features, relative to the mean loss per image, from strong (300) to weak (1e-6)."""
WEAKER = (3e-7, 1e-7, 3e-8, 1e-8, 3e-9, 1e-9)
"""Penalties that follow where the loss still improves at the weak end: large separable sets."""
STRONGER = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
"""Penalties that follow where the strongest is the best: many redundant features, few images."""
_BLOCK_BYTES = 64 << 20
_OPTIONS = {"maxiter": 200, "gtol": 1e-5, "ftol": 1e-7}

Float = NDArray[np.float32]


class Head(NamedTuple):
    """A `Dense` layer's weights.

    Args:
        strength: The L2 penalty of the fit.
        kernel: float32 (D, outputs).
        bias: float32 (outputs,).
        iterations: Iterations of the optimizer.
    """

    strength: float
    kernel: Float
    bias: Float
    iterations: int

    def probabilities(self, features: np.ndarray) -> Float:
        """Return the outputs for ``features`` (N, D): (N, 1) sigmoid or (N, outputs) softmax, float32."""
        with one_thread():
            found = [_activate(block @ self.kernel + self.bias) for block in _blocks(features)]
        return np.concatenate(found).astype(np.float32) if found else np.empty((0, len(self.bias)), np.float32)


def path(
    features: np.ndarray,
    targets: Float,
    *,
    weights: Float | None = None,
    strengths: Sequence[float] = STRENGTHS,
    check: Callable[[], None] | None = None,
) -> Iterator[Head]:
    """Yield the best head for each strength, each fitted from the previous one (L-BFGS on the convex loss).

    Args:
        features: float16 or float32 (N, D).
        targets: float32 (N, 1), the probability of the second class; or (N, outputs), rows summing to 1.
        weights: Weight of each image, float32 (N,), mean 1; all 1 by default.
        strengths: L2 penalties, in the order of the fits.
        check: Called in each iteration; it may raise to stop.
    """
    from scipy.optimize import minimize

    mean, spread = moments(features)
    count, width, outputs = len(features), features.shape[1], targets.shape[1]
    scaled = _Scaled(features, mean, spread)
    shares = np.ones(count, np.float32) if weights is None else np.asarray(weights, dtype=np.float32)
    point = np.zeros((width + 1) * outputs)

    for strength in strengths:

        def loss(flat: np.ndarray, strength: float = strength) -> tuple[float, np.ndarray]:
            if check is not None:
                check()
            kernel = flat[: width * outputs].reshape(width, outputs).astype(np.float32)
            bias = flat[width * outputs :].astype(np.float32)
            total, start = 0.0, 0
            slope, drift = np.zeros((width, outputs), np.float64), np.zeros(outputs, np.float64)
            for block in scaled:
                rows = slice(start, start + len(block))
                start += len(block)
                logits = block @ kernel + bias
                value, error = _cross_entropy(logits, targets[rows])
                total += float(shares[rows] @ value)
                error *= shares[rows, None] / count
                slope += block.T @ error
                drift += error.sum(axis=0)
            own = flat[: width * outputs]
            value_in_all = total / count + 0.5 * strength * float(own @ own)
            return value_in_all, np.concatenate([slope.reshape(-1) + strength * own, drift])

        with one_thread():
            found = minimize(loss, point, jac=True, method="L-BFGS-B", options=_OPTIONS)
        point = found.x
        kernel = point[: width * outputs].reshape(width, outputs) / spread[:, None]
        bias = point[width * outputs :] - mean @ kernel
        yield Head(strength, kernel.astype(np.float32), bias.astype(np.float32), int(found.nit))


def moments(features: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each feature (D,); the deviation of a constant one is 1."""
    count = max(1, len(features))
    total = np.zeros(features.shape[1])
    for block in _blocks(features):
        total += block.sum(axis=0, dtype=np.float64)
    mean = total / count
    squares = np.zeros(features.shape[1])
    for block in _blocks(features):
        squares += np.square(block - mean.astype(np.float32)).sum(axis=0, dtype=np.float64)
    spread = np.sqrt(squares / count)
    return mean, np.where(spread > 1e-6, spread, 1.0)


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which the BLAS libraries of numpy and scipy use one thread."""
    return _blas().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@functools.cache
def _blas() -> Any:
    import scipy.optimize  # noqa: F401 - a library that is loaded later would not be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Scaled:
    """Standardized blocks of features: kept where memory allows, else computed in each pass."""

    def __init__(self, features: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
        import psutil

        self._features = features
        self._mean, self._factor = mean.astype(np.float32), (1.0 / spread).astype(np.float32)
        fits = features.size * 4 < psutil.virtual_memory().available / 4
        self._kept = list(self._made()) if fits else None

    def __iter__(self) -> Iterator[Float]:
        return iter(self._kept) if self._kept is not None else self._made()

    def _made(self) -> Iterator[Float]:
        for block in _blocks(self._features):
            yield (block - self._mean) * self._factor


def _blocks(features: np.ndarray) -> Iterator[Float]:
    rows = max(1, _BLOCK_BYTES // max(1, features.shape[1] * 4))
    for start in range(0, len(features), rows):
        yield features[start : start + rows].astype(np.float32)


def _activate(logits: Float) -> Float:
    from scipy.special import expit, softmax

    return np.asarray(expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1), dtype=np.float32)


def _cross_entropy(logits: Float, targets: Float) -> tuple[Float, Float]:
    """Return the cross-entropy of each row (N,) in nats, and its gradient in the logits."""
    from scipy.special import logsumexp

    if logits.shape[1] == 1:
        value = np.logaddexp(0.0, logits)[:, 0] - targets[:, 0] * logits[:, 0]
    else:
        value = logsumexp(logits, axis=1) - (targets * logits).sum(axis=1)
    return value.astype(np.float32), _activate(logits) - targets
