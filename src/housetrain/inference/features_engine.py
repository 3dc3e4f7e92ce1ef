"""Inference: a Keras model over many images, as fast as the machine can.

In: a Keras model that takes uint8 images, batches of them. Out: its answers, in order, with a bounded number of
batches on the way. Does not know: what the answers mean, where they are kept.

On a CPU OpenVINO computes, in bfloat16 where the chip multiplies it natively; on a GPU, and where OpenVINO is not
installed or does not agree with Keras on some images, Keras does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import MissingExtra
from housetrain.system.backend import load_keras, load_openvino

Precision = Literal["auto", "float32", "bfloat16"]
Images = NDArray[np.uint8]
Answers = NDArray[np.float32]

BATCH = 16
"""Images a request on a CPU: larger batches leave the cache and are slower, smaller ones do too little at a time."""
_GPU_BATCH = 128
_SMALLEST_COSINE = {"float32": 0.9999, "bfloat16": 0.99}
_CHECKED = 4  # images on which an engine must agree with Keras


class Inference(Protocol):
    """Something that computes a model's answers."""

    name: str
    """For a person: ``"OpenVINO bfloat16"``."""
    precision: str
    """``"float32"`` or ``"bfloat16"``."""
    batch: int
    """Images to give at a time."""

    def answers(self, batches: Iterable[Images]) -> Iterator[Answers]:
        """Yield the answers of each batch, in order.

        Args:
            batches: uint8 (n, height, width, channels), n at most ``batch``.

        Returns:
            float32 (n, outputs) for each.
        """
        ...


def inference_of(model: Any, *, precision: Precision = "auto", sample: Images | None = None) -> Inference:
    """Return the fastest engine for ``model`` on this machine.

    Args:
        model: A Keras model, uint8 images in, (batch, outputs) out.
        precision: What the layers compute in. ``"auto"``: bfloat16 where the chip is made for it.
        sample: A few real images; an engine that does not agree with Keras on them is not used.
    """
    if not _on_gpu():
        with contextlib.suppress(MissingExtra):
            engine = OpenVinoInference.of(model, precision=precision)
            if engine is not None and (sample is None or _agrees(engine, model, sample[:_CHECKED])):
                return engine
    return KerasInference(model)


class KerasInference:
    """Keras on whichever backend is set up.

    Args:
        model: uint8 images in.
    """

    precision = "float32"

    def __init__(self, model: Any) -> None:
        keras = load_keras("computing features")
        self.model = model
        self.name = f"Keras on {keras.backend.backend()}"
        self.batch = _GPU_BATCH if _on_gpu() else 2 * BATCH

    def answers(self, batches: Iterable[Images]) -> Iterator[Answers]:
        """See `Inference.answers`."""
        for images in batches:
            count = len(images)
            # Always one size: each new one would be traced and compiled.
            yield np.asarray(self.model.predict_on_batch(_padded(images, self.batch)), dtype=np.float32)[:count]


class OpenVinoInference:
    """OpenVINO on the CPU.

    Args:
        compiled: A model that OpenVINO compiled for batches of ``BATCH``.
        precision: What it computes in.
    """

    batch = BATCH

    def __init__(self, compiled: Any, precision: str) -> None:
        self.precision = precision
        self.name = f"OpenVINO {precision}"
        self._openvino = load_openvino("computing features")
        self._queue = self._openvino.AsyncInferQueue(compiled)

    @classmethod
    def of(cls, model: Any, *, precision: Precision = "auto") -> OpenVinoInference | None:
        """Return ``model`` compiled for this CPU, or ``None`` where it cannot be converted.

        Raises:
            MissingExtra: OpenVINO is not installed.
        """
        keras = load_keras("computing features")
        if keras.backend.backend() != "tensorflow":  # the other backends' ways to OpenVINO need TensorFlow as well
            return None
        openvino = load_openvino("computing features", converting=True)
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        chosen = "bfloat16" if native and precision != "float32" else "float32"
        with contextlib.redirect_stdout(None):
            graph = converted(model)
        graph.reshape([BATCH, *model.input_shape[1:]])
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if chosen == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        return cls(core.compile_model(graph, "CPU", options), chosen)

    def answers(self, batches: Iterable[Images]) -> Iterator[Answers]:
        """See `Inference.answers`."""
        done: dict[int, Answers] = {}
        counts: deque[int] = deque()
        first = 0  # number of the batch that is to be given next

        def take(request: Any, number: int) -> None:
            done[number] = request.get_output_tensor(0).data.copy()

        self._queue.set_callback(take)
        try:
            for number, images in enumerate(batches):
                counts.append(len(images))
                self._queue.start_async({0: _padded(images, BATCH)}, number)  # waits while all requests are busy
                while first in done:
                    yield done.pop(first)[: counts.popleft()]
                    first += 1
        finally:  # also where the reader stops early: a process must not end while requests call back into it
            self._queue.wait_all()
        while first in done:
            yield done.pop(first)[: counts.popleft()]
            first += 1


def converted(model: Any) -> Any:
    """Return a Keras model of the TensorFlow backend as an `openvino.Model`, not compiled yet, batch size open."""
    import tensorflow as tf

    openvino = load_openvino("converting a model", converting=True)
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    function = tf.function(lambda images: model(images, training=False), input_signature=[shape], autograph=False)
    return openvino.convert_model(function.get_concrete_function())


def _agrees(engine: Inference, model: Any, images: Images) -> bool:
    """Return whether an engine gives nearly what Keras gives: the angle between the two answers is small."""
    (found,) = engine.answers([images])
    wanted = np.asarray(load_keras("computing features").ops.convert_to_numpy(model(images, training=False)))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = (found * wanted).sum(axis=1) / np.maximum(lengths, 1e-30)
    return bool((cosine > _SMALLEST_COSINE[engine.precision]).all())


def _padded(images: Images, size: int) -> Images:
    missing = size - len(images)
    if not missing:
        return np.ascontiguousarray(images)
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])


def _on_gpu() -> bool:
    keras = load_keras("computing features")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    try:
        return any("cpu" not in str(device).lower() for device in keras.distribution.list_devices())
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return False
