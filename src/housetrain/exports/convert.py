"""A Keras model in another form: the one place where models are converted.

In: a loaded Keras model (uint8 images in), a format, a precision, and training images where 8 bits are asked for.
Out: the files of that form in a folder, the same for the same model. It does not know runs or bundles, and it does not
judge the result: ``parity.py`` does.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from housetrain.errors import HousetrainError, ModelError
from housetrain.exports.formats import NAMES, Format, Precision, need
from housetrain.inference.engine import Images
from housetrain.system.backend import load_openvino

_INPUT, _OUTPUT = "image", "probability"


def convert(
    model: Any, folder: Path, *, to: Format, precision: Precision = "fp32", calibration: Images | None = None
) -> tuple[str, ...]:
    """Write a model in another form.

    Args:
        model: The `keras.Model`: uint8 (N, H, W, C) in, float32 (N, 1) or (N, classes) out.
        folder: An existing folder.
        to: The format; ``"keras"`` saves the model as it is.
        precision: One that `forms.PRECISIONS` lists for the format.
        calibration: uint8 (N, H, W, C): some hundred training images, for ``"int8"``.

    Returns:
        The names of the files written, relative to the folder.

    Raises:
        ModelError: The conversion failed, or the precision does not exist for the format.
        MissingExtra: A library is not installed.
    """
    need(to, precision=precision)
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise ModelError(
            "Eight bits need training images to find the ranges of the numbers",
            do="keep the prepared arrays or the images where the run found them, or choose another precision",
        )
    before = set(_files(folder))
    try:
        with _quietly():
            _WRITERS[to](model, folder / NAMES[to], precision, calibration)
    except HousetrainError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(
            f"The model cannot be converted to {to} {precision}: {type(error).__name__}: {text}",
            do="choose another format or precision",
        ) from error
    return tuple(sorted(set(_files(folder)) - before))


def _keras(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    model.save(path)


def _openvino(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    openvino = load_openvino("exporting to OpenVINO", converting=True)
    if precision == "int8":  # OpenVINO's processor runs the quantized layers of an ONNX file in 8 bits
        between = path.with_name("between.onnx")
        _onnx(model, between, precision, calibration)
        converted = openvino.convert_model(str(between))
    else:
        between = path.with_name("between.xml")
        model.export(str(between), format="openvino", verbose=False)
        converted = openvino.Core().read_model(str(between))
    # Names carry counters of this process: without them the same model gives the same bytes.
    for number, node in enumerate(converted.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
        for port in node.outputs():
            port.get_tensor().set_names(set())
    converted.inputs[0].get_tensor().set_names({_INPUT})
    converted.inputs[0].get_node().set_friendly_name(_INPUT)
    converted.outputs[0].get_tensor().set_names({_OUTPUT})
    bare = openvino.Model(converted.get_results(), converted.get_parameters(), "classifier")  # without conversion notes
    openvino.save_model(bare, str(path), compress_to_fp16=precision in ("fp16", "bf16"))
    del converted, bare  # they map the files that go now
    for leftover in (between, between.with_suffix(".bin")):
        leftover.unlink(missing_ok=True)


def _onnx(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    import onnx

    whole = path.with_name("whole.onnx")
    model.export(str(whole), format="onnx", verbose=False)
    _with_plain_names(onnx, whole)
    if precision != "int8":
        whole.replace(path)
        return
    assert calibration is not None
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = path.with_name("folded.onnx")
    quant_pre_process(str(whole), str(folded), skip_symbolic_shape=True)  # batch norms go into the convolutions
    quantization.quantize_static(
        str(folded),
        str(path),
        _Samples(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    for leftover in (whole, folded):
        leftover.unlink(missing_ok=True)


class _Samples:
    """Calibration images as ONNX Runtime asks for them: a batch a call, then ``None``."""

    def __init__(self, images: Images) -> None:
        self._left = iter(np.array_split(images, -(-len(images) // 16)))

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self._left, None)
        return None if batch is None else {_INPUT: batch}

    def __iter__(self) -> _Samples:
        return self

    def __next__(self) -> dict[str, Images]:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch

    def set_range(self, start_index: int, end_index: int) -> None:
        """Not used: the images are few."""


def _with_plain_names(onnx: Any, path: Path) -> None:
    """Name everything in an ONNX file after its place: TensorFlow's names carry counters of this process."""
    model = onnx.load(str(path))
    graph = model.graph
    names = {"": "", graph.input[0].name: _INPUT, graph.output[0].name: _OUTPUT}
    used = {name: place for place, name in enumerate(name for node in graph.node for name in node.input)}
    weights = sorted(graph.initializer, key=lambda tensor: used.get(tensor.name, -1))  # their order is by chance
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


def _litert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    import tensorflow

    options: dict[str, Any] = {"target_spec": {"supported_ops": [tensorflow.lite.OpsSet.TFLITE_BUILTINS]}}
    if precision != "fp32":
        options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
    if precision == "fp16":
        options["target_spec"]["supported_types"] = [tensorflow.float16]
    if precision == "int8":
        assert calibration is not None
        options["representative_dataset"] = lambda: ([image[None]] for image in calibration)
    model.export(str(path), format="litert", verbose=False, **options)


def _saved_model(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)


_WRITERS = {"keras": _keras, "openvino": _openvino, "onnx": _onnx, "litert": _litert, "saved-model": _saved_model}


def _files(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hold back what converters print and log: it is for who writes converters. What fails is raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    null, kept = os.open(os.devnull, os.O_WRONLY), [os.dup(1), os.dup(2)]
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)  # TensorFlow's converter writes to the file descriptors
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for target, old in zip((1, 2), kept, strict=True):
            os.dup2(old, target)
            os.close(old)
        os.close(null)
        logging.disable(before)
