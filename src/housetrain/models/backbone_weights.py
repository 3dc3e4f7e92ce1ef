"""The weights of backbones: drawn, read from a package, a download, a file or a run; and which of them are trained.

In: a model around a backbone's features, where its weights come from. Out: the same model with them, frozen as transfer
learning needs it. Does not know: class names, optimizers, run folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from housetrain.errors import DownloadError, ModelError, one_line
from housetrain.models import efficientnet_lite
from housetrain.models.backbones import BACKBONES, IMAGENET, LITE, NONE, base_layers, to_bgr
from housetrain.models.pretrained_weights import load_pretrained
from housetrain.system.backend import load_keras

_GIVE = ", or give its place with --weights PATH"


def flattened(model: Any) -> Any:
    """Return ``model`` with the layers of nested `keras.Sequential` parts as its own, as Grad-CAM needs them."""
    keras = load_keras("building a net")
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


def _seed_weights(model: Any, seed_of: Callable[[str], int]) -> None:
    """Draw the backbone's kernels anew, each from its own seed: a recipe gives the same initial weights anywhere."""
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
            seeded = type(given).from_config(given.get_config() | {"seed": seed_of(f"{layer.name}/{kernel}")})
            weight.assign(seeded(weight.shape, dtype="float32"))


def _freeze(model: Any, unfreeze: int) -> None:
    """Freeze the backbone but for its last layers. Batch norm stays as it is, in inference mode, everywhere."""
    keras = load_keras("building a net")
    layers = base_layers(model)
    first = len(layers) - unfreeze
    for number, layer in enumerate(layers):
        layer.trainable = number >= first and not isinstance(layer, keras.layers.BatchNormalization)
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # the tutorials call the base with training=False: none of its dropout


def finish(model: Any, name: str, *, weights: str, unfreeze: int, seed_of: Callable[[str], int]) -> Any:
    """Return ``model`` with the backbone's weights put in and its layers frozen as transfer learning wants them.

    Args:
        model: What `models.build` built around `features_of`.
        name: In `BACKBONES`.
        weights: ``"none"`` draws them, for training from nothing; else see `load_weights`.
        unfreeze: How many of the backbone's last layers are trained, where it is pretrained.
        seed_of: Layer name -> seed.

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The weights are missing or those of another net.
    """
    if weights not in (NONE, IMAGENET) and weights_file(weights).suffix == ".keras":
        model = flattened(model)
        _load_run(model, weights_file(weights))
    elif weights != NONE:
        load_weights(model, name, weights)
        model = flattened(model)
    else:
        model = flattened(model)
        _seed_weights(model, seed_of)
        return model
    _freeze(model, unfreeze)
    return model


def load_weights(model: Any, name: str, weights: str) -> None:
    """Put ImageNet's weights, or those of a file, into the backbone of ``model``.

    Args:
        model: A model around `features_of`, not `flattened`.
        name: In `BACKBONES`.
        weights: ``"imagenet"``, which downloads through Keras; or a file of weights without the top as Keras writes it
            (``.weights.h5``, or the older ``.h5``).

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The file is missing or holds other weights.
    """
    keras = load_keras("building a net")
    layers = base_layers(model)
    if weights == IMAGENET and BACKBONES[name].application == LITE:
        efficientnet_lite.put_tensors(model, name, load_pretrained(name))
        return
    if weights == IMAGENET:
        with fetching(f"the ImageNet weights of {name}", BACKBONES[name].file, or_else=_GIVE):
            whole = getattr(keras.applications, BACKBONES[name].application)(
                include_top=False, weights=IMAGENET, input_shape=(*model.input_shape[1:3], 3), pooling="avg"
            )
        values = iter(whole.get_weights())
        for layer in layers:
            layer.set_weights([next(values) for _ in layer.weights])
        return
    path = weights_file(weights)
    # The same layers as the file knows them: without ours in front.
    view = keras.Model(layers[0].input, layers[-1].output)
    with _fitting(f"weights of keras.applications.{BACKBONES[name].application}(include_top=False)", path):
        view.load_weights(path)


def _load_run(model: Any, path: Path) -> None:
    """Put the weights of a run's ``model.keras`` into ``model``, head included. Only numbers are read, no layers."""
    keras = load_keras("building a net")
    head = model.get_layer("probability")
    # Without augmentation and dropout, which a model for use does not have.
    view = keras.Model(model.get_layer("scale").output, head(base_layers(model)[-1].output))
    with _fitting("the model.keras of a run of the same model and classes", path):
        view.load_weights(path)


@contextlib.contextmanager
def _fitting(expected: str, path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"The weights do not fit: {first_line(error)}", expected=expected, weights=str(path)
        ) from error


def weights_file(weights: str) -> Path:
    """Return the file that ``weights`` names.

    Raises:
        ModelError: There is none, or Keras does not read its kind.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ModelError(
            "There is no such weights file",
            expected="imagenet, none, or a file as model.save_weights writes it",
            do="give its path with --weights",
            weights=weights,
        )
    if not path.name.endswith((".h5", ".hdf5", ".keras")):
        raise ModelError(
            "This is no weights file of Keras", expected="a file ending .weights.h5 or .h5", weights=weights
        )
    return path


@contextlib.contextmanager
def fetching(what: str, file: str, *, or_else: str = "") -> Iterator[None]:
    """Inside, Keras may download a file; what it prints goes to standard error, what fails is one line.

    Args:
        what: For the error: what the file holds.
        file: Its name in Keras' cache.
        or_else: For the error: another thing to do about it.

    Raises:
        DownloadError: The file could not be fetched, or is another one.
    """
    place = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / file
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that other sizes than 224 take the same weights
            yield
    except Exception as error:
        address = re.search(r"https?://\S+", str(error))
        raise DownloadError(
            f"Cannot fetch {what}: {first_line(error)}",
            do=f"try again; or fetch {address[0].rstrip(':.,') if address else file} another way and put it at {place}"
            f"{or_else}",
            file=file,
        ) from error


def classifier(name: str, weights: str) -> Any:
    """Return the whole net of ImageNet: uint8 images of its own size in, 1000 probabilities out.

    Args:
        name: In `BACKBONES`.
        weights: ``"imagenet"``, or a file of weights with the top.

    Raises:
        DownloadError: The download failed; the message says what to do.
        ModelError: The file is missing or holds other weights.
    """
    keras = load_keras("classifying")
    backbone = BACKBONES[name]
    if backbone.application == LITE:
        if weights != IMAGENET:
            raise ModelError("This model has no weights files", expected="imagenet", model=name, weights=weights)
        return efficientnet_lite.build(name, tensors=load_pretrained(name), include_top=True)
    application = getattr(keras.applications, backbone.application)
    if weights == IMAGENET:
        with fetching(f"the ImageNet weights of {name}", backbone.whole_file, or_else=_GIVE):
            net = application(weights=IMAGENET)
    else:
        path = weights_file(weights)
        with _fitting(f"weights of keras.applications.{backbone.application}, with its top", path):
            net = application(weights=path)
    inputs = x = keras.Input((backbone.side, backbone.side, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(backbone.scale, backbone.offset, name="scale")(x)
    return keras.Model(inputs, net(x if backbone.means is None else to_bgr(x, backbone.means)))


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
