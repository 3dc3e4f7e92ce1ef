"""The layers of a model as plain records: what each computes, its output shape, parameters and multiply-adds.

In: the class name and configuration of a Keras layer, and the layers before it. Out: a `Layer`; a `Graph` collects
the layers of one model. Does not know Keras, weights, recipes, or how the layers are built, saved or drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from housetrain.errors import ModelError

Shape = tuple[int, ...]
BACKBONE = "Backbone"
"""`Layer.kind` of a whole pretrained network of `keras.applications`, whose layers only Keras knows."""
FLIPS, FLIP_MEAN = "Flips", "FlipMean"
"""`Layer.kind` of what adds mirror images to the batch, ``views`` in all, and of the mean over them."""
_WITH_KERNELS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense")


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: Unique in the model.
        kind: Its Keras class, for instance ``"Conv2D"``, or `BACKBONE`.
        config: The arguments of the Keras class, without name and dtype.
        inputs: Names of the layers it takes its input from.
        shape: Of its output for one image; ``()`` where it is unknown.
        parameters: Weights it holds; ``None`` where that is unknown.
        multiply_adds: Multiplications of its kernels for one image, each with an addition; ``None`` where unknown.
        main: Whether it lies on the longest path from the image to the output, rather than on a shortcut.
    """

    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int | None
    multiply_adds: int | None
    main: bool = True

    @property
    def description(self) -> str:
        """What the layer computes, in a few words."""
        return _described(self.kind, self.config)[0]

    @property
    def label(self) -> str:
        """The same in one or two words, for a diagram."""
        return _described(self.kind, self.config)[1]


class TooSmallError(Exception):
    """An image is too small for a layer. The text names the layer and the size that reaches it."""


class Graph:
    """The layers of one model, in the order in which they are computed.

    Layers without an explicit name are numbered by kind: ``conv_1``, ``conv_2``, ``pool_1``. A layer's initial
    weights follow from its name and the recipe's seed, so adding a layer leaves the weights of the others alone.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._count: dict[str, int] = {}

    def add(self, kind: str, inputs: Layer | Sequence[Layer] = (), *, name: str = "", **config: Any) -> Layer:
        """Add any Keras layer whose output shape `output_shape` knows.

        Args:
            kind: Name of the class in `keras.layers`.
            inputs: The layers it takes its input from.
            name: Unique in the model; by default numbered by ``kind``.
            **config: Arguments of the class. An initializer is a name, or ``{"class_name", "config"}``, without seed.

        Raises:
            TooSmallError: Its input is smaller than its window.
            ModelError: The output shape of such a layer is unknown.
        """
        sources = (inputs,) if isinstance(inputs, Layer) else tuple(inputs)
        shapes = [source.shape for source in sources]
        name = name or self._numbered(kind.lower())
        shape = output_shape(kind, config, shapes)
        if shape and min(shape) < 1:
            name_of_window = "kernel" if "kernel_size" in config else "window"
            window = "x".join(str(side) for side in config.get("kernel_size") or config["pool_size"])
            height, width = shapes[0][:2]
            raise TooSmallError(
                f"{name} gets a {height}x{width} feature map, smaller than its {window} {name_of_window}"
            )
        parameters, multiply_adds = counts(kind, config, shapes[0] if shapes else (), shape)
        if parameters is None:
            raise ModelError("The output shape of this layer is unknown", expected=", ".join(KNOWN), kind=kind)
        layer = Layer(name, kind, config, tuple(one.name for one in sources), shape, parameters, multiply_adds)
        self.layers.append(layer)
        return layer

    def conv(
        self,
        x: Layer,
        filters: int,
        *,
        kernel: int = 3,
        strides: int = 1,
        padding: Literal["same", "valid"] = "same",
        bias: bool = True,
        initializer: str | Mapping[str, Any] = "GlorotUniform",
        name: str = "",
    ) -> Layer:
        """Add a 2-D convolution."""
        window = {"kernel_size": (kernel, kernel), "strides": (strides, strides), "padding": padding}
        name = name or self._numbered("conv")
        return self.add(
            "Conv2D", x, name=name, filters=filters, **window, use_bias=bias, kernel_initializer=initializer
        )

    def dense(self, x: Layer, units: int, *, activation: str = "relu", name: str = "") -> Layer:
        """Add a fully connected layer."""
        name = name or self._numbered("dense")
        return self.add("Dense", x, name=name, units=units, activation=activation, kernel_initializer="GlorotUniform")

    def norm(self, x: Layer, *, gamma: str = "ones") -> Layer:
        """Add batch normalization with a short memory: a small data set has few steps in an epoch."""
        return self.add("BatchNormalization", x, name=self._numbered("norm"), momentum=0.9, gamma_initializer=gamma)

    def activation(self, x: Layer, function: str = "relu") -> Layer:
        """Add an element-wise activation function."""
        return self.add("Activation", x, name=self._numbered(function), activation=function)

    def pool(
        self, x: Layer, *, kind: Literal["max", "average"] = "max", padding: Literal["same", "valid"] = "valid"
    ) -> Layer:
        """Add 2x2 pooling with stride 2."""
        layer = "MaxPooling2D" if kind == "max" else "AveragePooling2D"
        return self.add(layer, x, name=self._numbered("pool"), pool_size=(2, 2), strides=(2, 2), padding=padding)

    def mean(self, x: Layer) -> Layer:
        """Add global average pooling: (height, width, channels) becomes (channels,)."""
        return self.add("GlobalAveragePooling2D", x, name=self._numbered("mean"))

    def sum(self, x: Layer, y: Layer) -> Layer:
        """Add the sum of two branches."""
        return self.add("Add", (x, y), name=self._numbered("add"))

    def flatten(self, x: Layer) -> Layer:
        """Add a layer that turns (height, width, channels) into one row."""
        return self.add("Flatten", x, name=self._numbered("flatten"))

    def dropout(self, x: Layer, rate: float, *, name: str = "") -> Layer:
        """Add dropout; return ``x`` itself where the rate is 0."""
        return self.add("Dropout", x, name=name or self._numbered("dropout"), rate=rate) if rate else x

    def _numbered(self, kind: str) -> str:
        self._count[kind] = self._count.get(kind, 0) + 1
        return f"{kind}_{self._count[kind]}"


# ------------------------------------------------------------------------------------------------- shapes and counts
def output_shape(kind: str, config: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of a layer for one image. Sides below 1 mean that the input is too small.

    Args:
        kind: Name of the class in `keras.layers`.
        config: Its arguments.
        inputs: Output shapes of the layers before it; ``()`` where one is unknown.
    """
    if kind == "InputLayer":
        return tuple(config["shape"])
    if kind == BACKBONE:
        return (int(config["features"]),)
    if not inputs or not inputs[0]:
        return ()
    given = inputs[0]
    if kind == "Dense":
        return (*given[:-1], int(config["units"]))
    if kind == "Flatten":
        return (math.prod(given),)
    if kind == "Concatenate":
        return (*given[:-1], sum(shape[-1] for shape in inputs))
    if kind.startswith("Global"):
        return (given[-1],)
    window = config.get("kernel_size") or config.get("pool_size")
    if window is not None and len(given) == 3:
        strides = config.get("strides") or window
        sides = [
            math.ceil(side / stride) if config.get("padding") == "same" else (side - size) // stride + 1
            for side, size, stride in zip(given, window, strides, strict=False)
        ]
        multiplier = int(config.get("depth_multiplier", 1)) if kind == "DepthwiseConv2D" else 1
        return (*sides, int(config.get("filters", given[-1] * multiplier)))
    return given


def counts(kind: str, config: Mapping[str, Any], given: Shape, shape: Shape) -> tuple[int | None, int | None]:
    """Return the parameters of a layer and its multiply-adds for one image; ``None`` for what is unknown.

    A kernel is applied once at each position of the output, so plain, grouped, depthwise and separable convolutions
    are all counted by the size of their kernels. Layers without kernels count as 0 multiply-adds.

    Args:
        kind: Name of the class in `keras.layers`.
        config: Its arguments.
        given: Shape of its (first) input.
        shape: Shape of its output.
    """
    if kind == BACKBONE:
        return int(config["parameters"]), None
    channels = given[-1] if given else 0
    if kind in ("BatchNormalization", "LayerNormalization"):
        per_channel = bool(config.get("center", True)) + bool(config.get("scale", True))
        return channels * (per_channel + 2 * (kind == "BatchNormalization")), 0
    if kind not in _WITH_KERNELS:
        known = kind in KNOWN or kind.startswith("Random")
        return (0, 0) if known else (None, None)
    if kind == "Dense":
        outputs = int(config["units"])
        weights = channels * outputs
    else:
        area = math.prod(int(side) for side in config["kernel_size"])
        deep = channels * int(config.get("depth_multiplier", 1))
        outputs = deep if kind == "DepthwiseConv2D" else int(config["filters"])
        weights = {
            "Conv2D": area * channels // int(config.get("groups", 1)) * outputs,
            "DepthwiseConv2D": area * deep,
            "SeparableConv2D": area * deep + deep * outputs,
        }[kind]
    bias = outputs if config.get("use_bias", True) else 0
    return weights + bias, weights * math.prod(shape[:-1]) if shape else None


def total(numbers: Sequence[int | None]) -> int | None:
    """Return the sum, or ``None`` where one of the numbers is unknown."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def with_main_path(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers with `Layer.main` set on the longest path from the image to the last layer."""
    depth: dict[str, int] = {}
    before: dict[str, str] = {}
    for layer in layers:
        known = [source for source in layer.inputs if source in depth]
        if known:
            before[layer.name] = max(known, key=lambda source: depth[source])
        depth[layer.name] = 1 + max((depth[source] for source in known), default=0)
    main, name = set(), layers[-1].name if layers else None
    while name is not None:
        main.add(name)
        name = before.get(name)
    return tuple(replace(layer, main=layer.name in main) for layer in layers)


# ------------------------------------------------------------------------------------------------- texts
_FUNCTIONS = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "tanh": "tanh",
    "softmax": "softmax: probabilities that sum to 1",
    "sigmoid": "sigmoid: one probability",
}
_DESCRIPTIONS = {
    "InputLayer": ("input: the image as bytes, 0 to 255", "image"),
    "BatchNormalization": ("batch normalization of each channel", "norm"),
    "LayerNormalization": ("layer normalization", "norm"),
    "Flatten": ("flatten to one row of numbers", "flatten"),
    "GlobalAveragePooling2D": ("global average pooling: the mean of each channel", "mean"),
    "GlobalMaxPooling2D": ("global max pooling: the maximum of each channel", "max"),
    FLIPS: ("the image and its mirror images", "flips"),
    FLIP_MEAN: ("mean over the image and its mirror images", "flip mean"),
    "GetItem": ("slice, such as a mirror image", "slice"),
    "Split": ("split into parts", "split"),
    "Average": ("mean of branches", "mean"),
    "Add": ("sum with the shortcut (residual connection)", "add"),
    "Concatenate": ("concatenation of branches", "concat"),
    "Activation": ("activation", "activation"),
    "ReLU": ("ReLU: negative numbers become 0", "ReLU"),
    "MaxPooling2D": ("max pooling", "pool"),
    "AveragePooling2D": ("average pooling", "pool"),
    "Rescaling": ("rescaling of the pixel values", "scale"),
    "Dropout": ("dropout", "dropout"),
}
KNOWN = (*_WITH_KERNELS, *_DESCRIPTIONS, "LeakyReLU", "ELU", "GELU", "Softmax", "Multiply", "SpatialDropout2D")
"""Classes of `keras.layers` whose output shape and parameters are known here."""


def _described(kind: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a layer computes: a phrase and a label."""
    activation = str(config.get("activation", "linear"))
    then = f", then {_FUNCTIONS[activation]}" if activation in _FUNCTIONS else ""
    if kind.endswith("Conv2D"):
        size = "×".join(str(side) for side in config["kernel_size"])
        prefix = {"SeparableConv2D": "separable ", "DepthwiseConv2D": "depthwise "}.get(kind, "")
        filters = f" with {config['filters']:,} filters" if "filters" in config else ""
        stride = "" if set(config["strides"]) == {1} else f", stride {config['strides'][0]}"
        return f"{prefix}{size} convolution{filters}{stride}{then}", f"conv {size}"
    phrase, label = _DESCRIPTIONS.get(kind, (kind, kind))
    if kind == "Dense":
        units = int(config["units"])
        return f"dense layer of {units:,} {'unit' if units == 1 else 'units'}{then}", "dense"
    if kind == "Activation":
        return _FUNCTIONS.get(activation, activation), _FUNCTIONS.get(activation, activation).partition(":")[0]
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        return f"{'×'.join(str(side) for side in config['pool_size'])} {phrase}", label
    if kind == "Dropout":
        return f"dropout of {float(config['rate']) * 100:g} % of the numbers, while training only", label
    if kind == "ReLU" and config.get("max_value"):
        return f"ReLU{config['max_value']:g}: numbers are limited to 0 to {config['max_value']:g}", label
    if kind == "Rescaling":
        ends = [config.get("offset", 0.0) + value * config["scale"] for value in (0, 255)]
        return f"{phrase} to {ends[0]:.3g} to {ends[1]:.3g}", label
    if kind == BACKBONE:
        return f"pretrained backbone {config['title']}, then global average pooling", str(config["title"])
    return (f"nested model of {len(config['layers'])} layers", kind) if "layers" in config else (phrase, label)
