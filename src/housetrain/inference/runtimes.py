"""Models that need no Keras to run: OpenVINO, ONNX Runtime, LiteRT; and a SavedModel, for checking it when it is made.

In: a model file that `graphs.py` has looked into, uint8 images (N, H, W, C). Out: float32 probabilities (N, classes).
It does not know where images come from or what the classes are called. Each library is imported when its engine is
made, and nowhere else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.errors import HousetrainError, MissingExtra, ModelError
from housetrain.exports.formats import Format
from housetrain.inference import graphs
from housetrain.inference.engine import Engine, Images, KerasEngine, Probabilities, class_probabilities
from housetrain.system.backend import load_keras, load_openvino, without_start_up_notes

Shape = tuple[int, int, int]


class Runtime:
    """What the engines below share: one call at a time, no call for no images, one probability per class.

    Args:
        run: uint8 (N, H, W, C) -> whatever the model gives for it.
        classes: Number of classes.
        model: The loaded model, for who wants to look at it.
    """

    def __init__(self, run: Callable[[Images], Any], classes: int, model: Any) -> None:
        self._run, self.classes, self.model = run, classes, model
        self._one_at_a_time = threading.Lock()  # a server calls from many threads; these libraries' requests do not

    def probabilities(self, images: Images) -> Probabilities:
        """Return float32 (N, classes) for uint8 (N, H, W, C): see `Engine`."""
        if len(images) == 0:
            return np.empty((0, self.classes), np.float32)
        with self._one_at_a_time:
            return class_probabilities(np.array(self._run(np.ascontiguousarray(images))), self.classes)


def load_openvino_engine(path: Path, *, classes: int, input_shape: Shape, precision: str = "fp32") -> Runtime:
    """Load ``model.xml`` with ``model.bin`` beside it.

    Args:
        path: The ``.xml`` file.
        classes: Number of classes it must tell apart.
        input_shape: (height, width, channels) it must take.
        precision: ``"bf16"`` computes in bfloat16 where the processor can, all others in float32 (or 8 bits, where the
            file says so).

    Raises:
        ModelError: The file is refused, or does not load, or does not fit.
        MissingExtra: OpenVINO is not installed.
    """
    graphs.check_openvino(path)
    openvino = load_openvino("predicting with an OpenVINO model")
    with _one_line("OpenVINO", path):
        core = openvino.Core()
        sixteen_bit = precision == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if sixteen_bit else "f32"}
        compiled = core.compile_model(str(path), "CPU", settings)
        request = compiled.create_infer_request()
        given, wanted = compiled.inputs, compiled.outputs
    _must_fit(
        [(_sizes(port.partial_shape), port.element_type.to_dtype()) for port in given],
        [(_sizes(port.partial_shape), port.element_type.to_dtype()) for port in wanted],
        classes=classes,
        input_shape=input_shape,
    )

    def run(images: Images) -> Any:
        request.infer([images], share_inputs=True)
        return request.get_output_tensor().data

    return Runtime(run, classes, compiled)


def load_onnx_engine(path: Path, *, classes: int, input_shape: Shape, precision: str = "fp32") -> Runtime:
    """Load a ``.onnx`` file with ONNX Runtime, on the processor. Arguments and errors: see `load_openvino_engine`."""
    graphs.check_onnx(path)
    runtime = _imported("onnxruntime", "export")
    with _one_line("ONNX Runtime", path):
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    given, wanted = session.get_inputs(), session.get_outputs()
    types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    _must_fit(
        [(_numbers(port.shape), types.get(port.type)) for port in given],
        [(_numbers(port.shape), types.get(port.type)) for port in wanted],
        classes=classes,
        input_shape=input_shape,
    )
    name = given[0].name
    return Runtime(lambda images: session.run(None, {name: images})[0], classes, session)


def load_litert_engine(path: Path, *, classes: int, input_shape: Shape, precision: str = "fp32") -> Runtime:
    """Load a ``.tflite`` file with LiteRT. Arguments and errors: see `load_openvino_engine`."""
    graphs.check_litert(path)
    litert = _imported("ai_edge_litert.interpreter", "export")
    from housetrain.system.process_pool import cores

    with _one_line("LiteRT", path), without_start_up_notes():
        interpreter = litert.Interpreter(model_content=path.read_bytes(), num_threads=cores())
        interpreter.allocate_tensors()
        given, wanted = interpreter.get_input_details(), interpreter.get_output_details()
    _must_fit(
        [(_numbers(port["shape_signature"]), port["dtype"]) for port in given],
        [(_numbers(port["shape_signature"]), port["dtype"]) for port in wanted],
        classes=classes,
        input_shape=input_shape,
    )
    into, out = given[0]["index"], wanted[0]["index"]
    size = int(given[0]["shape"][0])

    def run(images: Images) -> Any:
        nonlocal size
        if len(images) != size:  # every new size plans its memory anew
            interpreter.resize_tensor_input(into, images.shape)
            interpreter.allocate_tensors()
            size = len(images)
        interpreter.set_tensor(into, images)
        interpreter.invoke()
        return interpreter.get_tensor(out)

    return Runtime(run, classes, interpreter)


def load_saved_model_engine(path: Path, *, classes: int, input_shape: Shape, precision: str = "fp32") -> Runtime:
    """Load a SavedModel folder that this process has just written. `Predictor.load` never does: it can run code."""
    load_keras("checking a SavedModel")
    tensorflow = _imported("tensorflow", "tensorflow")
    with _one_line("TensorFlow", path):
        model = tensorflow.saved_model.load(str(path))
    return Runtime(lambda images: model.serve(images).numpy(), classes, model)


def load_keras_engine(path: Path, *, classes: int, input_shape: Shape, precision: str = "fp32") -> KerasEngine:
    """Load a ``.keras`` file whose bytes agreed with the manifest: see `KerasEngine.load`."""
    return KerasEngine.load(path, classes=classes, input_shape=input_shape, trusted=True)


ENGINES: dict[Format, Callable[..., Engine]] = {
    "keras": load_keras_engine,
    "openvino": load_openvino_engine,
    "onnx": load_onnx_engine,
    "litert": load_litert_engine,
}
"""Format -> what loads it from a bundle. A SavedModel is missing on purpose: loading one can run code."""


@contextlib.contextmanager
def _one_line(library: str, path: Path) -> Iterator[None]:
    """Turn whatever a library raises into a `ModelError` of one line."""
    try:
        yield
    except HousetrainError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{library} cannot load the model: {text}", do="export it anew", path=str(path)) from error


def _imported(name: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        raise MissingExtra(extra, need=f"predicting with this bundle ({error.name} is missing)") from error


def _sizes(shape: Any) -> tuple[int | None, ...]:
    return tuple(side.get_length() if side.is_static else None for side in shape)


def _numbers(shape: Any) -> tuple[int | None, ...]:
    return tuple(int(side) if not isinstance(side, str) and side is not None and side > 0 else None for side in shape)


def _must_fit(
    given: list[tuple[tuple[int | None, ...], Any]],
    wanted: list[tuple[tuple[int | None, ...], Any]],
    *,
    classes: int,
    input_shape: Shape,
) -> None:
    """Refuse a model that takes or gives something else than the bundle says."""
    if len(given) != 1 or given[0] != ((None, *input_shape), np.uint8):
        raise ModelError(
            "The model eats another shape than its input spec says",
            expected=f"uint8 images of {input_shape}, any number of them",
            inputs=[shape for shape, _ in given],
        )
    last = wanted[0][0][-1] if len(wanted) == 1 and len(wanted[0][0]) == 2 else None
    if (last != classes and (last, classes) != (1, 2)) or wanted[0][1] != np.float32:
        raise ModelError(
            "The model's output does not fit its class names",
            expected=f"{classes} classes",
            outputs=[shape for shape, _ in wanted],
        )
