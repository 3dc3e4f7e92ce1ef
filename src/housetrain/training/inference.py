"""Inference: a Keras model over many pictures, as fast as the machine can.

In: a Keras model that takes uint8 pictures, batches of them. Out: its answers, in order, with a bounded number of
batches on the way. Does not know: what the answers mean, where they are kept.

On a CPU OpenVINO computes, in bfloat16 where the chip multiplies it natively; on a GPU, and where OpenVINO is not
installed or does not agree with Keras on some pictures, Keras does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from housetrain.backend import load_keras, load_openvino
from housetrain.errors import MissingExtra

Precision = Literal["auto", "float32", "bfloat16"]
Pictures = NDArray[np.uint8]
Answers = NDArray[np.float32]

BATCH = 16
"""Pictures a request on a CPU: larger batches leave the cache and are slower, smaller ones do too little at a time."""
_GPU_BATCH = 128
_SMALLEST_COSINE = {"float32": 0.9999, "bfloat16": 0.99}
_CHECKED = 4  # pictures on which an engine must agree with Keras


class Inference(Protocol):
    """Something that computes a model's answers."""

    name: str
    """For a person: ``"OpenVINO bfloat16"``."""
    precision: str
    """``"float32"`` or ``"bfloat16"``."""
    batch: int
    """Pictures to give at a time."""

    def answers(self, batches: Iterable[Pictures]) -> Iterator[Answers]:
        """Yield the answers of each batch, in order.

        Args:
            batches: uint8 (n, height, width, channels), n at most ``batch``.

        Returns:
            float32 (n, outputs) for each.
        """
        ...


def inference_of(model: Any, *, precision: Precision = "auto", sample: Pictures | None = None) -> Inference:
    """Return the fastest engine for ``model`` on this machine.

    Args:
        model: A Keras model, uint8 pictures in, (batch, outputs) out.
        precision: What the layers compute in. ``"auto"``: bfloat16 where the chip is made for it.
        sample: A few real pictures; an engine that does not agree with Keras on them is not used.
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
        model: uint8 pictures in.
    """

    precision = "float32"

    def __init__(self, model: Any) -> None:
        keras = load_keras("computing features")
        self.model = model
        self.name = f"Keras on {keras.backend.backend()}"
        self.batch = _GPU_BATCH if _on_gpu() else 2 * BATCH

    def answers(self, batches: Iterable[Pictures]) -> Iterator[Answers]:
        """See `Inference.answers`."""
        for pictures in batches:
            count = len(pictures)
            # Always one size: each new one would be traced and compiled.
            yield np.asarray(self.model.predict_on_batch(_padded(pictures, self.batch)), dtype=np.float32)[:count]


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

    def answers(self, batches: Iterable[Pictures]) -> Iterator[Answers]:
        """See `Inference.answers`."""
        done: dict[int, Answers] = {}
        counts: deque[int] = deque()
        first = 0  # number of the batch that is to be given next

        def take(request: Any, number: int) -> None:
            done[number] = request.get_output_tensor(0).data.copy()

        self._queue.set_callback(take)
        try:
            for number, pictures in enumerate(batches):
                counts.append(len(pictures))
                self._queue.start_async({0: _padded(pictures, BATCH)}, number)  # waits while all requests are busy
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
    function = tf.function(lambda pictures: model(pictures, training=False), input_signature=[shape], autograph=False)
    return openvino.convert_model(function.get_concrete_function())


def _agrees(engine: Inference, model: Any, pictures: Pictures) -> bool:
    """Return whether an engine gives nearly what Keras gives: the angle between the two answers is small."""
    (found,) = engine.answers([pictures])
    wanted = np.asarray(load_keras("computing features").ops.convert_to_numpy(model(pictures, training=False)))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = (found * wanted).sum(axis=1) / np.maximum(lengths, 1e-30)
    return bool((cosine > _SMALLEST_COSINE[engine.precision]).all())


def _padded(pictures: Pictures, size: int) -> Pictures:
    missing = size - len(pictures)
    if not missing:
        return np.ascontiguousarray(pictures)
    return np.concatenate([pictures, np.zeros((missing, *pictures.shape[1:]), np.uint8)])


def _on_gpu() -> bool:
    keras = load_keras("computing features")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    try:
        return any("cpu" not in str(device).lower() for device in keras.distribution.list_devices())
    except (ImportError, RuntimeError, ValueError, AttributeError):
        return False
