"""What a model file that is not Keras's may hold: looked into before a library loads it.

In: an OpenVINO, ONNX or LiteRT file. Out: nothing, or one clear error. Like ``verify.py`` for Keras files, these are
allow-lists: arithmetic on tensors, nothing that reads another file, loads a library or calls back. It knows none of the
libraries: an IR file is XML, an ONNX file a protobuf message, and both are read here as just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from housetrain.errors import ModelError

_MAX_XML_BYTES = 64 << 20
_MAX_BYTES = 4 << 30

_OPENVINO_OPS = """
    Abs Add AvgPool BatchNormInference Broadcast Clamp Concat Const Convert ConvertLike Convolution Divide Elu Erf
    Exp FakeQuantize Gather Gelu GroupConvolution GroupNormalization HSigmoid HSwish HardSigmoid Interpolate Log MVN
    MatMul MaxPool Maximum Minimum Mish Multiply NormalizeL2 PRelu Pad Parameter Power ReLU ReduceMax ReduceMean
    ReduceProd ReduceSum Reshape Result Round Select Selu ShapeOf Sigmoid Slice SoftMax SoftPlus Softmax Split Sqrt
    SquaredDifference Squeeze StridedSlice Subtract Swish Tanh Tile Transpose Unsqueeze VariadicSplit
"""
OPENVINO_OPS = frozenset(_OPENVINO_OPS.split())
"""Every layer type an OpenVINO file may hold, from the standard operation sets only."""

_ONNX_OPS = """
    Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv DepthToSpace
    DequantizeLinear Div DynamicQuantizeLinear Elu Erf Exp Expand Flatten Gather Gelu Gemm GlobalAveragePool
    GlobalMaxPool GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization
    LeakyRelu Log MatMul Max MaxPool Mean Min Mul Neg PRelu Pad Pow QuantizeLinear Reciprocal ReduceMax ReduceMean
    ReduceProd ReduceSum Relu Reshape Resize Selu Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum
    Tanh Tile Transpose Unsqueeze Where
"""
ONNX_OPS = frozenset(_ONNX_OPS.split())
"""Every operator an ONNX file may hold, from the standard domain only."""


def check_openvino(path: Path) -> None:
    """Look into an OpenVINO ``.xml`` file and the ``.bin`` beside it.

    Raises:
        ModelError: It is no such file, or names a layer that is not in `OPENVINO_OPS`, or numbers outside the ``.bin``.
    """
    weights = path.with_suffix(".bin")
    _must_be_file(path, _MAX_XML_BYTES, "OpenVINO")
    _must_be_file(weights, _MAX_BYTES, "OpenVINO")
    data = path.read_bytes()
    if b"<!" in data or not re.match(rb"\s*(<\?xml[^>]{0,100}\?>)?\s*<net\s", data):  # no entities, no comments
        raise _refused(path, "it is no OpenVINO model as `housetrain export` writes it")
    from xml.etree import ElementTree

    try:
        layers = list(ElementTree.fromstring(data).iterfind("layers/layer"))
        size = weights.stat().st_size
        for layer in layers:
            kind, origin = str(layer.get("type")), str(layer.get("version"))
            if kind not in OPENVINO_OPS or not re.fullmatch(r"opset\d{1,2}", origin):
                raise _refused(path, f"it holds {kind[:60]} of {origin[:60]}")
            if kind == "Const":
                facts = layer.find("data")
                begin, count = (
                    int((facts.get(name) if facts is not None else None) or -1) for name in ("offset", "size")
                )
                if begin < 0 or count < 0 or begin + count > size:
                    raise _refused(path, "it points at numbers that are not there")
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise _refused(path, f"its description is damaged ({error})") from error
    if not layers:
        raise _refused(path, "it holds no layer")


def check_onnx(path: Path) -> None:
    """Look into an ``.onnx`` file.

    Raises:
        ModelError: It is no such file, holds an operator that is not in `ONNX_OPS`, or asks for another file.
    """
    _must_be_file(path, 2 << 30, "ONNX")
    data = memoryview(path.read_bytes())
    graphs, nodes = 0, 0
    try:
        for number, _, value in _fields(data):
            if number == 25:  # ModelProto.functions
                raise _refused(path, "it brings functions of its own")
            if number == 7:  # ModelProto.graph
                graphs += 1
                for inner, _, item in _fields(value):
                    if inner == 1:  # GraphProto.node
                        nodes += 1
                        _check_node(item, path)
                    elif inner == 5:  # GraphProto.initializer
                        _check_tensor(item, path)
                    elif inner == 15:  # GraphProto.sparse_initializer
                        raise _refused(path, "it holds sparse numbers")
    except (ValueError, IndexError) as error:
        raise _refused(path, "it is no ONNX model, or a damaged one") from error
    if graphs != 1 or not nodes:
        raise _refused(path, "it is no ONNX model, or an empty one")


def check_litert(path: Path) -> None:
    """Look at a ``.tflite`` file. LiteRT itself knows no operator that reaches outside, and loads no others unasked.

    Raises:
        ModelError: It is no such file.
    """
    _must_be_file(path, 2 << 30, "LiteRT")
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise _refused(path, "it is no LiteRT model")


def _check_node(node: memoryview, path: Path) -> None:
    kind, domain = "", ""
    for number, _, value in _fields(node):
        if number == 4:
            kind = bytes(value).decode("utf-8", "replace")
        elif number == 7:
            domain = bytes(value).decode("utf-8", "replace")
        elif number == 5:  # NodeProto.attribute
            for inner, _, item in _fields(value):
                if inner in (6, 11):  # AttributeProto.g, .graphs: a graph of its own
                    raise _refused(path, "it holds a graph inside an operator")
                if inner in (5, 10):  # AttributeProto.t, .tensors
                    _check_tensor(item, path)
                elif inner in (22, 23):  # sparse tensors
                    raise _refused(path, "it holds sparse numbers")
    if kind not in ONNX_OPS or domain not in ("", "ai.onnx"):
        raise _refused(path, f"it holds {f'{domain}.{kind}' if domain else kind}"[:120])


def _check_tensor(tensor: memoryview, path: Path) -> None:
    for number, _, value in _fields(tensor):
        if number == 13 or (number == 14 and bytes(value) != b"\0"):  # TensorProto.external_data, .data_location
            raise _refused(path, "it asks for numbers in another file")


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield (field number, wire type, value) of a protobuf message; a number comes as its bytes.

    Raises:
        ValueError: It is none.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _number(message, at)
        number, kind = tag >> 3, tag & 7
        begin = at
        if kind == 0:
            _, at = _number(message, at)
        elif kind == 1:
            at += 8
        elif kind == 5:
            at += 4
        elif kind == 2:
            length, begin = _number(message, at)
            at = begin + length
        else:
            raise ValueError("wire type")
        if at > end or number == 0:
            raise ValueError("length")
        yield number, kind, message[begin:at]


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """Return the variable-length number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("number")


def _must_be_file(path: Path, limit: int, kind: str) -> None:
    if not path.is_file():
        raise ModelError(f"There is no such {kind} model", do="export it anew", path=str(path))
    if path.stat().st_size > limit:
        raise ModelError(f"The {kind} model is refused: it is too large", path=str(path), bytes=path.stat().st_size)


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(
        f"The model is refused: {why}",
        expected="only arithmetic on tensors, which cannot reach anything else when it runs",
        do="export it anew",
        path=str(path),
    )
