"""The Keras layer that computes convolution, 2x2 max-pool and ReLU with the compiled kernels.

In: images as a TensorFlow tensor. Out: pooled activations, with gradients. Does not know models, recipes, run folders.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras  # noqa: TID253 - a layer needs its base class; only replace.py imports this module, for training

from housetrain.kernels.shape import Shape
from housetrain.kernels.step import Step
from housetrain.system.machine import cores


class ConvPool(keras.layers.Conv2D):  # type: ignore[misc]  # keras carries no types
    """A 3x3 convolution, a 2x2 max-pool and a ReLU as one layer, computed by compiled kernels.

    ``(batch, height, width, channels)`` in, ``(batch, height', width', filters)`` out, in the layer's compute type. The
    weights and their gradients are float32.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps: dict[Shape, Step] = {}

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Add a weight that stays float32 when it is read: the kernels round as late as possible."""
        return super().add_weight(*args, **kwargs | {"autocast": False})

    def call(self, x: Any) -> Any:
        """Return the pooled activations of ``x``."""
        import tensorflow as tf

        step = self._step_for(x.shape)
        shape, forward, backward = step.shape, _weakly(step.forward), _weakly(step.gradients)
        pooled_size = (None, *shape.pooled, shape.filters)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolve_and_pool(x: Any, kernel: Any, bias: Any) -> Any:
            kinds = [x.dtype, tf.uint8]
            pooled, places = tf.numpy_function(forward, [x, kernel, bias], kinds, stateful=False)

            def gradients(gradient: Any) -> tuple[Any, ...]:
                kinds = [tf.float32, tf.float32] if shape.first else [x.dtype, tf.float32, tf.float32]
                given = [x, kernel, places, gradient]
                found = tf.numpy_function(backward, given, kinds, stateful=False)
                wanted = [kernel, bias] if shape.first else [x, kernel, bias]
                known = [tf.ensure_shape(one, other.shape) for one, other in zip(found, wanted, strict=True)]
                return (None, *known) if shape.first else tuple(known)

            return tf.ensure_shape(pooled, pooled_size), gradients

        return convolve_and_pool(x, tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the result for images of ``input_shape``."""
        shape = shape_of(self, input_shape)
        return (*input_shape[:1], *shape.pooled, shape.filters)

    def _step_for(self, input_shape: Any) -> Step:
        shape = shape_of(self, input_shape)
        if shape not in self._steps:
            self._steps[shape] = Step(shape, threads=_threads())
        return self._steps[shape]


def shape_of(conv: Any, input_shape: Any) -> Shape:
    """Return the shape of the kernel that computes a convolution, its pool and its ReLU.

    Args:
        conv: A `keras.layers.Conv2D` with a 3x3 kernel and stride 1.
        input_shape: (batch, height, width, channels).
    """
    height, width, channels = input_shape[1:]
    return Shape(height, width, channels, conv.filters, int(conv.padding == "same"), conv.compute_dtype)


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``method`` with a weak reference to its object: TensorFlow never frees functions of `numpy_function`."""
    reference = weakref.WeakMethod(method)

    def call(*arrays: Any) -> Any:
        method_now = reference()
        if method_now is None:
            raise RuntimeError("The layer of this step was deleted")
        return method_now(*arrays)

    return call


def _threads() -> int:
    """Return on how many threads TensorFlow computes an operation: 0, its default, is all cores."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads()) or cores()
