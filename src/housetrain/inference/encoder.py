"""Encoder: the user's own image encoder in an ``.onnx`` file, run frozen for its features.

In: a file, how it wants its pixels, an image size. Out: an engine, uint8 images in, float32 features out. It does not
know folders, labels, or what the features are used for. The file is compared with the allow-list of
`housetrain.inference.formats.onnx` before OpenVINO reads it. Nothing here imports Keras.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from housetrain.errors import MissingExtra, ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.engine import LoadedModel
from housetrain.inference.fastest import batch_of
from housetrain.inference.formats import onnx as onnx_format
from housetrain.inference.formats import openvino as openvino_format
from housetrain.system.backend import load_openvino

SUFFIX = ".onnx"
_IMAGE_SIZE = 224  # pixels, of an encoder that takes any size
_NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision.models; DINOv2 and DINOv3
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),  # openai/CLIP, clip/clip.py
}
_EXPECTED = "imagenet, clip, MEAN,STD for all channels, or three means and three deviations, of pixels from 0 to 1"
_DO = "export the image encoder alone again, as one .onnx file of standard operators"

_Numbers = tuple[float, ...]


class Encoder(NamedTuple):
    """An encoder that is ready to run.

    Attributes:
        spec: The images it takes.
        engine: uint8 (N, height, width, 3) in, float32 (N, width) features out.
        batch: Images to give the engine at a time; a file with a fixed batch size takes no other.
    """

    spec: InputSpec
    engine: LoadedModel
    batch: int


def load_encoder(file: Path, preprocessing: str, image_size: int | None = None) -> Encoder:
    """Check an image encoder and compile it for this CPU, in float32.

    The file takes float RGB images, (N, 3, height, width) or (N, height, width, 3), as its only input. Its features are
    the first output of shape (N, width). If there is none, they come from the first output of shape
    (N, tokens, width): the mean of all tokens if their number is a square, because a square grid of patches has no
    class token; else the first token.

    Args:
        file: The ``.onnx`` file.
        preprocessing: See `normalization`.
        image_size: Height and width, pixels, where the file leaves them open; by default 224.

    Raises:
        RecipeError: The preprocessing is unknown, or the file takes images of another size.
        DataError: The image size is not 1 to 4096.
        ModelError: The file is refused or does not load, or its input or outputs are others.
        MissingExtra: OpenVINO or the `onnx` library is not installed.
    """
    mean, deviation = normalization(preprocessing)
    if not file.is_file():
        raise ModelError("There is no such model file", do="check the path of --backbone", file=str(file))
    openvino = load_openvino("running an encoder")
    try:
        data = onnx_format.checked(file).SerializeToString()  # what was checked is what runs
    except ModuleNotFoundError as error:
        raise MissingExtra("export", need=f"running an encoder ({error.name} is missing)") from error
    except ModelError as error:
        raise ModelError(error.what, expected=error.expected, do=_DO, **error.received) from error
    try:
        model = openvino_format.core().read_model(data, b"")
        shape, channels_last, spec = _input(model, file, image_size)
        shape, outputs = _opened(openvino, model, shape)
        engine = openvino_format.compiled(
            _features(openvino, _with_pixels(openvino, model, channels_last, mean, deviation), outputs, file),
            "fp32",
            hint="THROUGHPUT",
        )
    except (RuntimeError, ValueError, MemoryError) as error:  # of OpenVINO
        raise ModelError(
            f"OpenVINO cannot run the encoder: {_reason(error)}",
            do=f"{_DO}, or choose another --image-size",
            file=str(file),
        ) from error
    return Encoder(spec, engine, batch_of(engine) if shape[0] < 0 else shape[0])


def normalization(preprocessing: str) -> tuple[_Numbers, _Numbers]:
    """Return mean and standard deviation of red, green and blue, for pixels from 0 to 1.

    Args:
        preprocessing: ``"imagenet"``, ``"clip"``, ``"MEAN,STD"`` such as ``"0.5,0.5"`` (SigLIP) or ``"0,1"``
            (MobileCLIP), or six numbers: the means of red, green and blue, then their deviations.

    Raises:
        RecipeError: It is something else.
    """
    if preprocessing in _NORMALIZATIONS:
        return _NORMALIZATIONS[preprocessing]
    try:
        numbers = tuple(float(part) for part in preprocessing.split(","))
    except ValueError:
        numbers = ()
    half = len(numbers) // 2
    mean, deviation = numbers[:half], numbers[half:]
    if len(numbers) not in (2, 6) or not all(map(math.isfinite, numbers)) or min(deviation) <= 0:
        raise RecipeError(
            "Unknown preprocessing of a backbone's pixels",
            expected=_EXPECTED,
            do="see the encoder's model card or preprocessor_config.json",
            preprocessing=preprocessing,
        )
    return mean * (3 // half), deviation * (3 // half)


def _input(model: Any, file: Path, image_size: int | None) -> tuple[list[int], bool, InputSpec]:
    """Return the input's shape with -1 for an open batch size, whether channels come last, and the images it takes."""
    found = [str(port.partial_shape) for port in model.inputs]
    sides = list(model.inputs[0].partial_shape) if len(found) == 1 and len(model.inputs[0].partial_shape) == 4 else []
    floats = bool(sides) and model.inputs[0].element_type.get_type_name() in ("f16", "f32")
    shape = [side.get_length() if side.is_static else -1 for side in sides]
    channels_last = floats and shape[1] != 3 and shape[3] == 3
    if not floats or shape[3 if channels_last else 1] not in (3, -1) or 0 in shape:
        raise ModelError(
            "The encoder does not take one batch of RGB images",
            expected="one input of floats, (N, 3, height, width) or (N, height, width, 3)",
            do=_DO,
            file=str(file),
            inputs=", ".join(found)[:200],
        )
    first = 1 if channels_last else 2
    wanted = [side if side > 0 else image_size or _IMAGE_SIZE for side in shape[first : first + 2]]
    if image_size is not None and wanted != [image_size, image_size]:
        raise RecipeError(
            "The encoder takes images of another size",
            expected=f"{wanted[0]} x {wanted[1]} pixels, as the file says",
            do="leave out --image-size",
            image_size=image_size,
        )
    spec = InputSpec(height=wanted[0], width=wanted[1], color_mode="rgb")
    return [shape[0], *([*wanted, 3] if channels_last else [3, *wanted])], channels_last, spec


def _opened(openvino: Any, model: Any, shape: list[int]) -> tuple[list[int], list[list[int]]]:
    """Give the model its input shape; return that shape, and those of the outputs without the batch.

    Some exporters declare an open batch size over a graph that holds a fixed one. Such a graph does not give two rows
    for two images, and gets the batch size 1.
    """
    shapes: list[list[int]] = []
    if shape[0] < 0:
        try:
            shapes = _output_shapes(model, [2, *shape[1:]])
        except RuntimeError:
            shapes = []
        if not shapes or any(one[:1] != [2] for one in shapes):
            shape = [1, *shape[1:]]
    if shape[0] > 0:
        shapes = _output_shapes(model, shape)
    model.reshape(openvino.PartialShape(shape))
    return shape, [one[1:] for one in shapes]


def _output_shapes(model: Any, shape: list[int]) -> list[list[int]]:
    fixed = model.clone()
    fixed.reshape(shape)
    return [[int(side.get_length()) if side.is_static else -1 for side in port.partial_shape] for port in fixed.outputs]


def _reason(error: Exception) -> str:
    """Return the line of an OpenVINO error that says what is wrong: the last one before the summary."""
    lines = str(error).partition("\nSummary:")[0].split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), type(error).__name__)


def _with_pixels(openvino: Any, model: Any, channels_last: bool, mean: _Numbers, deviation: _Numbers) -> Any:
    """Return the model with uint8 (N, height, width, 3) as its input, normalized inside."""
    steps = openvino.preprocess.PrePostProcessor(model)
    image = steps.input()
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NHWC" if channels_last else "NCHW"))
    image.preprocess().convert_element_type(openvino.Type.f32).mean([255 * one for one in mean]).scale(
        [255 * one for one in deviation]
    )
    return steps.build()


def _features(openvino: Any, model: Any, outputs: list[list[int]], file: Path) -> Any:
    """Return the model with features, float32 (N, width), as its only output. See `load_encoder` for the choice."""
    opset = openvino.opset13
    places = [at for rank in (1, 2) for at, shape in enumerate(outputs) if len(shape) == rank and min(shape) > 0]
    if not places:
        raise ModelError(
            "The encoder has no output of features",
            expected="an output of shape (N, width) or (N, tokens, width)",
            do=_DO,
            file=str(file),
            outputs=str([["N", *shape] for shape in outputs])[:200],
        )
    shape = outputs[places[0]]
    rows = opset.convert(model.outputs[places[0]].get_node().input_value(0), "f32")
    if len(shape) == 2 and math.isqrt(shape[0]) ** 2 == shape[0]:
        rows = opset.reduce_mean(rows, 1)
    elif len(shape) == 2:
        rows = opset.gather(rows, 0, 1)
    return openvino.Model([rows], model.get_parameters(), "encoder")
