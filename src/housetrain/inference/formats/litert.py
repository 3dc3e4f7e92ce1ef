"""LiteRT (TensorFlow Lite): ``model.tflite``, the format that phones run.

In: a Keras model, or a ``.tflite`` file. Out: the file, or an engine. Does not know: runs, bundles, class names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from housetrain.inference.engine import Images, LoadedModel, Port, Precision
from housetrain.inference.model_format import ModelFormat, must_be_file, refused


def check(path: Path, trusted: bool = False) -> None:
    """Refuse what is not a LiteRT file. LiteRT has no operator that reaches files, and loads no custom ones unasked.

    Raises:
        ModelError: It is not a LiteRT file.
    """
    must_be_file(path, 2 << 30)
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise refused(path, "it is not a LiteRT model")


def load(path: Path, precision: Precision = "fp32", features: bool = False) -> LoadedModel:
    """Open a checked file. The engine resizes its input when the batch size changes."""
    from ai_edge_litert.interpreter import Interpreter

    from housetrain.system.backend import without_start_up_notes
    from housetrain.system.machine import cores

    with without_start_up_notes():
        interpreter = Interpreter(model_content=path.read_bytes(), num_threads=cores())
        interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details(), interpreter.get_output_details()
    first, last = given[0]["index"], wanted[0]["index"]
    size = int(given[0]["shape"][0])

    def run(images: Images) -> Any:
        nonlocal size
        if len(images) != size:
            interpreter.resize_tensor_input(first, images.shape)
            interpreter.allocate_tensors()
            size = len(images)
        interpreter.set_tensor(first, images)
        interpreter.invoke()
        return interpreter.get_tensor(last)

    inputs, outputs = (
        [
            Port(tuple(int(side) if side > 0 else None for side in port["shape_signature"]), port["dtype"])
            for port in ports
        ]
        for ports in (given, wanted)
    )
    return LoadedModel(
        run, f"LiteRT {precision}", precision=precision, model=interpreter, inputs=inputs, outputs=outputs
    )


def convert(model: Any, path: Path, precision: Precision, calibration: Images | None) -> None:
    """Write a Keras model with TensorFlow's converter."""
    import tensorflow

    options: dict[str, Any] = {"target_spec": {"supported_ops": [tensorflow.lite.OpsSet.TFLITE_BUILTINS]}}
    if precision != "fp32":
        options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
    if precision == "fp16":
        options["target_spec"]["supported_types"] = [tensorflow.float16]
    if precision == "int8":
        options["representative_dataset"] = lambda: (
            [image[None]] for image in (() if calibration is None else calibration)
        )
    model.export(str(path), format="litert", verbose=False, **options)


FORMAT = ModelFormat(
    name="litert",
    title="LiteRT",
    file="model.tflite",
    library="ai_edge_litert",
    extra="export",
    precisions=("fp32", "fp16", "int8"),
    convert=convert,
    load=load,
    check=check,
    contents={"model.tflite": "the model for LiteRT (TensorFlow Lite), as phones run it"},
    snippet=(
        "from ai_edge_litert.interpreter import Interpreter",
        'model = Interpreter("{path}")\nmodel.allocate_tensors()\n'
        'model.set_tensor(model.get_input_details()[0]["index"], pixels)\nmodel.invoke()\n'
        'probabilities = model.get_tensor(model.get_output_details()[0]["index"])[0]',
    ),
)
