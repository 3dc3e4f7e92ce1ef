"""OpenVINO: ``model.xml`` and ``model.bin``, the fastest format on a CPU, and the one that starts fastest.

In: a Keras model, or an OpenVINO file. Out: the files, or an engine. Does not know: runs, bundles, class names. A file
is parsed as XML and compared with an allow-list before OpenVINO reads it. What OpenVINO read is compared, too, before
it is compiled: its parser may find layers that another one does not.
"""

from __future__ import annotations

import contextlib
import functools
import re
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from housetrain.inference.engine import Images, LoadedModel, Port, Precision
from housetrain.inference.formats import onnx as onnx_format
from housetrain.inference.model_format import ModelFormat, must_be_file, refused
from housetrain.inference.quantize import Range, quantized, ranges_of
from housetrain.system.backend import load_keras, load_openvino
from housetrain.system.held_signals import signals_held

_LAYERS = """
    Abs Add AvgPool BatchNormInference Broadcast Ceiling Clamp Concat Const Convert ConvertLike Convolution Cos
    DepthToSpace Divide Elu Equal Erf Exp FakeQuantize Floor FloorMod Gather Gelu Greater GreaterEqual
    GroupConvolution GroupNormalization HSigmoid HSwish HardSigmoid Identity Interpolate IsNaN Less LessEqual Log
    LogicalAnd LogicalNot LogicalOr MVN MatMul MaxPool Maximum Minimum Mish Mod Multiply Negative NormalizeL2
    NotEqual PRelu Pad Parameter Power Range ReLU ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    Reshape Result Round Select Selu ShapeOf Sigmoid Sign Sin Slice SoftMax SoftPlus Softmax Split Sqrt
    SquaredDifference Squeeze StridedSlice Subtract Swish Tanh Tile Transpose Unsqueeze VariadicSplit
"""
ALLOWED = frozenset(_LAYERS.split())
"""Every layer type that a file may hold, from the standard operation sets only."""
_READ = frozenset(name.lower() for name in ALLOWED - {"Const"} | {"Constant"})
"""The same as OpenVINO names them once it has read a file; some in another case, such as ``Relu``."""


def check(path: Path, trusted: bool = False) -> None:
    """Parse an ``.xml`` file and refuse what is not on the allow-list.

    Raises:
        ModelError: It is not an OpenVINO file, holds a layer that is not in `ALLOWED`, or points outside the ``.bin``.
    """
    from xml.etree import ElementTree

    weights = path.with_suffix(".bin")
    must_be_file(path, 64 << 20)
    must_be_file(weights, 4 << 30)
    data = path.read_bytes()
    if b"<!" in data or not re.match(rb"\s*(<\?xml[^>]{0,100}\?>)?\s*<net\s", data):  # no entities, no comments
        raise refused(path, "it is not an OpenVINO model as `housetrain export` writes it")
    try:
        layers = list(ElementTree.fromstring(data).iterfind("layers/layer"))
        size = weights.stat().st_size
        for layer in layers:
            kind, origin = str(layer.get("type")), str(layer.get("version"))
            if kind not in ALLOWED or not re.fullmatch(r"opset\d{1,2}", origin):
                raise refused(path, f"it holds {kind[:60]} of {origin[:60]}")
            if kind == "Const":
                facts = layer.find("data")
                begin, count = (
                    int((facts.get(name) if facts is not None else None) or -1) for name in ("offset", "size")
                )
                if begin < 0 or count < 0 or begin + count > size:
                    raise refused(path, "it refers to numbers that are not there")
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise refused(path, f"its description is damaged ({error})") from error
    if not layers:
        raise refused(path, "it holds no layer")


def load(path: Path, precision: Precision = "fp32", features: bool = False) -> LoadedModel:
    """Open a checked file for single images and small batches.

    Raises:
        ModelError: OpenVINO reads a layer in it that is not on the allow-list.
    """
    model = _read(path)
    if features:
        _add_features(model)
    return compiled(model, precision)


def _add_features(model: Any) -> None:
    """Let a model also return what its last matrix multiplication takes, if that is one row per image."""
    node = model.get_results()[0]
    while node.get_input_size() and node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    if node.get_type_name() == "MatMul":
        features = node.input_value(0)
        if len(shape := _sides(features.partial_shape)) == 2 and shape[1] is not None:
            model.add_outputs([features])


def _read(path: Path) -> Any:
    """Return a checked file as an `openvino.Model`, not compiled yet."""
    model = core().read_model(str(path))
    must_be_readable(model, path)
    return model


def must_be_readable(model: Any, path: Path) -> None:
    """Refuse an `openvino.Model` whose file `load` would refuse.

    Args:
        model: The model.
        path: Its file, for the error.

    Raises:
        ModelError: It holds a layer that is not on the allow-list.
    """
    for operation in model.get_ops():
        kind, origin = operation.get_type_name(), operation.get_type_info().version_id
        if kind.lower() not in _READ or not re.fullmatch(r"opset\d{1,2}", origin):
            raise refused(path, f"it holds {kind[:60]} of {origin[:60]}")


def compiled(source: Any, precision: Precision, *, hint: Literal["LATENCY", "THROUGHPUT"] = "LATENCY") -> LoadedModel:
    """Compile a model for this CPU.

    Args:
        source: A path, or an `openvino.Model`.
        precision: ``"bf16"`` computes in bfloat16 where the processor has it, else in float32. Others compute in
            float32, or in 8 bits where the file says so.
        hint: ``"LATENCY"``: one request uses all cores. ``"THROUGHPUT"``: several requests share them.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    native = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and not native:
        precision = "fp32"
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
    model = core().compile_model(source, "CPU", settings)
    parallel = int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) if hint == "THROUGHPUT" else 1
    requests = deque(model.create_infer_request() for _ in range(parallel))

    def run(images: Images) -> Any:
        request = requests.pop()  # `LoadedModel` admits no more calls than there are requests
        try:
            request.infer([images], share_inputs=True)
            found = [tensor.data.copy() for tensor in request.output_tensors]
            return found if len(found) > 1 else found[0]
        finally:
            requests.append(request)

    def run_fixed(images: Images) -> Any:
        """Run a model that takes one batch size only: several times, the last batch repeated to that size."""
        starts = range(0, len(images), fixed)
        parts = [np.resize(images[at : at + fixed], (fixed, *images.shape[1:])) for at in starts]
        return np.concatenate([run(part) for part in parts])[: len(images)]

    inputs, outputs = (
        [Port((None, *_sides(port.partial_shape)[1:]), port.element_type.to_dtype()) for port in ports]
        for ports in (model.inputs, model.outputs)
    )
    size = model.inputs[0].partial_shape[0]
    fixed = int(size.get_length()) if size.is_static else 0
    return LoadedModel(
        run_fixed if fixed else run,
        f"OpenVINO {precision}",
        precision=precision,
        model=model,
        inputs=inputs,
        outputs=outputs,
        parallel=parallel,
    )


@functools.cache
def core() -> Any:
    """Return the one `openvino.Core` of this process.

    It is never released: with the last core, OpenVINO ends its threads and unloads its CPU plugin. On a loaded machine
    a thread then wrote to freed memory, and the process crashed at its exit (exit code 139 in 19 of 240 predicting
    processes; 0 of 150 with one core).
    """
    return load_openvino("running an OpenVINO model").Core()


def _sides(shape: Any) -> tuple[int | None, ...]:
    return tuple(side.get_length() if side.is_static else None for side in shape)


def converted(model: Any) -> Any:
    """Return a Keras model as an `openvino.Model`, not compiled yet, with an open batch size."""
    openvino = load_openvino("converting a model", converting=True)
    if load_keras("converting a model").backend.backend() != "tensorflow":
        with tempfile.TemporaryDirectory(prefix="housetrain-", ignore_cleanup_errors=True) as scratch:
            path = str(Path(scratch, "model.xml"))
            model.export(path, format="openvino", verbose=False)
            return core().read_model(path)
    import tensorflow as tf

    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    function = tf.function(lambda images: model(images, training=False), input_signature=[shape], autograph=False)
    with signals_held(), contextlib.redirect_stdout(None):
        return openvino.convert_model(function.get_concrete_function())


def convert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    """Write a Keras model; for int8, with the value ranges of the calibration images."""
    graph = converted(model)
    if precision == "int8":
        assert calibration is not None  # `ModelFormat.write` checks it
        graph = in_int8(graph, value_ranges(graph, calibration))
    save(graph, path, precision)


def value_ranges(graph: Any, images: Images) -> list[Range]:
    """Return the value ranges that `in_int8` needs.

    Args:
        graph: An `openvino.Model` in float32.
        images: uint8 (N, height, width, channels): some images of the kind that the model will see.
    """
    return ranges_of(graph, images, core=core())


def in_int8(graph: Any, ranges: Sequence[Range]) -> Any:
    """Return an `openvino.Model` with its convolutions and dense layers in 8 bits.

    Args:
        graph: The model in float32.
        ranges: See `value_ranges`.

    Raises:
        ModelError: The ranges are those of another model.
    """
    return quantized(graph, ranges, core=core())


def save(graph: Any, path: Path, precision: Precision) -> None:
    """Write an `openvino.Model` of one input and one output; the same model gives the same bytes.

    Args:
        graph: The model; its names are replaced.
        path: The ``.xml`` file; the weights go beside it.
        precision: fp16 and bf16 keep the weights in 16 bits.
    """
    openvino = load_openvino("exporting to OpenVINO")
    # Names carry counters of the process: without them the same model gives the same bytes.
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
        for port in node.outputs():
            port.get_tensor().set_names(set())
    graph.inputs[0].get_tensor().set_names({onnx_format.INPUT})
    graph.inputs[0].get_node().set_friendly_name(onnx_format.INPUT)
    graph.outputs[0].get_tensor().set_names({onnx_format.OUTPUT})
    bare = openvino.Model(graph.get_results(), graph.get_parameters(), "classifier")  # without conversion notes
    openvino.save_model(bare, str(path), compress_to_fp16=precision in ("fp16", "bf16"))


FORMAT = ModelFormat(
    name="openvino",
    title="OpenVINO",
    file="model.xml",
    library="openvino",
    extra="openvino",
    precisions=("fp32", "bf16", "fp16", "int8"),
    convert=convert,
    load=load,
    check=check,
    contents={"model.xml": "the model for OpenVINO: its layers", "model.bin": "the weights of `model.xml`"},
    snippet=("import openvino", 'model = openvino.compile_model("{path}", "CPU")\nprobabilities = model(pixels)[0][0]'),
)
