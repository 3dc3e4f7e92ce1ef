"""A Keras model of your own, checked and made ready for training.

In: a built `keras.Model`. Out: its file in the run folder, from which the same run resumes after a kill; the models
that `Epochs` fits. It does not know optimizers, or how batches are made.

The model is trained as it is: its layers, its weights, its dtypes. It takes the prepared images, ``(batch, height,
width, channels)`` with values 0 to 255, as uint8 or float32: put a `keras.layers.Rescaling` into it. It returns
probabilities: one sigmoid unit for two classes, the probability of the second; else one softmax unit per class. It
consists of built-in Keras layers, because only those can be loaded without running code from the file.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import ModelError
from housetrain.inference.formats import keras as keras_format
from housetrain.system import store
from housetrain.training.batches import Examples

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.images.input_spec import InputSpec
    from housetrain.training.epochs import Material
    from housetrain.training.trainer import Trainer

FILE = "own_model.keras"
"""The model as it was given, in the run folder."""


def check_model(model: Any, *, spec: InputSpec, classes: int) -> None:
    """Check that a model fits the images and the classes.

    Args:
        model: A built functional or sequential Keras model.
        spec: The images.
        classes: Number of classes, 2 or more.

    Raises:
        ModelError: Naming what does not fit, and what was expected.
    """
    import keras

    if not isinstance(model, keras.Model) or not model.built or len(getattr(model, "inputs", None) or ()) != 1:
        raise ModelError(
            "The model cannot be trained",
            expected="a built Keras model with one input, functional or sequential",
            do="give it an Input layer with the shape of the images",
            model=type(model).__name__,
            input_shape=(None, *spec.shape),
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or any(size not in (None, wanted) for size, wanted in zip(shape[1:], spec.shape, strict=True)):
        raise ModelError(
            "The model's input does not have the shape of the prepared images",
            expected=str((None, *spec.shape)),
            do="build it with that input shape, or prepare the images in another size or color_mode",
            input_shape=shape,
        )
    units = 1 if classes == 2 else classes
    if len(model.outputs) != 1 or tuple(model.outputs[0].shape) != (None, units):
        raise ModelError(
            "The model's output does not fit the classes",
            expected=f"one output of shape {(None, units)}: " + ("one sigmoid unit for two classes" if units == 1 else
                                                                "one softmax unit per class"),
            classes=classes,
            output_shape=tuple(model.outputs[0].shape),
        )  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (2, *spec.shape), dtype=np.uint8)
    problems = sorted(set(keras_format.unknown_classes(_config(model))))
    if problems:
        raise ModelError(
            f"The model holds {'; '.join(problems[:5])}",
            expected="only built-in Keras layers: others cannot be loaded from a file without running its code",
            do="replace a Lambda by built-in layers, for example Rescaling",
            model=model.name,
        )
    outputs = np.asarray(keras.ops.convert_to_numpy(model(images, training=False)), dtype=np.float64)
    sums = np.ones(2) if units == 1 else outputs.sum(axis=1)
    if not (np.isfinite(outputs).all() and (outputs >= 0).all() and (outputs <= 1.0001).all()
            and np.allclose(sums, 1, atol=0.02)):  # fmt: skip
        raise ModelError(
            "The model's outputs are not probabilities",
            expected="values from 0 to 1" + ("" if units == 1 else " whose sum is 1"),
            do=f"end it with a {'sigmoid' if units == 1 else 'softmax'} activation",
            smallest=float(outputs.min()),
            largest=float(outputs.max()),
        )


def save_model(model: Any, folder: Path) -> None:
    """Write the model into a run folder, without optimizer and loss: those of the recipe are used.

    Raises:
        DiskFull: It cannot be written.
    """
    path = folder / FILE
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    with store.disk_errors(path), store.replacing(path) as temporary:
        copy.save(temporary)


def config_sha256(model: Any) -> str:
    """Return a hash of the model's architecture that does not depend on the names Keras numbered its layers with."""
    names: dict[str, str] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], f"layer-{len(names)}")
            return {key: renamed(item) for key, item in value.items() if key != "build_config"}
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    return hashlib.sha256(json.dumps(renamed(_config(model)), sort_keys=True).encode()).hexdigest()


def _config(model: Any) -> dict[str, Any]:
    """Return the model's architecture as JSON-plain values, without what it was compiled with."""
    described = json.loads(model.to_json())
    return {key: described[key] for key in ("module", "class_name", "config")}


def own_material(folder: Path, prepared: Prepared, seed: int, trainer: Trainer, precision: str) -> Material:
    """Return the model of a run folder as `Epochs` fits it.

    Args:
        folder: The run folder, with the file of `save_model`.
        prepared: The images.
        seed: Of the model's random layers that have no seed of their own.
        trainer: Not used.
        precision: Not used; the model has its own dtypes.
    """
    import keras

    from housetrain.training.epochs import Material

    before = random.getstate()
    random.seed(seed)  # Keras draws the seeds of random layers from Python's generator
    try:
        given = keras.models.load_model(folder / FILE, compile=False)
        trained, saved = _on_uint8(given, prepared.spec), _on_uint8(given, prepared.spec)
    finally:
        random.setstate(before)
    train, validation = prepared.train, prepared.validation
    return Material(
        trained,
        saved,
        saved,
        Examples(train.images, train.labels),
        Examples(validation.images, validation.labels),
        str(trained.layers[-1].compute_dtype),
    )


def _on_uint8(model: Any, spec: InputSpec) -> Any:
    """Return the model with uint8 images as its input, like every model of a run."""
    import keras

    dtype = str(model.inputs[0].dtype)
    image = keras.Input(spec.shape, dtype="uint8", name="image")
    pixels = image if dtype == "uint8" else keras.layers.Rescaling(1.0, dtype=dtype, name="pixels")(image)
    made: dict[str, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        made[layer.name] = layer(*args, **kwargs)
        return made[layer.name]

    flat = keras.Model(model.inputs, model.outputs)  # functional, also where the model is sequential
    keras.models.clone_model(flat, input_tensors=[pixels], call_function=call)
    last = flat.outputs[0]._keras_history.operation.name
    copy = keras.Model(image, made[last], name=model.name)
    copy.set_weights(model.get_weights())
    return copy
