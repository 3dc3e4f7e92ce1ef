"""Models: a name -> a Keras model. One dict of builders, one `build`.

In: a `Recipe`, the `InputSpec` of the images, the class names.
Out: an uncompiled functional model: uint8 images in, probabilities out; scaling and augmentation are layers inside.
Does not know: the images, optimizers, run folders. Nothing global is touched: no seed, no dtype policy.

A builder gets the scaled images and returns the features before the output layer; it reads like plain Keras:

    @register("tiny", about="one convolution", image_size=32, color_mode="rgb")
    def tiny(x, recipe, layers):
        return layers.pooled(layers.conv(x, 16, activation="relu"))
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from housetrain.errors import ModelError
from housetrain.models import backbone_weights, backbones
from housetrain.models.nets import Cost, check_feasible
from housetrain.models.recipe import PRESETS, Preset, Recipe
from housetrain.system.backend import load_keras

load_keras("building a net")
import keras  # noqa: E402, TID253 - this module is imported only where a net is built

from housetrain.models.augment import Augment  # noqa: E402

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec

Tensor = Any
Builder = Callable[[Tensor, Recipe, "Layers"], Tensor]

MODELS: dict[str, Builder] = {}
"""Model name -> builder. The names are those of `recipe.PRESETS`."""
_SCALES: dict[str, tuple[float, float]] = {}


def register(
    name: str,
    *,
    about: str = "",
    image_size: int = 64,
    color_mode: Literal["grayscale", "rgb"] = "rgb",
    uses: tuple[str, ...] = (),
    scale: float = 1 / 255,
    offset: float = 0.0,
    **settings: Any,
) -> Callable[[Builder], Builder]:
    """Add a builder under ``name``, with the preset that recipes of that name start from.

    Args:
        name: The name recipes use.
        about: One line for help texts.
        image_size: Side in pixels the net is meant for.
        color_mode: ColorMode the net is meant for.
        uses: Which of ``conv``, ``nodes``, ``dense`` the builder reads.
        scale: The builder gets ``pixels * scale + offset``.
        offset: See ``scale``.
        **settings: Recipe fields that differ from the field defaults.

    Raises:
        ModelError: The name is taken.
    """

    def add(builder: Builder) -> Builder:
        if name in MODELS:
            raise ModelError(f"There is a model named {name!r} already", do="choose another name")
        MODELS[name], _SCALES[name] = builder, (scale, offset)
        PRESETS.setdefault(name, Preset(about, image_size, color_mode, settings, uses))
        return builder

    return add


class Layers:
    """Makes the layers of one model: each with a readable name, its own seed and the model's dtype policy.

    A layer's seed follows from the recipe's seed and the layer's name, so that the same recipe gives the same initial
    weights in any process, and a layer keeps its weights when another one is added elsewhere.

    Args:
        recipe: For its seed.
        dtype: A Keras dtype policy name, ``"float32"`` or ``"mixed_bfloat16"``.
    """

    def __init__(self, recipe: Recipe, dtype: str) -> None:
        self.dtype = dtype
        self._seed, self._count = recipe.seed, dict[str, int]()

    def conv(
        self,
        x: Tensor,
        filters: int,
        *,
        kernel: int = 3,
        strides: int = 1,
        padding: str = "same",
        activation: str | None = None,
        bias: bool = True,
        initializer: str = "GlorotUniform",
    ) -> Tensor:
        """Return a 2-D convolution of ``x``."""
        name = self._name("conv")
        return keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding=padding,
            activation=activation,
            use_bias=bias,
            kernel_initializer=getattr(keras.initializers, initializer)(seed=self.seed_of(name)),
            **self._common(name),
        )(x)

    def dense(self, x: Tensor, units: int, *, activation: str | None = "relu") -> Tensor:
        """Return a fully connected layer on ``x``."""
        name = self._name("dense")
        initializer = keras.initializers.GlorotUniform(seed=self.seed_of(name))
        layer = keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, **self._common(name))
        return layer(x)

    def norm(self, x: Tensor, *, gamma: str = "ones") -> Tensor:
        """Return the batch-normalized ``x``."""
        # 0.9 rather than 0.99: a small data set has too few steps in an epoch for a longer memory.
        common = self._common(self._name("norm"))
        return keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma, **common)(x)

    def relu(self, x: Tensor) -> Tensor:
        """Return ``x`` where it is positive, else 0."""
        return keras.layers.Activation("relu", **self._common(self._name("relu")))(x)

    def pool(self, x: Tensor, *, kind: Literal["max", "average"] = "max", padding: str = "valid") -> Tensor:
        """Return ``x`` at half its height and width."""
        layer = keras.layers.MaxPooling2D if kind == "max" else keras.layers.AveragePooling2D
        return layer(2, padding=padding, **self._common(self._name("pool")))(x)

    def pooled(self, x: Tensor) -> Tensor:
        """Return the mean of each channel: (batch, channels)."""
        return keras.layers.GlobalAveragePooling2D(**self._common(self._name("mean")))(x)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of two branches."""
        return keras.layers.Add(**self._common(self._name("add")))([x, y])

    def flatten(self, x: Tensor) -> Tensor:
        """Return ``x`` as (batch, features)."""
        return keras.layers.Flatten(**self._common(self._name("flatten")))(x)

    def dropout(self, x: Tensor, rate: float, *, name: str = "") -> Tensor:
        """Return ``x`` with a share of units silenced while training; ``x`` itself where the rate is 0."""
        if not rate:
            return x
        name = name or self._name("dropout")
        return keras.layers.Dropout(rate, seed=self.seed_of(name), **self._common(name))(x)

    def seed_of(self, name: str) -> int:
        """Return the seed of the layer ``name``: 31 bits."""
        return int.from_bytes(hashlib.sha256(f"{self._seed}:{name}".encode()).digest()[:4], "big") >> 1

    def _name(self, kind: str) -> str:
        self._count[kind] = self._count.get(kind, 0) + 1
        return f"{kind}_{self._count[kind]}"

    def _common(self, name: str) -> dict[str, Any]:
        return {"name": name, "dtype": self.dtype}


def build(
    recipe: Recipe,
    *,
    spec: InputSpec,
    classes: Sequence[str],
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Any:
    """Return the untrained model of ``recipe``.

    Args:
        recipe: Which net, and with which augmentation, dropout and seed. The same recipe gives the same weights.
        spec: The images: the input is uint8 of shape ``(batch, height, width, channels)``, 0 to 255.
        classes: Class names. Two end in one sigmoid unit, the probability of the second; more in as many softmax units.
        precision: Compute type of the layers inside. Weights and the output stay float32.

    Returns:
        An uncompiled `keras.Model`; the output is float32, ``(batch, 1)`` or ``(batch, len(classes))``.

    Raises:
        RecipeError: The net does not fit the images.
        ModelError: Fewer than two classes.
    """
    check_feasible(recipe, spec)
    if len(classes) < 2:
        raise ModelError("A classifier needs two classes", expected="two or more class names", classes=tuple(classes))
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    layers = Layers(recipe, dtype)
    inputs = x = keras.Input(spec.shape, dtype="uint8", name="image")
    if recipe.augments or recipe.progressive < 1:
        amounts = recipe.model_dump(include={"flip", "shift", "rotate", "zoom", "stretch", "contrast", "erase"})
        x = Augment(**amounts, seed=layers.seed_of("augment"), name="augment", dtype="float32")(x)
    scale, offset = _SCALES[recipe.model]
    x = keras.layers.Rescaling(scale, offset, name="scale", dtype=dtype)(x)
    x = MODELS[recipe.model](x, recipe, layers)
    units, activation = (1, "sigmoid") if len(classes) == 2 else (len(classes), "softmax")
    initializer = keras.initializers.GlorotUniform(seed=layers.seed_of("probability"))
    output = keras.layers.Dense(
        units, activation=activation, kernel_initializer=initializer, name="probability", dtype="float32"
    )(x)
    model = keras.Model(inputs, output, name=_identifier(recipe.name))
    if recipe.model in backbones.BACKBONES:
        return backbone_weights.finish(
            model, recipe.model, weights=recipe.weights, unfreeze=recipe.unfreeze, seed_of=layers.seed_of
        )
    return model


def for_inference(model: Any) -> Any:
    """Return a copy of ``model`` for use: the same weights, no augmentation, float32 throughout.

    The copy holds only Keras' own layers (of the models above), so its file loads with plain Keras, and it computes the
    same on a machine without bfloat16.

    Args:
        model: A model of `build`, trained or not. It is not changed.
    """

    def in_float32(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):  # else a bare operation, such as the sum of two branches
            config["dtype"] = "float32"
        return type(layer).from_config(config)

    def without_augmentation(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if isinstance(layer, Augment) else layer(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=in_float32, call_function=without_augmentation)
    copy.set_weights(model.get_weights())
    return copy


def cost_of(model: Any) -> Cost:
    """Return the parameters and FLOPs of a built model; `shapes.cost` gives the same without building, for some.

    Counted are convolutions and dense layers, where nearly all of the work is. A kernel is used once for each place of
    the output, so plain, grouped, depthwise and separable convolutions are all counted by the size of their kernels.
    """
    flops = 0
    for layer in model.layers:
        kernels = [math.prod(weight.shape) for weight in layer.weights if len(weight.shape) in (2, 4)]
        if kernels:
            places = math.prod(size for size in layer.output.shape[1:-1] if size is not None)
            flops += 2 * sum(kernels) * places
    return Cost(parameters=int(model.count_params()), flops=flops)


@register("mlp")
def mlp(x: Tensor, recipe: Recipe, layers: Layers) -> Tensor:
    """Flatten and two Dense of 128, as in the MNIST quickstart."""
    x = layers.flatten(x)
    for _ in range(2):
        x = layers.dense(x, 128)
    return layers.dropout(x, recipe.dropout)


@register("cnn")
def cnn(x: Tensor, recipe: Recipe, layers: Layers) -> Tensor:
    """``conv`` times 3x3 valid convolution, ReLU and 2x2 max-pool; Flatten; ``dense`` times Dense of ``nodes``."""
    for _ in range(recipe.conv):
        # ReLU keeps order, so the largest of four stays the largest: ReLU after the pool is the same function (and the
        # same gradient) as before it, on a quarter of the numbers.
        x = layers.relu(layers.pool(layers.conv(x, recipe.nodes, padding="valid")))
    x = layers.flatten(x)
    for _ in range(recipe.dense):
        x = layers.dense(x, recipe.nodes)
    return layers.dropout(x, recipe.dropout)


@register("deep")
def deep(x: Tensor, recipe: Recipe, layers: Layers) -> Tensor:
    """64-128-256 same-padded convolutions with pools, Dense 128, dropout, Dense 64."""
    for filters in (64, 128, 256):
        x = layers.relu(layers.pool(layers.conv(x, filters)))  # ReLU after the pool: see cnn
    x = layers.dense(layers.flatten(x), 128)
    return layers.dense(layers.dropout(x, recipe.dropout), 64)


@register("best", scale=1 / 64, offset=-2.0)
def best(x: Tensor, recipe: Recipe, layers: Layers) -> Tensor:
    """A small residual net (He et al. 2016, arXiv:1512.03385) with batch norm, as deep as the image allows.

    The stem halves the image until at most 80 pixels remain, and there are as many of the three stages as leave at
    least four pixels a side: 96 pixels go 48, 24, 12, 6; 32 go 32, 16, 8, 4; 8 go 8, 4.
    """
    halve = min(x.shape[1:3]) >= 48
    while True:
        x = layers.relu(layers.norm(_kernel(x, 32, layers, strides=2 if halve else 1)))
        if min(x.shape[1:3]) <= 80:
            break
        halve = True
    for filters in (64, 128, 256):
        if min(x.shape[1:3]) < 7:
            break
        y = layers.relu(layers.norm(_kernel(x, filters, layers, strides=2)))
        # A branch that starts at zero lets the net start as its short-cuts (Goyal et al. 2017, arXiv:1706.02677).
        y = layers.norm(_kernel(y, filters, layers), gamma="zeros")
        short = _kernel(layers.pool(x, kind="average", padding="same"), filters, layers, kernel=1)
        x = layers.relu(layers.add(layers.norm(short), y))
    return layers.dropout(layers.pooled(x), recipe.dropout)


def _backbone(x: Tensor, recipe: Recipe, layers: Layers) -> Tensor:
    """A net of `keras.applications`, pretrained or not. `build` puts its weights in."""
    x = backbones.features_of(x, recipe.model, dtype=layers.dtype)
    return layers.dropout(x, recipe.dropout, name=backbones.HEAD_DROPOUT)


for _name, _facts in backbones.BACKBONES.items():
    register(_name, scale=_facts.scale, offset=_facts.offset)(_backbone)


def _kernel(x: Tensor, filters: int, layers: Layers, *, kernel: int = 3, strides: int = 1) -> Tensor:
    """Return a convolution as batch norm follows it: without a bias, which the norm would take away again."""
    return layers.conv(x, filters, kernel=kernel, strides=strides, bias=False, initializer="HeNormal")


def _identifier(name: str) -> str:
    """Return ``name`` as TensorFlow accepts it for a scope: ``3-conv-...`` may not begin with a digit there."""
    return name if name[0].isalpha() else f"net-{name}"
