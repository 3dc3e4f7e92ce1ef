"""The models, each described once: its layers, settings and limits. Cost and feasibility follow without Keras.

In: a `Recipe`, the `InputSpec` of the images, the number of classes. Out: the layers of the model; whether it takes
images of that size, and what it costs. A sweep uses both before the first trial: to list infeasible trials, and to
start the longest trials first. `housetrain.models.build` makes a Keras model of the same layers.
Does not know: Keras; weights; speed.

A model is one function that adds its layers to a `Graph`:

    @preset("tiny", "one convolution", image_size=32, color_mode="rgb", uses=("nodes",), epochs=5)
    def tiny(graph, x, recipe):
        return graph.mean(graph.activation(graph.conv(x, recipe.nodes)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from housetrain.errors import ModelError, RecipeError
from housetrain.models import efficientnet_lite
from housetrain.models.backbones import (
    BACKBONES,
    ENCODER,
    FLIP_MEAN_LAYER,
    FLIPS_LAYER,
    HEAD_DROPOUT,
    IMAGENET,
    Backbone,
    Lite,
)
from housetrain.models.layers import (
    BACKBONE,
    FLIP_MEAN,
    FLIPS,
    Graph,
    Layer,
    Shape,
    TooSmallError,
    with_main_path,
)

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe

FLIPPED_VIEWS: Mapping[str, int] = {"none": 1, "horizontal": 2, "both": 4}
"""Value of the recipe's ``test_time_flips`` -> images that the model averages over."""
Builder = Callable[[Graph, Layer, "Recipe"], Layer]
_LARGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class Preset:
    """What a model's name stands for.

    Args:
        about: One line for help texts.
        layers: Adds the layers between the scaled image and the output layer to a graph, and returns the last one.
        image_size: Side of the square image in pixels that the model is meant for.
        color_mode: ``"grayscale"`` or ``"rgb"``.
        settings: Recipe fields that differ from the field defaults.
        uses: Recipe fields that this model reads and not every other one does. See `unused_settings`.
        smallest: Smallest side it takes, pixels, where its layers alone would take less.
        scale: ``layers`` gets ``pixels * scale + offset``.
        offset: See ``scale``.
    """

    about: str
    layers: Builder
    image_size: int
    color_mode: Literal["grayscale", "rgb"]
    settings: Mapping[str, Any]
    uses: tuple[str, ...] = ()
    smallest: int = 1
    scale: float = 1 / 255
    offset: float = 0.0


PRESETS: dict[str, Preset] = {}
"""Model name -> what it stands for. `preset` adds to it; `Recipe` refuses names that are not here."""


def preset(
    name: str,
    about: str,
    *,
    image_size: int,
    color_mode: Literal["grayscale", "rgb"],
    uses: tuple[str, ...] = (),
    smallest: int = 1,
    scale: float = 1 / 255,
    offset: float = 0.0,
    **settings: Any,
) -> Callable[[Builder], Builder]:
    """Add a model under ``name``: the function that adds its layers, and the settings its recipes start from.

    Args:
        name: The name recipes use.
        about: See `Preset`, as the following ones.
        image_size: Pixels.
        color_mode: Color of the input.
        uses: Recipe fields.
        smallest: Pixels.
        scale: Of the pixels.
        offset: Of the pixels.
        **settings: Recipe fields that differ from the field defaults.

    Raises:
        ModelError: The name is taken.
    """

    def add(layers: Builder) -> Builder:
        if name in PRESETS:
            raise ModelError(f"A model named {name!r} exists already", do="choose another name")
        PRESETS[name] = Preset(about, layers, image_size, color_mode, settings, uses, smallest, scale, offset)
        return layers

    return add


# ------------------------------------------------------------------------------------------------- the models
@preset(
    "mlp",
    "Flatten, then dense x nodes: the MNIST quickstart, 128 and 128",
    image_size=28,
    color_mode="grayscale",
    uses=("nodes", "dense", "activation"),
    nodes=128,
    dense=2,
    epochs=3,
)
def _mlp(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    return _dense_layers(graph, graph.flatten(x), recipe)


@preset(
    "cnn",
    "conv x (3x3, ReLU, 2x2 max-pool), then dense x nodes: the tutorials' grid",
    image_size=50,
    color_mode="grayscale",
    uses=("conv", "nodes", "dense", "activation", "kernel_size"),
    epochs=10,
)
def _cnn(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    for _ in range(recipe.conv):
        # An activation that keeps order leaves the largest of four the largest: after the pool it is the same function
        # (with the same gradient) as before it, on a quarter of the numbers.
        x = graph.pool(graph.conv(x, recipe.nodes, kernel=recipe.kernel_size, padding="valid"))
        x = graph.activation(x, recipe.activation)
    return _dense_layers(graph, graph.flatten(x), recipe)


def _dense_layers(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    for _ in range(recipe.dense):
        x = graph.dense(x, recipe.nodes, activation=recipe.activation)
    return graph.dropout(x, recipe.dropout)


@preset(
    "deep",
    "64-128-256 same-padded convolutions with pools, Dense 128, dropout, Dense 64",
    image_size=256,
    color_mode="grayscale",
    epochs=20,
    dropout=0.5,
    patience=5,
)
def _deep(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    for filters in (64, 128, 256):
        x = graph.activation(graph.pool(graph.conv(x, filters)))  # ReLU after the pool: see _cnn
    x = graph.dense(graph.flatten(x), 128)
    return graph.dense(graph.dropout(x, recipe.dropout), 64)


@preset(
    "best",
    "a small residual network with batch norm and augmentation, trained from scratch",
    image_size=96,
    color_mode="rgb",
    uses=("progressive",),
    smallest=8,
    scale=1 / 64,
    offset=-2.0,
    epochs=40,
    batch_size=64,
    optimizer="muon",
    learning_rate=3e-3,
    schedule="cosine",
    warmup_epochs=6.0,
    weight_decay=0.1,
    label_smoothing=0.1,
    dropout=0.2,
    flip="horizontal",
    zoom=0.5,
    stretch=0.1,
    rotate=0.04,
    contrast=0.25,
    erase=0.3,
    progressive=0.65,
)
def _best(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    """Add a residual network (He et al. 2016, arXiv:1512.03385) with batch norm, as deep as the image allows.

    The stem halves the image until at most 80 pixels remain, and there are as many of the three stages as leave at
    least four pixels a side: 96 pixels become 48, 24, 12, 6; 32 become 32, 16, 8, 4; 8 become 8, 4.
    """
    halve = min(x.shape[:2]) >= 48
    while True:
        x = graph.activation(graph.norm(_kernel(graph, x, 32, strides=2 if halve else 1)))
        if min(x.shape[:2]) <= 80:
            break
        halve = True
    for filters in (64, 128, 256):
        if min(x.shape[:2]) < 7:
            break
        y = graph.activation(graph.norm(_kernel(graph, x, filters, strides=2)))
        # A branch that starts at zero lets training start from the shortcuts (Goyal et al. 2017, arXiv:1706.02677).
        y = graph.norm(_kernel(graph, y, filters), gamma="zeros")
        shortcut = _kernel(graph, graph.pool(x, kind="average", padding="same"), filters, kernel=1)
        x = graph.activation(graph.sum(graph.norm(shortcut), y))
    return graph.dropout(graph.mean(x), recipe.dropout)


def _kernel(graph: Graph, x: Layer, filters: int, *, kernel: int = 3, strides: int = 1) -> Layer:
    """Add a convolution without a bias, which the batch norm after it would remove again."""
    return graph.conv(x, filters, kernel=kernel, strides=strides, bias=False, initializer="HeNormal")


def _transfer(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    """Add a backbone, pretrained or not: `housetrain.models.build` loads its weights."""
    backbone = BACKBONES[recipe.model]
    if x.shape[-1] == 1:
        x = graph.add("Concatenate", (x, x, x), name="three_channels")
    views = FLIPPED_VIEWS[recipe.test_time_flips]
    if views > 1:
        x = graph.add(FLIPS, x, name=FLIPS_LAYER, views=views)
    if isinstance(backbone.source, Lite):
        x = efficientnet_lite.features_of(graph, x, recipe.model, stages=recipe.stages)
    else:
        title, parameters = backbone.source.function, backbone.source.parameters + 12 * (backbone.means is not None)
        known = {"title": title, "features": backbone.source.features, "parameters": parameters}
        x = graph.add(BACKBONE, x, name="backbone", model=recipe.model, **known)
    if views > 1:
        x = graph.add(FLIP_MEAN, x, name=FLIP_MEAN_LAYER, views=views)
    return graph.dropout(x, recipe.dropout, name=HEAD_DROPOUT)


def _encoder(graph: Graph, x: Layer, recipe: Recipe) -> Layer:
    """Add an image encoder of the user's own as one layer: its file alone knows its layers, size and cost."""
    return graph.add(BACKBONE, x, name="backbone", model=recipe.model, title="image encoder", features=1, parameters=0)


_AUGMENTATION = {"flip": "horizontal", "zoom": 0.2, "rotate": 0.03, "contrast": 0.2}


def _transfer_preset(backbone: Backbone) -> Preset:
    lite = ("stages",) if isinstance(backbone.source, Lite) else ()
    return Preset(
        backbone.about,
        _transfer,
        backbone.image_size,
        "rgb",
        {"weights": IMAGENET, "epochs": 20, "patience": 5, **_AUGMENTATION},
        uses=("weights", "head", "views", "test_time_flips", "unfreeze", *lite),
        smallest=backbone.smallest,
        scale=backbone.scale,
        offset=backbone.offset,
    )


PRESETS.update((name, _transfer_preset(backbone)) for name, backbone in BACKBONES.items())
PRESETS[ENCODER] = Preset(
    "an image encoder of your own, an .onnx file, run frozen (--backbone)",
    _encoder,
    224,
    "rgb",
    _AUGMENTATION,
    uses=("weights", "weights_sha256", "preprocessing", "views"),
    smallest=8,
    scale=1.0,
)


# ------------------------------------------------------------------------------------------------- what follows
def layers_of(recipe: Recipe, spec: InputSpec, classes: int) -> tuple[Layer, ...]:
    """Return the layers of a model, from the image to the probabilities, without augmentation.

    Args:
        recipe: Which model.
        spec: Height, width and channels of the images.
        classes: Two or more. Two end in one sigmoid unit, more in as many softmax units.

    Raises:
        TooSmallError: The images are too small for its layers.
    """
    return _layers(recipe, spec.shape, classes)


def _layers(recipe: Recipe, shape: Shape, classes: int) -> tuple[Layer, ...]:
    described, graph = PRESETS[recipe.model], Graph()
    x = graph.add("InputLayer", name="image", shape=shape)
    x = graph.add("Rescaling", x, name="scale", scale=described.scale, offset=described.offset)
    x = described.layers(graph, x, recipe)
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    graph.dense(x, units, activation=activation, name="probability")
    return with_main_path(graph.layers)


def infeasible(recipe: Recipe, spec: InputSpec) -> str:
    """Return why ``recipe`` does not take images of ``spec``, or ``""`` where it does.

    Each 3x3 convolution of the cnn takes 2 pixels off a side and each pool halves it, rounding down, so a 50-pixel
    side becomes 24, 11, 4, 1: a fifth convolution has too small an input.
    """
    needs = PRESETS[recipe.model].smallest
    reason = ""
    try:
        layers_of(recipe, spec, 2)
    except TooSmallError as error:
        needs, reason = smallest_side(recipe, spec), f"{error}; "
    if not reason and min(spec.height, spec.width) >= needs:
        return ""
    return f"{reason}{recipe.name!r} needs images of at least {needs}x{needs} pixels, not {spec.height}x{spec.width}"


def smallest_side(recipe: Recipe, spec: InputSpec) -> int:
    """Return the side of the smallest square images that a recipe takes, in pixels.

    Args:
        recipe: Which model.
        spec: For the color of the images.
    """

    def fits(side: int) -> bool:
        try:
            _layers(recipe, (side, side, spec.channels), 2)
        except TooSmallError:
            return False
        return True

    low, high = PRESETS[recipe.model].smallest, _LARGEST_SIDE
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def check_feasible(recipe: Recipe, spec: InputSpec) -> None:
    """Raise unless the model of ``recipe`` takes images of ``spec``.

    Raises:
        RecipeError: In one line: which layer gets too small a feature map, or that the recipe asks for another size or
            color than the images were prepared in.
    """
    reasons = [reason] if (reason := infeasible(recipe, spec)) else []
    if recipe.image_size is not None and (spec.height, spec.width) != (recipe.image_size, recipe.image_size):
        reasons.append(
            f"the recipe asks for image_size {recipe.image_size}, the images are prepared {spec.height}x{spec.width}"
        )
    if recipe.color_mode is not None and recipe.color_mode != spec.color_mode:
        reasons.append(f"the recipe asks for {recipe.color_mode}, the images are prepared {spec.color_mode}")
    if reasons:
        raise RecipeError(
            f"The recipe {recipe.name!r} does not fit the images: {'; '.join(reasons)}",
            do="prepare the images in another size, or change the recipe",
        )


def unused_settings(model: str) -> set[str]:
    """Return the recipe fields that some other model uses and this one does not."""
    return {name for one in PRESETS.values() for name in one.uses} - set(PRESETS[model].uses)
