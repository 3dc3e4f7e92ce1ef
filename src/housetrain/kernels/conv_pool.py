"""The net that is trained, with the kernels of ``kernels/`` in it where they fit.

In: a model of ``models.py``. Out: a model that computes the same function with the same weights in the same order, in
which a convolution, its 2x2 max-pool and its ReLU are one layer. It is for training only: what is drawn and what is
saved has Keras' own layers. Does not know recipes, run folders, the loop.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras  # noqa: TID253 - a layer needs its base class; only session.py imports this module, when it trains

from housetrain import kernels
from housetrain.system.machine import cores


def with_kernels(model: Any) -> Any:
    """Return ``model`` with the fast step in place of the layers that it stands for, or ``model`` where there are none.

    They are a 3x3 convolution with stride 1, followed by nothing but a 2x2 max-pool, followed by nothing but a ReLU; on
    TensorFlow, without a GPU, on a processor that `housetrain.kernels.available` speaks for.

    Args:
        model: An uncompiled functional model. It is not changed.
    """
    if not _on_processor():
        return model
    fused, passed = set[str](), set[str]()
    for layer in model.layers:
        if _is_conv(layer) and _is_pool(pool := _only_consumer(model, layer)):
            relu = _only_consumer(model, pool)
            if _is_relu(relu) and _shape_of(layer, layer.input.shape).fits:
                fused.add(layer.name)
                passed |= {pool.name, relu.name}
    if not fused:
        return model

    def clone(layer: Any) -> Any:
        kind = ConvPool if layer.name in fused else type(layer)
        return kind.from_config(layer.get_config())

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in passed else layer(*args, **kwargs)

    fast = keras.models.clone_model(model, clone_function=clone, call_function=call)
    fast.set_weights(model.get_weights())
    return fast


class ConvPool(keras.layers.Conv2D):  # type: ignore[misc]  # keras carries no types
    """A 3x3 convolution, a 2x2 max-pool and a ReLU as one layer, computed by ``kernels/``.

    ``(batch, height, width, channels)`` in, ``(batch, height', width', filters)`` out, in the layer's compute type. The
    weights and their gradients are float32.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps: dict[kernels.Shape, kernels.Step] = {}

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Add a weight that stays float32 when it is read: the kernels round, as late as possible."""
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
        shape = _shape_of(self, input_shape)
        return (*input_shape[:1], *shape.pooled, shape.filters)

    def _step_for(self, input_shape: Any) -> kernels.Step:
        shape = _shape_of(self, input_shape)
        if shape not in self._steps:
            self._steps[shape] = kernels.Step(shape, threads=_threads())
        return self._steps[shape]


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``method`` without a hold on its object: TensorFlow keeps the functions of `numpy_function` for good."""
    reference = weakref.WeakMethod(method)

    def call(*arrays: Any) -> Any:
        held = reference()
        if held is None:
            raise RuntimeError("the layer of this step is gone")
        return held(*arrays)

    return call


def _on_processor() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _is_conv(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and kernels.available(layer.compute_dtype)
        and layer.kernel_size == (kernels.KERNEL, kernels.KERNEL)
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.use_bias
        and layer.activation is keras.activations.linear
    )


def _is_pool(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.MaxPooling2D
        and layer.pool_size == layer.strides == (2, 2)
        and layer.padding == "valid"
    )


def _is_relu(layer: Any) -> bool:
    return type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu


def _only_consumer(model: Any, layer: Any) -> Any:
    """Return the layer that alone takes the output of ``layer``, or ``None``."""
    takers = [other for other in model.layers if any(x is layer.output for x in keras.tree.flatten(other.input))]
    return takers[0] if len(takers) == 1 else None


def _shape_of(conv: Any, input_shape: Any) -> kernels.Shape:
    height, width, channels = input_shape[1:]
    return kernels.Shape(height, width, channels, conv.filters, int(conv.padding == "same"), conv.compute_dtype)


def _threads() -> int:
    """Return on how many threads TensorFlow computes an operation: 0, its default, is all cores."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads()) or cores()
