"""What turns prepared images into probabilities: one tiny protocol, one implementation per kind of model file.

In: uint8 images (N, H, W, C). Out: float32 probabilities (N, classes). It does not know where images come from,
what the classes are called, or whether the model file can be trusted (``verify.py`` says so first).

TensorFlow or another Keras backend is imported when a Keras engine is made, and nowhere else in this package of rooms.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError
from housetrain.system.backend import load_keras

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

FLOAT32_TOLERANCE = 2e-3
"""How far a probability may be from what another machine computed in float32 (other kernels, TF32 on GPUs)."""
BFLOAT16_TOLERANCE = 3e-2
"""The same where layers compute in 16 bits: bfloat16 keeps 8 significant bits, so a logit is known to about 1 %."""


class Engine(Protocol):
    """A loaded model. Anything with this method will do; tests pass their own."""

    def probabilities(self, images: Images) -> Probabilities:
        """Return the probability of every class.

        Args:
            images: uint8, (N, height, width, channels), as the model eats them; N may change from call to call,
                but every new N may cost a compilation.

        Returns:
            float32, (N, classes), rows summing to 1.
        """
        ...


def class_probabilities(outputs: NDArray[Any], classes: int) -> Probabilities:
    """Return one probability per class from what a model gives: the one place that knows about the single sigmoid.

    Args:
        outputs: (N, classes) softmax probabilities; or (N, 1) or (N,), for two classes, the probability of the second.
        classes: Number of classes, two or more.

    Returns:
        float32, (N, classes).

    Raises:
        ModelError: The outputs do not fit the number of classes.
    """
    values = np.asarray(outputs, dtype=np.float32)
    if classes == 2 and values.ndim in (1, 2) and values.size == len(values):
        second = values.reshape(-1)
        return np.stack([np.float32(1) - second, second], axis=1)
    if values.ndim != 2 or values.shape[1] != classes:
        raise ModelError(
            "The model's output does not fit its class names",
            expected=f"{classes} probabilities an image" + (", or one" if classes == 2 else ""),
            shape=tuple(values.shape),
        )
    return values


class KerasEngine:
    """A Keras model on whichever backend is set up.

    Args:
        model: A `keras.Model` that takes uint8 images and has its scaling inside.
        classes: Number of classes.
    """

    def __init__(self, model: Any, classes: int) -> None:
        self.model = model
        self.classes = classes

    @classmethod
    def load(cls, path: Path, *, classes: int, input_shape: tuple[int, int, int], trusted: bool = False) -> KerasEngine:
        """Load a ``.keras`` file after `keras_file.check_keras_file` has looked into it.

        Args:
            path: The file.
            classes: Number of classes it must tell apart.
            input_shape: (height, width, channels) it must take.
            trusted: The bytes already agreed with a sha256 manifest, so that the archive's own sums need no reading.

        Raises:
            ModelError: The file is refused, or does not load, or does not fit.
            MissingExtra: No Keras, or no backend for it, is installed.
        """
        from housetrain.inference.keras_file import check_keras_file

        check_keras_file(path, checksums=not trusted)
        keras = load_keras("predicting with a Keras model")
        logging.getLogger("tensorflow").addFilter(_not_about_retracing)
        try:
            # safe_mode is a block-list; the allow-list of check_keras_file is what keeps code out.
            model = keras.models.load_model(path.absolute(), compile=False, safe_mode=True)
        except Exception as error:
            raise ModelError(
                f"Keras {keras.__version__} cannot load the model: {type(error).__name__}: {_first_line(error)}",
                do="export it anew, or install the version of Keras that wrote it",
                path=str(path),
            ) from error
        shape = tuple(getattr(model, "input_shape", ()) or ())
        if shape[1:] != input_shape:
            raise ModelError(
                "The model eats another shape than its input spec says", expected=f"{input_shape}", shape=shape[1:]
            )
        outputs = tuple(getattr(model, "output_shape", ()) or ())
        if len(outputs) != 2 or (outputs[1] != classes and (outputs[1], classes) != (1, 2)):
            raise ModelError(
                "The model's output does not fit its class names", expected=f"{classes} classes", shape=outputs[1:]
            )
        return cls(model, classes)

    @property
    def tolerance(self) -> float:
        """How far another machine's probabilities may be: 16-bit layers are allowed more than float32 ones."""
        todo, sixteen_bit = [self.model], False
        while todo:
            layer = todo.pop()
            todo += getattr(layer, "layers", [])
            sixteen_bit |= getattr(layer, "compute_dtype", "float32") in ("bfloat16", "float16")
        return BFLOAT16_TOLERANCE if sixteen_bit else FLOAT32_TOLERANCE

    def probabilities(self, images: Images) -> Probabilities:
        """Return float32 (N, classes) for uint8 (N, H, W, C): see `Engine`."""
        if len(images) == 0:
            return np.empty((0, self.classes), np.float32)
        return class_probabilities(self.model.predict_on_batch(np.ascontiguousarray(images)), self.classes)


def _not_about_retracing(record: logging.LogRecord) -> bool:
    """Two models and a few batch sizes are enough for TensorFlow to warn that it compiles often. It must, once each."""
    return "tf.function retracing" not in str(record.msg)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no message"
