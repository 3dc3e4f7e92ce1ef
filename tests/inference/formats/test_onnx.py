"""What an ONNX file may hold: everything else is refused before ONNX Runtime reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import ModelError
from housetrain.inference.formats import onnx as onnx_format

pytest.importorskip("onnx")


def _message(number: int, value: bytes) -> bytes:
    return bytes([number << 3 & 0x7F | 2 | (0x80 if number > 15 else 0)]) + (
        bytes([number >> 4]) if number > 15 else b""
    ) + _length(len(value)) + value  # fmt: skip


def _length(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _length(value >> 7)


_RELU = _message(1, _message(4, b"Relu"))


@pytest.mark.parametrize(
    ("graph", "word"),
    [
        (_message(1, _message(4, b"If")), "holds If"),
        (_message(1, _message(4, b"Relu") + _message(7, b"evil")), r"evil\.Relu"),
        (_message(1, _message(4, b"Relu") + _message(5, _message(6, b""))), "a graph inside"),
        (_message(1, _message(4, b"Constant") + _message(5, _message(5, _message(13, b"x")))), "damaged"),
        (
            _message(1, _message(4, b"Constant") + _message(5, _message(5, _message(13, _message(1, b"location"))))),
            "another file",
        ),
        (_RELU + _message(5, _message(13, b"\x0a\x08location\x12\x0b/etc/passwd")), "another file"),
        (_RELU + _message(5, b"\x70\x01"), "another file"),
        (_RELU + _message(15, b""), "sparse"),
        (b"", "empty"),
        (b"\xff", "damaged"),
        (b"\x0a\x7f", "damaged"),
    ],
)
def test_hostile_onnx_files_are_refused(tmp_path: Path, graph: bytes, word: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_message(7, _RELU))
    onnx_format.check(path)
    path.write_bytes(_message(7, graph))
    with pytest.raises(ModelError, match=word):
        onnx_format.check(path)
    path.write_bytes(_message(7, _RELU) + _message(25, b""))
    with pytest.raises(ModelError, match="functions"):
        onnx_format.check(path)


def _long(data: bytes) -> bytes:
    """Return a message whose first tag takes more bytes than it needs."""
    return bytes([data[0] | 0x80, 0x80, 0x00]) + data[1:]


@pytest.mark.parametrize(
    "model",
    [
        _long(_message(7, _RELU + _message(1, _message(4, b"If")))),
        _message(7, _RELU + _long(_message(1, _message(4, b"If")))),
        _message(7, _RELU + _message(1, _long(_message(4, b"If")))),
        _message(7, _RELU + b"\x08\x01" + _message(1, _message(4, b"Loop"))),  # a node that is a number
        _message(7, _RELU) + _message(7, _message(1, _message(4, b"If"))),  # two graphs, merged by protobuf
        _message(7, _RELU + _message(1, _message(4, b"Relu") + _message(4, b"If"))),  # the last of two counts
        _message(7, _RELU + _long(_message(5, _message(13, b"\x0a\x08location")))),
        _message(7, _message(1, _message(4, b"Relu") + _message(5, _message(21, b"alpha")))),  # of a function
        _message(7, _message(1, _message(4, b"Relu") + _message(5, _message(14, b"")))),  # a type
        b"\x38\x01" + _message(25, b""),
    ],
)
def test_what_an_odd_encoding_hides_is_refused(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    with pytest.raises(ModelError):
        onnx_format.check(path)


def test_onnx_runtime_gets_what_was_checked(digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    path = ht.export(digits.run, tmp_path / "onnx", format="onnx").folder / "model.onnx"
    path.write_bytes(path.read_bytes() + _message(100, b"only another reader knows this field"))
    given: list[bytes] = []
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda data, *more, **options: given.append(data) or real(data, *more, **options),
    )
    assert onnx_format.load(path).run(digits.prepared.test.images[:1]).shape[0] == 1
    assert len(given) == 1 and b"only another reader" not in given[0] and b"only another reader" in path.read_bytes()


def test_every_cut_of_an_onnx_file_is_one_of_our_errors(digits: Any, tmp_path: Path) -> None:
    data = (ht.export(digits.run, tmp_path / "onnx", format="onnx").folder / "model.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    for length in [*range(0, 400, 7), len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            onnx_format.check(path)


def test_a_sparse_tensor_or_an_unknown_operator_in_a_real_file_is_refused(digits: Any, tmp_path: Path) -> None:
    import onnx

    path = ht.export(digits.run, tmp_path / "onnx", format="onnx").folder / "model.onnx"
    whole = path.read_bytes()
    for change, word in (
        (lambda model: model.graph.sparse_initializer.add(), "sparse"),
        (lambda model: model.graph.node[0].attribute.add(name="x").tensors.add(data_location=1), "another file"),
        (lambda model: model.graph.node.add(op_type="Loop"), "holds Loop"),
        (lambda model: model.training_info.add(), "training"),
    ):
        model = onnx.load_model_from_string(whole)
        change(model)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=word):
            onnx_format.check(path)


def test_reading_an_onnx_file_imports_no_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_message(7, _RELU))
    code = (
        "import sys, pathlib; from housetrain.inference.formats import onnx as it\n"
        "assert 'onnx' not in sys.modules\n"
        f"it.check(pathlib.Path({str(path)!r}))\n"
        "print([name for name in ('tensorflow', 'keras', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_calibration_images_come_in_batches() -> None:
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    batches = list(onnx_format._Calibration(images))
    assert [len(batch["image"]) for batch in batches] == [14, 13, 13]
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in batches]), images)


def test_weights_of_a_constant_node_give_no_features_and_no_error() -> None:
    import onnx
    from onnx import helper, numpy_helper

    value = numpy_helper.from_array(np.ones((3, 2), np.float32))
    nodes = [helper.make_node("Constant", [], ["w"], value=value), helper.make_node("MatMul", ["x", "w"], ["y"])]
    ports = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])]
        for name, size in (("x", 3), ("y", 2))
    ]
    model = helper.make_model(helper.make_graph(nodes, "classifier", *ports))
    onnx_format._add_features(model)
    assert [output.name for output in model.graph.output] == ["y"]
