"""ONNX: ``model.onnx``, for ONNX Runtime and everything else that reads ONNX.

In: a Keras model, or an ``.onnx`` file. Out: the file, or an engine. Does not know: runs, bundles, class names. A file
is parsed by the `onnx` library and compared with an allow-list; ONNX Runtime gets what was checked, not the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.inference.engine import Images, LoadedModel, Port, Precision
from housetrain.inference.model_format import ModelFormat, must_be_file, refused

INPUT, OUTPUT = "image", "probability"

_OPERATORS = """
    Abs Add And AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv Cos
    DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten Floor Gather Gelu
    Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Mean Min Mish Mod
    Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum Relu Reshape Resize Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub
    Sum Tanh Tile Transpose Trilu Unsqueeze Where
"""
ALLOWED = frozenset(_OPERATORS.split())
"""Every operator that a file may hold, from the standard domain only."""

_ATTRIBUTE_FIELDS = {"name", "doc_string", "type", "f", "i", "s", "t", "floats", "ints", "strings", "tensors"}


def check(path: Path, trusted: bool = False) -> None:
    """Parse an ``.onnx`` file and refuse what is not on the allow-list.

    Raises:
        ModelError: It is not an ONNX file, holds an operator that is not in `ALLOWED`, or refers to another file.
        ModuleNotFoundError: The `onnx` library is not installed.
    """
    checked(path)


def checked(path: Path) -> Any:
    """Return the `onnx.ModelProto` of a file, if everything in it is on the allow-list; see `check`."""
    must_be_file(path, 2 << 30)
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise refused(path, "it is not an ONNX model, or is damaged") from error
    if model.functions:
        raise refused(path, "it defines functions of its own")
    if not model.graph.node:
        raise refused(path, "it is not an ONNX model, or is empty")
    if model.training_info or model.graph.sparse_initializer:
        raise refused(path, "it holds sparse tensors or training graphs")
    for node in model.graph.node:
        if node.op_type not in ALLOWED or node.domain not in ("", "ai.onnx"):
            raise refused(path, f"it holds {node.domain + '.' if node.domain else ''}{node.op_type}"[:120])
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise refused(path, "it holds a graph inside an operator")
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise refused(path, "it holds sparse tensors or training graphs")
            if odd := {field.name for field, _ in attribute.ListFields()} - _ATTRIBUTE_FIELDS:
                raise refused(path, f"it holds an attribute with {min(odd)}")
    if any(tensor.external_data or tensor.data_location for tensor in _tensors(model)):
        raise refused(path, "it refers to numbers in another file")
    model.DiscardUnknownFields()  # so that no other reader finds more in it than was checked
    return model


def _tensors(model: Any) -> Iterator[Any]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def load(path: Path, precision: Precision = "fp32", features: bool = False) -> LoadedModel:
    """Check a file again and open it with ONNX Runtime, on the processor."""
    import onnxruntime

    model = checked(path)
    if features:
        _add_features(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Not the file's bytes: what was checked is what runs.
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    inputs, outputs = (
        [Port(tuple(_side(side) for side in port.shape), types.get(port.type)) for port in ports]
        for ports in (session.get_inputs(), session.get_outputs())
    )
    name = session.get_inputs()[0].name
    whole = len(outputs) > 1

    def run(images: Images) -> Any:
        found = session.run(None, {name: images})
        return found if whole else found[0]

    return LoadedModel(
        run,
        f"ONNX Runtime {precision}",
        precision=precision,
        model=session,
        inputs=inputs,
        outputs=outputs,
    )


def _add_features(model: Any) -> None:
    """Let a model also return what its last matrix multiplication takes, if its width is known."""
    from onnx import TensorProto, helper

    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    sides = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    node = made_by.get(graph.output[0].name)
    while node is not None and node.op_type not in ("MatMul", "Gemm"):
        node = made_by.get(node.input[0]) if node.input else None
    if node is None:
        return
    weights = node.input[1]
    while weights in made_by and made_by[weights].input:  # the weights of an int8 model, before they are scaled
        weights = made_by[weights].input[0]
    across = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    if len(shape := sides.get(weights, ())) == 2:
        size = ["batch", shape[1 if across else 0]]
        graph.output.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, size))


def _side(side: Any) -> int | None:
    return side if isinstance(side, int) and side > 0 else None


def convert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    """Write a Keras model; for int8, quantized per channel (QDQ) by ONNX Runtime."""
    whole = path.with_name("whole.onnx")
    model.export(str(whole), format="onnx", verbose=False)
    _rename(whole)
    if precision != "int8":
        whole.replace(path)
        return
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = path.with_name("folded.onnx")
    quant_pre_process(str(whole), str(folded), skip_symbolic_shape=True)  # folds batch norms into the convolutions
    quantization.quantize_static(
        str(folded),
        str(path),
        _Calibration(np.empty((0,)) if calibration is None else calibration),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    for leftover in (whole, folded):
        leftover.unlink(missing_ok=True)


class _Calibration:
    """ONNX Runtime's `CalibrationDataReader`: a batch per call, then ``None``."""

    def __init__(self, images: np.ndarray) -> None:
        self._left = iter(np.array_split(images, -(-len(images) // 16)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._left, None)
        return None if batch is None else {INPUT: batch}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.get_next, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Ignored: there are few images."""


def _rename(path: Path) -> None:
    """Name everything in a file after its position: TensorFlow's names carry counters of the process."""
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    names = {"": "", graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    used = {name: place for place, name in enumerate(name for node in graph.node for name in node.input)}
    weights = sorted(graph.initializer, key=lambda tensor: used.get(tensor.name, -1))  # their order is random
    for number, tensor in enumerate(weights):
        names[tensor.name] = f"weight_{number}"
        tensor.name = names[tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for place, name in enumerate(node.output):
            node.output[place] = names.setdefault(name, f"{node.name}_{place}")
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names[name]
    for port in (*graph.input, *graph.output):
        port.name = names[port.name]
        port.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    graph.name, graph.doc_string, model.doc_string = "classifier", "", ""
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


FORMAT = ModelFormat(
    name="onnx",
    title="ONNX Runtime",
    file="model.onnx",
    library="onnxruntime",
    extra="export",
    precisions=("fp32", "int8"),
    convert=convert,
    load=load,
    check=check,
    contents={"model.onnx": "the model for ONNX Runtime and everything else that reads ONNX"},
    snippet=(
        "import onnxruntime",
        'model = onnxruntime.InferenceSession("{path}")\nprobabilities = model.run(None, {{"image": pixels}})[0][0]',
    ),
    needs=lambda _: ("onnx", "onnxruntime", "tf2onnx"),
)
