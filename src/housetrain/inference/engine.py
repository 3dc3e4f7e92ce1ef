"""The engine: prepared images in, model outputs out, the same for every library.

In: uint8 images (N, H, W, C). Out: float32 outputs (N, units). Does not know: class names, image files, bundles, or
whether a model file can be trusted (`formats` checks that before it loads one).

Each file of `housetrain.inference.formats` loads one `LoadedModel`. Nothing here imports a machine learning library.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError

Images = NDArray[np.uint8]
Outputs = NDArray[np.float32]
Probabilities = NDArray[np.float32]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
Shape = tuple[int, int, int]

_AHEAD = 1  # batches that wait while all requests are busy
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Engine(Protocol):
    """A model that is ready to run. Tests implement this protocol themselves.

    Attributes:
        name: For people, such as ``"OpenVINO bf16"``.
        precision: What the layers compute in.
        parallel: Number of `run` calls that proceed at the same time; further calls wait.
    """

    name: str
    precision: Precision
    parallel: int

    def run(self, images: Images) -> Outputs:
        """Return the model's outputs.

        Args:
            images: uint8 (N, height, width, channels), N at least 1. Each new N may cost a compilation.

        Returns:
            float32 (N, units).
        """
        ...

    def close(self) -> None:
        """Release the model and its library's resources. Closing twice is allowed."""
        ...


class Port(NamedTuple):
    """An input or output of a model: its shape, with ``None`` for an open size, and its numpy type."""

    shape: tuple[int | None, ...]
    dtype: Any


class LoadedModel:
    """The engine of every format. Safe to call from several threads.

    Args:
        run: Takes contiguous uint8 (N, H, W, C) and returns the outputs; or a list of them and of the features.
        name: For people.
        precision: What the layers compute in.
        model: The library's own model object.
        inputs: What the model takes.
        outputs: What it returns: the outputs, then, where it was opened so, the features: the input of its last layer.
        parallel: Number of calls of ``run`` that may proceed at the same time.
    """

    def __init__(
        self,
        run: Callable[[Images], Any],
        name: str,
        *,
        precision: Precision,
        model: Any,
        inputs: Sequence[Port] = (),
        outputs: Sequence[Port] = (),
        parallel: int = 1,
    ) -> None:
        self.name, self.precision, self.parallel = name, precision, parallel
        self.model, self.inputs, self.outputs = model, tuple(inputs), tuple(outputs)
        self._run = run
        self._free = threading.Semaphore(parallel)
        atexit.unregister(_close_all)
        atexit.register(_close_all)  # after those of the library, so that it runs before them
        _open.add(self)

    def run(self, images: Images) -> Outputs:
        """Return float32 (N, units) for uint8 (N, H, W, C). See `Engine.run`."""
        return self._results(images)[0]

    @property
    def features(self) -> int | None:
        """Number of features that `run_with_features` returns; ``None`` for a model opened without them."""
        return self.outputs[1].shape[-1] if len(self.outputs) == 2 else None

    def run_with_features(self, images: Images) -> tuple[Outputs, Outputs]:
        """Return the outputs, float32 (N, units), and the features, float32 (N, `features`)."""
        outputs, features = self._results(images)
        return outputs, features

    def _results(self, images: Images) -> list[Outputs]:
        with self._free:
            found = self._run(np.ascontiguousarray(images))
        return [np.asarray(one, dtype=np.float32) for one in (found if isinstance(found, list) else [found])]

    def close(self) -> None:
        """Release the model. See `Engine.close`."""
        self._run, self.model = _closed, None
        _open.discard(self)

    def must_fit(self, classes: int, input_shape: Shape) -> LoadedModel:
        """Return the engine itself if the model takes these images and returns a probability of each class.

        Raises:
            ModelError: The model takes or returns something else.
        """
        if len(self.inputs) != 1 or self.inputs[0] != ((None, *input_shape), np.uint8):
            raise ModelError(
                "Model input shape does not match its input spec",
                expected=f"uint8 images of shape {input_shape}, in batches of any size",
                inputs=[port.shape for port in self.inputs],
            )
        fits = len(self.outputs) in (1, 2) and len(self.outputs[0].shape) == 2 and self.outputs[0].dtype == np.float32
        units = self.outputs[0].shape[1] if fits else None
        if units != classes and (units, classes) != (1, 2):
            raise ModelError(
                "The model's output does not match its class names",
                expected=f"{classes} classes",
                outputs=[port.shape for port in self.outputs],
            )
        return self


# OpenVINO sometimes crashed (exit code 139) when Python released a compiled model during interpreter shutdown. Models
# are therefore released by an exit handler, while the interpreter and the library are still whole.
_open: weakref.WeakSet[LoadedModel] = weakref.WeakSet()


def _close_all() -> None:
    for engine in list(_open):
        engine.close()


def _closed(_: Images) -> Any:
    raise RuntimeError("The engine is closed")


def stream(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, parallel: int = 1
) -> Generator[_Result, None, None]:
    """Apply a function to items in background threads and yield the results in order.

    The caller produces the next item while the function runs on the previous ones. A bounded number of items is in
    progress. A reader that stops early cancels the waiting calls and waits for the running ones.

    Args:
        function: Called in ``parallel`` threads.
        items: Any iterable, also an endless one.
        parallel: Number of threads.
    """
    running: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="housetrain-model")
    try:
        for item in items:
            running.append(pool.submit(function, item))
            while running and (len(running) > parallel + _AHEAD or running[0].done()):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_padded(engine: Engine, images: Images, size: int) -> Outputs:
    """Run a batch that is padded to ``size`` images: a library may compile the model again for every new size."""
    missing = max(0, size - len(images))
    if missing:
        return engine.run(np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]))[: len(images)]
    return engine.run(images)


def run_in_batches(engine: Engine, images: Images, *, batch: int, one_size: bool = False) -> Outputs:
    """Return the outputs for many images.

    Args:
        engine: The model.
        images: uint8 (N, H, W, C), N at least 1; a memory map is read batch by batch.
        batch: Images per batch, 1 or more. A short last batch is padded to a power of two.
        one_size: Pad it to ``batch`` instead: a second size costs a large Keras model seconds.

    Returns:
        float32 (N, units).
    """

    def run(part: Images) -> Outputs:
        return run_padded(engine, part, batch if one_size else min(batch, 1 << (len(part) - 1).bit_length()))

    if len(images) <= batch:
        return run(np.asarray(images))
    parts = (np.asarray(images[start : start + batch]) for start in range(0, len(images), batch))
    return np.concatenate(list(stream(run, parts, parallel=engine.parallel)))
