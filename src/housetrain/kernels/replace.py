"""Replace convolution, max-pool and ReLU of a model by one layer with compiled kernels, for training.

In: a Keras model. Out: a model that computes the same function with the same weights in the same order. What is drawn
and saved keeps Keras' own layers. Does not know recipes, run folders, training.
"""

from __future__ import annotations

from typing import Any

from housetrain.kernels.shape import KERNEL, available


def with_kernels(model: Any) -> Any:
    """Return ``model`` with the compiled step in place of the layers it stands for, or ``model`` where none fit.

    They are a 3x3 convolution with stride 1, followed by nothing but a 2x2 max-pool, followed by nothing but a ReLU; on
    TensorFlow, without a GPU, where the kernels are `available`.

    Args:
        model: An uncompiled functional model. It is not changed.
    """
    if not _on_processor():
        return model
    import keras

    from housetrain.kernels.conv_pool import ConvPool, shape_of

    fused, passed = set[str](), set[str]()
    for layer in model.layers:
        if _is_conv(layer) and _is_pool(pool := _only_consumer(model, layer)):
            relu = _only_consumer(model, pool)
            if _is_relu(relu) and shape_of(layer, layer.input.shape).fits:
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


def _on_processor() -> bool:
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _is_conv(layer: Any) -> bool:
    import keras

    return (
        type(layer) is keras.layers.Conv2D
        and available(layer.compute_dtype)
        and layer.kernel_size == (KERNEL, KERNEL)
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.use_bias
        and layer.activation is keras.activations.linear
    )


def _is_pool(layer: Any) -> bool:
    import keras

    return (
        type(layer) is keras.layers.MaxPooling2D
        and layer.pool_size == layer.strides == (2, 2)
        and layer.padding == "valid"
    )


def _is_relu(layer: Any) -> bool:
    import keras

    return type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu


def _only_consumer(model: Any, layer: Any) -> Any:
    """Return the only layer that takes the output of ``layer``; ``None`` where there are none or several."""
    import keras

    takers = [other for other in model.layers if any(x is layer.output for x in keras.tree.flatten(other.input))]
    return takers[0] if len(takers) == 1 else None
