"""Build: a recipe -> a Keras model.

In: a `Recipe`, the `InputSpec` of the images, the class names.
Out: an uncompiled functional model: uint8 images in, probabilities out; scaling and augmentation are layers inside.
Does not know: the images, optimizers, run folders. It changes nothing global: no seed, no dtype policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from housetrain.errors import ModelError, RecipeError
from housetrain.models import backbone_weights
from housetrain.models.backbones import BACKBONES, ENCODER
from housetrain.models.keras_layers import keras_model, layer_seed
from housetrain.models.nets import check_feasible, layers_of
from housetrain.system.backend import load_keras

load_keras("building a model")
import keras  # noqa: E402, TID253 - this module is imported only where a model is built

from housetrain.models.augment import Augment  # noqa: E402

if TYPE_CHECKING:
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe


def build(
    recipe: Recipe,
    *,
    spec: InputSpec,
    classes: Sequence[str],
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Any:
    """Return the untrained model of ``recipe``.

    Args:
        recipe: Which model, and with which augmentation, dropout and seed. The same recipe gives the same weights.
        spec: The images: the input is uint8 of shape ``(batch, height, width, channels)``, 0 to 255.
        classes: Class names. Two end in one sigmoid unit, the probability of the second; more in as many softmax units.
        precision: Compute type of the layers inside. Weights and the output stay float32.

    Returns:
        An uncompiled `keras.Model`; the output is float32, ``(batch, 1)`` or ``(batch, len(classes))``.

    Raises:
        RecipeError: The model does not fit the images, or is an encoder of the user's own.
        ModelError: Fewer than two classes, or the pretrained weights are missing or do not match.
        DownloadError: The pretrained weights could not be fetched.
    """
    check_feasible(recipe, spec)
    if recipe.model == ENCODER:
        raise RecipeError("An encoder of your own is no Keras model", expected="another model", model=recipe.model)
    if len(classes) < 2:
        raise ModelError("A classifier needs two classes", expected="two or more class names", classes=tuple(classes))

    augment = None
    if recipe.augments or recipe.progressive < 1:
        amounts = recipe.model_dump(include={"flip", "shift", "rotate", "zoom", "stretch", "contrast", "erase"})
        augment = Augment(**amounts, seed=layer_seed(recipe.seed, "augment"), name="augment", dtype="float32")
    model = keras_model(
        layers_of(recipe, spec, len(classes)),
        name=_identifier(recipe.name),
        dtype="mixed_bfloat16" if precision == "bfloat16" else "float32",
        seed=recipe.seed,
        first=augment,
    )
    if recipe.model not in BACKBONES:
        return model
    return backbone_weights.finish(
        model, recipe.model, weights=recipe.weights, unfreeze=recipe.unfreeze, seed=recipe.seed
    )


def for_inference(model: Any) -> Any:
    """Return a copy of ``model`` for use: the same weights, no augmentation, float32 throughout.

    The copy holds only Keras' own layers, so its file loads with plain Keras, and it computes the same on a machine
    without bfloat16.

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


def _identifier(name: str) -> str:
    """Return ``name`` as TensorFlow accepts it for a scope: ``3-conv-...`` may not begin with a digit there."""
    return name if name[0].isalpha() else f"net-{name}"
