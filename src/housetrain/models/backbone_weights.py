"""The weights of backbones: random, or from a package, a download, a file or a run; and which of them are trained.

In: a model around a backbone, where its weights come from. Out: the same model with these weights, frozen as transfer
learning needs it. Does not know: class names, optimizers, run folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from housetrain.errors import DownloadError, ModelError, one_line
from housetrain.models import efficientnet_lite
from housetrain.models.backbones import BACKBONES, IMAGENET, NONE, Application, application, base_layers, to_bgr
from housetrain.models.keras_layers import keras_model, layer_seed
from housetrain.models.layers import Graph
from housetrain.models.pretrained_weights import load_pretrained
from housetrain.system.backend import load_keras

_OR_WEIGHTS = ", or pass its path with --weights PATH"


def flattened(model: Any) -> Any:
    """Return ``model`` with the layers of nested `keras.Sequential` parts as its own, as Grad-CAM needs them."""
    keras = load_keras("building a model")
    if not any(isinstance(layer, keras.Sequential) for layer in model.layers):
        return model

    def copied(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config())

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(layer, keras.Sequential):
            return layer(*args, **kwargs)
        (x,) = args
        for inner in layer.layers:
            x = copied(inner)(x)
        return x

    flat = keras.models.clone_model(model, clone_function=copied, call_function=call)
    flat.set_weights(model.get_weights())
    return flat


def _seed_weights(model: Any, seed: int) -> None:
    """Set the backbone's kernels from seeds of their own: a recipe gives the same initial weights in any process."""
    for layer in base_layers(model):
        for kernel, initializer in (
            ("kernel", "kernel_initializer"),
            ("kernel", "depthwise_initializer"),
            ("depthwise_kernel", "depthwise_initializer"),
            ("pointwise_kernel", "pointwise_initializer"),
        ):
            weight, given = getattr(layer, kernel, None), getattr(layer, initializer, None)
            if weight is None or given is None:
                continue
            seeded = type(given).from_config(given.get_config() | {"seed": layer_seed(seed, f"{layer.name}/{kernel}")})
            weight.assign(seeded(weight.shape, dtype="float32"))


def _freeze(model: Any, unfreeze: int) -> None:
    """Freeze the backbone except its last layers. Batch norm stays frozen, in inference mode, everywhere."""
    keras = load_keras("building a model")
    layers = base_layers(model)
    first = len(layers) - unfreeze
    for number, layer in enumerate(layers):
        layer.trainable = number >= first and not isinstance(layer, keras.layers.BatchNormalization)
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # the tutorials call the base with training=False: none of its dropout


def finish(model: Any, name: str, *, weights: str, unfreeze: int, seed: int) -> Any:
    """Return ``model`` with the backbone's weights, its layers frozen as transfer learning needs them.

    Args:
        model: A model around the backbone, as `keras_model` builds it.
        name: In `BACKBONES`.
        weights: ``"none"`` for random ones, to train from scratch; a run's ``model.keras``; else see `load_weights`.
        unfreeze: How many of the backbone's last layers are trained, where it is pretrained.
        seed: Of random weights.

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The weights are missing or those of another model.
    """
    if weights not in (NONE, IMAGENET) and weights_file(weights).suffix == ".keras":
        model = flattened(model)
        _load_run(model, weights_file(weights))
    elif weights != NONE:
        load_weights(model, name, weights)
        model = flattened(model)
    else:
        model = flattened(model)
        _seed_weights(model, seed)
        return model
    _freeze(model, unfreeze)
    return model


def load_weights(model: Any, name: str, weights: str) -> None:
    """Set the weights of the backbone of ``model`` to those of ImageNet, or of a file.

    Args:
        model: A model around the backbone, not `flattened`.
        name: In `BACKBONES`.
        weights: ``"imagenet"``, from the installed package or downloaded by Keras; or a file of weights without the
            top as Keras writes it (``.weights.h5``, or the older ``.h5``).

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The file is missing or holds other weights.
    """
    keras = load_keras("building a model")
    layers, source = base_layers(model), BACKBONES[name].source
    if not isinstance(source, Application):
        if weights == IMAGENET:
            efficientnet_lite.put_tensors(model, name, load_pretrained(name))
            return
    elif weights == IMAGENET:
        with fetching(f"the ImageNet weights of {name}", source.file, or_else=_OR_WEIGHTS):
            whole = application(name)(
                include_top=False, weights=IMAGENET, input_shape=(*model.input_shape[1:3], 3), pooling="avg"
            )
        values = iter(whole.get_weights())
        for layer in layers:
            layer.set_weights([next(values) for _ in layer.weights])
        return
    path = weights_file(weights)
    # The same layers as the file knows them: without ours in front.
    view = keras.Model(layers[0].input, layers[-1].output)
    title = f"keras.applications.{source.function}(include_top=False)" if isinstance(source, Application) else name
    with _matching(f"weights of {title}", path):
        view.load_weights(path)


def _load_run(model: Any, path: Path) -> None:
    """Set the weights of ``model``, head included, to those of a run's ``model.keras``. No layers are read."""
    keras = load_keras("building a model")
    head = model.get_layer("probability")
    # Without augmentation and dropout, which a model for use does not have.
    view = keras.Model(model.get_layer("scale").output, head(base_layers(model)[-1].output))
    with _matching("the model.keras of a run of the same model and classes", path):
        view.load_weights(path)


@contextlib.contextmanager
def _matching(expected: str, path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"The weights do not match the model: {first_line(error)}", expected=expected, weights=str(path)
        ) from error


def weights_file(weights: str) -> Path:
    """Return the file that ``weights`` names.

    Raises:
        ModelError: There is none, or its name is not that of a weights file.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ModelError(
            "The weights file does not exist",
            expected="imagenet, none, or a file as model.save_weights writes it",
            do="pass its path with --weights",
            weights=weights,
        )
    if not path.name.endswith((".h5", ".hdf5", ".keras")):
        raise ModelError(
            "Unknown kind of weights file", expected="a file ending .weights.h5, .h5 or .keras", weights=weights
        )
    return path


@contextlib.contextmanager
def fetching(what: str, file: str, *, or_else: str = "") -> Iterator[None]:
    """Let Keras download a file: it prints to standard error, and a failure is one line.

    Args:
        what: For the error: what the file holds.
        file: Its name in Keras' cache.
        or_else: For the error: another way to get it.

    Raises:
        DownloadError: The file could not be fetched, or is another one.
    """
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111 - never fails
    place = Path(home, "models", file)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other image sizes than 224, which use the same weights
            yield
    except Exception as error:
        address = re.search(r"https?://\S+", str(error))
        raise DownloadError(
            f"Cannot download {what}: {first_line(error)}",
            do=f"try again; or download {address[0].rstrip(':.,') if address else file} another way and put it at "
            f"{place}{or_else}",
            file=file,
        ) from error


def classifier(name: str, weights: str) -> Any:
    """Return a whole model of ImageNet: uint8 images of its own size in, 1,000 probabilities out.

    Args:
        name: In `BACKBONES`.
        weights: ``"imagenet"``, or a file of weights with the top.

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The file is missing or holds other weights.
    """
    keras = load_keras("classifying")
    backbone = BACKBONES[name]
    if not isinstance(backbone.source, Application):
        if weights != IMAGENET:
            raise ModelError("This model has no weights files", expected="imagenet", model=name, weights=weights)
        model = lite_model(name, backbone.side, include_top=True)
        efficientnet_lite.put_tensors(model, name, load_pretrained(name))
        return model
    if weights == IMAGENET:
        with fetching(f"the ImageNet weights of {name}", backbone.source.whole_file, or_else=_OR_WEIGHTS):
            whole = application(name)(weights=IMAGENET)
    else:
        path = weights_file(weights)
        with _matching(f"weights of keras.applications.{backbone.source.function}, with its top", path):
            whole = application(name)(weights=path)
    inputs = x = keras.Input((backbone.side, backbone.side, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(backbone.scale, backbone.offset, name="scale")(x)
    return keras.Model(inputs, whole(x if backbone.means is None else to_bgr(x, backbone.means)))


def lite_model(name: str, size: int | tuple[int, int], *, include_top: bool, activation: str = "softmax") -> Any:
    """Return a whole EfficientNet-Lite with random weights: uint8 images in, features or ImageNet outputs out.

    Args:
        name: In `BACKBONES`, of this family.
        size: Side of the images in pixels, or (height, width).
        include_top: Whether to end with the 1,000 classes of ImageNet instead of 1,280 pooled features.
        activation: Of the 1,000 outputs: ``"softmax"`` gives probabilities, ``"linear"`` gives logits.
    """
    backbone, graph = BACKBONES[name], Graph()
    x = graph.add("InputLayer", name="image", shape=(*((size, size) if isinstance(size, int) else size), 3))
    x = graph.add("Rescaling", x, name="scale", scale=backbone.scale, offset=backbone.offset)
    x = efficientnet_lite.features_of(graph, x, name)
    if include_top:
        graph.dense(x, 1000, activation=activation, name=efficientnet_lite.TOP)
    return keras_model(graph.layers, name=name)


def fingerprint(model: Any) -> str:
    """Return 64 hex digits over the backbone's weights: equal weights make equal features."""
    found = hashlib.sha256()
    for layer in base_layers(model):
        for value in layer.get_weights():
            found.update(value.data if value.flags.c_contiguous else value.tobytes())
    return found.hexdigest()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return one_line(text[:200])
