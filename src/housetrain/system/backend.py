"""Importing Keras and OpenVINO: the one place that imports them first.

In: what they are needed for. Out: the module, or one line that names the missing extra. Does not know: models.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from housetrain.errors import MissingExtra, RecipeError
from housetrain.system.events import Callbacks
from housetrain.system.files import scratch_file
from housetrain.system.machine import cores

# What TensorFlow 2.21 prints while it is imported, before its logging is set up and TF_CPP_MIN_LOG_LEVEL applies.
# None of it is useful to a person who trains a model.
_START_UP_NOTES = re.compile(
    r"^(WARNING: All log messages before absl|[IW]\d{4} \S+ +\d+ \S+\.cc:\d+\]|INFO: Created TensorFlow Lite"
    r"|\[.*\] (logging|gcs_client|rpc_client)\.(cc|h):\d+: )"  # of Ray
)

_TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
_BACKENDS = tuple(_TITLES)


def load_keras(need: str, callbacks: Callbacks | None = None) -> ModuleType:
    """Import Keras with its backend, without the backend's start-up notes.

    Args:
        need: What needs it, for the error, such as ``"training"``.
        callbacks: Receive a note before an import, which takes seconds.

    Raises:
        MissingExtra: Keras or its backend is not installed.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None:
        return loaded
    if callbacks is not None:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        callbacks.note(f"Starting {_TITLES.get(backend, backend)} ...")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(cores()))  # TensorFlow's default ignores the container's share of the processor
    with without_start_up_notes(), _without_missing_plot_backend(), _without_settings_file():
        try:
            import keras
        except ModuleNotFoundError as error:
            if error.name not in ("keras", *_BACKENDS):
                raise
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            extra = backend if backend in _BACKENDS else "tensorflow"
            raise MissingExtra(extra, need=f"{need} ({error.name} is missing)") from error
    if "tensorflow" in sys.modules:
        _set_up(sys.modules["tensorflow"])
    return keras  # type: ignore[no-any-return]


def load_tensorflow(need: str) -> ModuleType:
    """Import TensorFlow without its start-up notes.

    Args:
        need: What needs it, for the error.

    Raises:
        MissingExtra: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(cores()))  # TensorFlow's default ignores the container's share of the processor
    with without_start_up_notes(), _without_missing_plot_backend(), _without_settings_file():  # it imports Keras, too
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise MissingExtra("tensorflow", need=need) from error
    _set_up(tensorflow)
    return tensorflow  # type: ignore[no-any-return]


def _set_up(tensorflow: Any) -> None:
    logging.getLogger("tensorflow").addFilter(_is_not_about_retracing)
    limit_gpu_memory(tensorflow)


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    """Two models and a few batch sizes make TensorFlow warn that it compiles often; each compilation is needed."""
    return "tf.function retracing" not in str(record.msg)


GPU_MEMORY = "HOUSETRAIN_GPU_MEMORY"
"""MiB of each GPU that a process may use, or ``growth``: so that several trainings share one. By default TensorFlow
takes all of it."""


def limit_gpu_memory(tensorflow: Any) -> None:
    """Apply `GPU_MEMORY` to TensorFlow, before it touches a GPU.

    Raises:
        RecipeError: The variable is neither a number of MiB nor ``growth``.
    """
    text = os.environ.get(GPU_MEMORY, "").strip()
    if not text:
        return
    if text != "growth" and not (text.isdigit() and int(text) > 0):
        raise RecipeError("The GPU memory is not valid", expected="MiB, such as 4096, or growth", **{GPU_MEMORY: text})
    config = tensorflow.config
    with contextlib.suppress(RuntimeError):  # the GPUs are in use: they are limited already
        for gpu in config.list_physical_devices("GPU"):
            if text == "growth":
                config.experimental.set_memory_growth(gpu, True)
            else:
                limit = config.LogicalDeviceConfiguration(memory_limit=int(text))
                config.set_logical_device_configuration(gpu, [limit])


@contextlib.contextmanager
def _without_missing_plot_backend() -> Iterator[None]:
    """Hide ``MPLBACKEND`` where it names a module that is not installed.

    Keras imports matplotlib where it is installed, and matplotlib refuses such a backend. The variable of a notebook
    reaches the commands that the notebook starts, in environments that lack the notebook's modules.
    """
    name = os.environ.get("MPLBACKEND", "")
    module = name.removeprefix("module://")
    if module == name or importlib.util.find_spec(module.partition(".")[0]) is not None:
        yield
        return
    del os.environ["MPLBACKEND"]
    try:
        yield
    finally:
        os.environ["MPLBACKEND"] = name


@contextlib.contextmanager
def _without_settings_file() -> Iterator[None]:
    """Hide ``~/.keras/keras.json`` during the import of Keras, which reads it then and writes it where it is missing.

    A file of an older Keras (``"backend": "theano"``, ``"floatx": "float16"``) ends the import or changes the numbers.
    What counts here is ``KERAS_BACKEND``.
    """
    own = os.environ.get("KERAS_HOME")
    base = os.path.expanduser("~")  # noqa: PTH111 - as Keras does; Path.home fails where there is none
    home = own or os.path.join(base if os.access(base, os.W_OK) else tempfile.gettempdir(), ".keras")  # noqa: PTH118
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")  # noqa: PTH118 - can neither be read nor made
    try:
        yield
    finally:
        os.environ.pop("KERAS_HOME")
        if own is not None:
            os.environ["KERAS_HOME"] = own
        if config := sys.modules.get("keras.src.backend.config"):
            config.__dict__["_KERAS_DIR"] = home  # where it keeps downloaded weights


@contextlib.contextmanager
def without_start_up_notes() -> Iterator[None]:
    """Collect standard error (C++ code writes to the file descriptor), then write all of it but the start-up notes."""
    try:
        sys.stderr.flush()
        real = os.dup(2)
    except (OSError, AttributeError, ValueError):  # standard error is closed or replaced
        yield
        return
    with scratch_file() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            rest = [line for line in held.read().splitlines(True) if not _START_UP_NOTES.match(line.decode("latin-1"))]
            os.write(2, b"".join(rest))


def load_openvino(need: str, *, converting: bool = False) -> ModuleType:
    """Import OpenVINO without its telemetry, in half the time.

    OpenVINO 2026 imports its model converter, which posts a usage event to a web service. Neither is wanted here:
    nothing about the images or their user leaves this machine. During the import the converter (or, where it is needed,
    only its telemetry) is hidden, which OpenVINO allows for.

    Args:
        need: What needs it, for the error, such as ``"predicting with an OpenVINO model"``.
        converting: Whether `openvino.tools.ovc` is needed: ``keras.Model.export`` asks for it.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    hidden = {"openvino_telemetry"} if converting else {"openvino_telemetry", "openvino.tools.ovc"}
    with _hidden(hidden):
        try:
            openvino = importlib.import_module("openvino")
            if converting and not hasattr(openvino, "convert_model"):
                openvino.convert_model = importlib.import_module("openvino.tools.ovc").convert_model  # type: ignore[attr-defined]
        except ModuleNotFoundError as error:
            if error.name != "openvino":
                raise
            raise MissingExtra("openvino", need=f"{need} (openvino is missing)") from error
    return openvino


@contextlib.contextmanager
def _hidden(names: set[str]) -> Iterator[None]:
    """Make imports of these modules fail inside the block; modules that are loaded already stay as they are."""
    absent = {name for name in names if name not in sys.modules}
    nothing: Any = None  # in sys.modules: "no such module"
    sys.modules.update(dict.fromkeys(absent, nothing))
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
