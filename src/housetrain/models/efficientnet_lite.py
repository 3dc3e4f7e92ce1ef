"""EfficientNet-Lite0, -Lite1 and -Lite2 as flat Keras models.

In: scaled images as a Keras tensor, or an image size; tensors by the names of the reference implementation. Out: the
layers, 1,280 pooled features or 1,000 ImageNet outputs. Does not know: files, packages, recipes, heads, augmentation.

EfficientNet-Lite is EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and
with a stem and a head that do not grow with the width. Padding is TensorFlow's "same", as in training. All layers are
plain Keras layers with fixed names, so that any backend, exporter and explanation can use them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.system.backend import load_keras

Tensor = Any
FEATURES = 1280
SCALE, OFFSET = 1 / 128, -127 / 128
"""Pixels 0 to 255 become ``pixels * SCALE + OFFSET``, which is ``(pixels - 127) / 128`` exactly in float32."""


class Variant(NamedTuple):
    """What distinguishes the members of the family.

    Args:
        width: Factor on the filters of each block.
        depth: Factor on the number of blocks in a stage.
        image_size: Side of the images it was trained on, pixels.
    """

    width: float
    depth: float
    image_size: int


VARIANTS: dict[str, Variant] = {
    "efficientnet-lite0": Variant(1.0, 1.0, 224),
    "efficientnet-lite1": Variant(1.0, 1.1, 240),
    "efficientnet-lite2": Variant(1.1, 1.2, 260),
}
"""Model name -> variant. The names are those of `pretrained_weights.WEIGHT_PACKAGES`."""


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    strides: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32


class _Block(NamedTuple):
    """One inverted residual block. ``name`` is ``block<stage>_<number>``, both from 1."""

    name: str
    kernel: int
    strides: int
    expansion: int
    filters: int


def _blocks(name: str) -> Iterator[_Block]:
    variant = VARIANTS[name]
    for number, stage in enumerate(_STAGES, 1):
        fixed = number in (1, len(_STAGES))
        count = stage.blocks if fixed else math.ceil(stage.blocks * variant.depth)
        for block in range(1, count + 1):
            strides = stage.strides if block == 1 else 1
            filters = _rounded(stage.filters * variant.width)
            yield _Block(f"block{number}_{block}", stage.kernel, strides, stage.expansion, filters)


def _rounded(filters: float) -> int:
    """Return the nearest multiple of 8 that takes away at most a tenth."""
    found = max(8, int(filters + 4) // 8 * 8)
    return found + 8 if found < 0.9 * filters else found


# ------------------------------------------------------------------------------------------------- layers
class _Layers:
    """Makes the layers: no bias before batch norm, ReLU6 after it."""

    def __init__(self, dtype: str) -> None:
        self.keras, self.dtype = load_keras("building a model"), dtype

    def conv(self, x: Tensor, filters: int, name: str, *, kernel: int = 1, strides: int = 1) -> Tensor:
        initializer = self._initializer()
        layer = self.keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer,
            name=f"{name}_conv",
            dtype=self.dtype,
        )
        return self._norm(layer(x), name)

    def depthwise(self, x: Tensor, kernel: int, strides: int, name: str) -> Tensor:
        initializer = self._initializer()
        layer = self.keras.layers.DepthwiseConv2D(
            kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=initializer,
            name=f"{name}_conv",
            dtype=self.dtype,
        )
        return self._norm(layer(x), name)

    def relu6(self, x: Tensor, name: str) -> Tensor:
        return self.keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6", dtype=self.dtype)(x)

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        return self.keras.layers.Add(name=f"{name}_add", dtype=self.dtype)([x, y])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        layer = self.keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn", dtype=self.dtype)
        return layer(x)

    def _initializer(self) -> Any:
        # fan_out: the fan_in of a depthwise kernel counts all channels, and its values would be far too small.
        return self.keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def features_of(x: Tensor, name: str, *, dtype: str = "float32") -> Tensor:
    """Return the pooled features of ``x``: (batch, 1280), the mean over the image of the last ReLU6.

    The layers become layers of the model that ``x`` belongs to. Their weights are random; see `put_tensors`.

    Args:
        x: (batch, height, width, 3), pixels after `SCALE` and `OFFSET`; any height and width, 32 pixels and more.
        name: In `VARIANTS`.
        dtype: A Keras dtype policy name, ``"float32"`` or ``"mixed_bfloat16"``.
    """
    layers = _Layers(dtype)
    x = layers.relu6(layers.conv(x, _STEM_FILTERS, "stem", kernel=3, strides=2), "stem")
    for block in _blocks(name):
        x = _block(x, block, layers)
    x = layers.relu6(layers.conv(x, FEATURES, "top"), "top")
    return layers.keras.layers.GlobalAveragePooling2D(name="top_pool", dtype=dtype)(x)


def _block(x: Tensor, block: _Block, layers: _Layers) -> Tensor:
    inputs, channels = x, x.shape[-1]
    if block.expansion != 1:
        name = f"{block.name}_expand"
        x = layers.relu6(layers.conv(x, channels * block.expansion, name), name)
    name = f"{block.name}_depthwise"
    x = layers.relu6(layers.depthwise(x, block.kernel, block.strides, name), name)
    x = layers.conv(x, block.filters, f"{block.name}_project")
    return layers.add(inputs, x, block.name) if block.strides == 1 and channels == block.filters else x


def build(
    name: str,
    *,
    tensors: Mapping[str, NDArray[Any]] | None = None,
    image_size: int | tuple[int, int] | None = None,
    include_top: bool = False,
    activation: Literal["softmax", "linear"] = "softmax",
    dtype: str = "float32",
) -> Any:
    """Return a whole model: uint8 images in, features or ImageNet outputs out, scaling inside.

    Args:
        name: In `VARIANTS`.
        tensors: Pretrained weights, see `put_tensors`; ``None`` leaves them random.
        image_size: Side in pixels, or (height, width); ``None`` leaves the size open.
        include_top: Whether to end with the 1,000 classes of ImageNet instead of 1,280 pooled features.
        activation: Of the 1,000 outputs: ``"softmax"`` gives probabilities, ``"linear"`` gives logits.
        dtype: A Keras dtype policy name. The outputs are float32 where there is a top.

    Raises:
        ModelError: The name is unknown, or the tensors do not fit.
    """
    if name not in VARIANTS:
        raise ModelError("There is no such EfficientNet-Lite", expected=", ".join(VARIANTS), name=name)
    keras = load_keras("building a model")
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    image = keras.Input((height, width, 3), dtype="uint8", name="image")
    x = features_of(keras.layers.Rescaling(SCALE, OFFSET, name="scale", dtype="float32")(image), name, dtype=dtype)
    if include_top:
        x = keras.layers.Dense(1000, activation=activation, name=_TOP, dtype="float32")(x)
    model = keras.Model(image, x, name=name)
    if tensors is not None:
        put_tensors(model, name, tensors)
    return model


def stage_ends(name: str) -> tuple[str, ...]:
    """Return the names of the last layer of each of the seven stages and of the head, for features at several scales.

    Args:
        name: In `VARIANTS`.
    """
    ends, channels = dict[str, str](), _STEM_FILTERS
    for block in _blocks(name):
        residual = block.strides == 1 and channels == block.filters
        stage = block.name.partition("_")[0]
        ends[stage] = f"{block.name}_add" if residual else f"{block.name}_project_bn"
        channels = block.filters
    return (*ends.values(), "top_relu6")


# ------------------------------------------------------------------------------------------------- weights
_TOP = "imagenet"
_BN = ("weight", "bias", "running_mean", "running_var")  # in the order of a Keras layer's weights


def put_tensors(model: Any, name: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Put tensors of the reference implementation into the layers of ``model``, which may have other layers, too.

    Args:
        model: A model around `features_of`, or one of `build`.
        name: In `VARIANTS`.
        tensors: Tensor name -> array, as `pretrained_weights.load_pretrained` gives them. Those of the 1,000 classes
            are used where the model has them.

    Raises:
        ModelError: Tensors are missing or of another shape. All of them are named, and no layer was changed.
    """
    plan = [(model.get_layer(layer), _values(keys, tensors)) for layer, keys in _layer_tensors(name)]
    top = [layer for layer in model.layers if layer.name == _TOP]
    plan += [(layer, _values(("_fc.weight", "_fc.bias"), tensors)) for layer in top]
    problems = []
    for layer, values in plan:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        found = [None if value is None else value.shape for value in values]
        if wanted != found:
            problems.append(f"{layer.name} takes {wanted}, got {found}")
    if problems:
        shown = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
        raise ModelError(
            f"The weights do not fit: {shown}",
            expected=f"the tensors of {name}",
            do="give the weights of the same model",
            layers=len(problems),
            tensors=len(tensors),
        )
    for layer, values in plan:
        layer.set_weights(values)


def _layer_tensors(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (layer, names of its tensors) for all layers that have weights, without the 1,000 classes."""

    def pair(layer: str, conv: str, norm: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield f"{layer}_conv", (f"{conv}.weight",)
        yield f"{layer}_bn", tuple(f"{norm}.{part}" for part in _BN)

    yield from pair("stem", "_conv_stem", "_bn0")
    for number, block in enumerate(_blocks(name)):
        prefix = f"_blocks.{number}"
        if block.expansion != 1:
            yield from pair(f"{block.name}_expand", f"{prefix}._expand_conv", f"{prefix}._bn0")
        yield from pair(f"{block.name}_depthwise", f"{prefix}._depthwise_conv", f"{prefix}._bn1")
        yield from pair(f"{block.name}_project", f"{prefix}._project_conv", f"{prefix}._bn2")
    yield from pair("top", "_conv_head", "_bn1")


def _values(keys: tuple[str, ...], tensors: Mapping[str, NDArray[Any]]) -> list[NDArray[Any] | None]:
    return [_as_keras(key, tensors[key]) if key in tensors else None for key in keys]


def _as_keras(key: str, value: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor with its axes in Keras' order: (height, width, in, out), for depthwise (height, width, in, 1)."""
    if value.ndim == 4:  # torch: (out, in, height, width), for depthwise (in, 1, height, width)
        value = value.transpose(2, 3, 0, 1) if "_depthwise_" in key else value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return np.ascontiguousarray(value, dtype=np.float32)
