"""Numeric precision and determinism.

In: a `Recipe`, the machine. Out: the compute type of the layers; bit-equal results where they are asked for.
It does not know models. Weights, loss and the output are float32 in any case.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from housetrain.system.machine import cpu_flags

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe


def precision_of(recipe: Recipe) -> Literal["float32", "bfloat16"]:
    """Return the compute type that ``recipe.precision`` means on this machine.

    ``auto`` is bfloat16 where the processor multiplies it natively (AMX-BF16 or AVX512-BF16) or the GPU does (NVIDIA,
    compute capability 8.0 or more), else float32. The mlp always computes in float32: it has no convolutions, and its
    small matrix products gain nothing.
    """
    if recipe.precision != "auto":
        return recipe.precision
    if recipe.model == "mlp":
        return "float32"
    gpu = _gpu_has_bfloat16()
    if gpu is None:
        return auto_precision()
    return "bfloat16" if gpu else "float32"


def auto_precision() -> Literal["float32", "bfloat16"]:
    """Return the compute type that is fastest on this machine's processor."""
    return "bfloat16" if {"amx_bf16", "avx512_bf16"} & cpu_flags() else "float32"


def make_deterministic(recipe: Recipe) -> None:
    """Seed the random generators and, with ``recipe.deterministic``, disable operations whose sums depend on timing.

    TensorFlow cannot leave its deterministic mode: it stays on for the rest of the process, and only costs speed.
    Python's and numpy's global generators keep their state.
    """
    import keras

    before = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(recipe.seed)
    random.setstate(before[0])
    np.random.set_state(before[1])
    if not recipe.deterministic:
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def _gpu_has_bfloat16() -> bool | None:
    """Return whether the GPU has bfloat16, or ``None`` without a GPU."""
    import keras

    backend: Any = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return tuple(capability) >= (8, 0)
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_bf16_supported()) if torch.cuda.is_available() else None
    import jax

    return True if jax.default_backend() in ("gpu", "tpu", "cuda") else None
