"""Encoder: the user's own image encoder in an ``.onnx`` file, run frozen for its features.

In: a file, how it wants its pixels, an image size. Out: an engine, uint8 images in, float32 features out; with a head,
a classifier in OpenVINO's format. It does not know folders, labels, or how a head is fitted. The file is compared with
the allow-list of `housetrain.inference.formats.onnx` before OpenVINO reads it. Nothing here imports Keras.
"""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import MissingExtra, ModelError, RecipeError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.engine import LoadedModel
from housetrain.inference.fastest import batch_of
from housetrain.inference.formats import onnx as onnx_format
from housetrain.inference.formats import openvino as openvino_format
from housetrain.models.backbones import ENCODER
from housetrain.models.recipe import Recipe
from housetrain.system import store
from housetrain.system.backend import load_openvino

if TYPE_CHECKING:
    import numpy as np

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
        model: The engine's `openvino.Model`.
        sha256: Of the file.
    """

    spec: InputSpec
    engine: LoadedModel
    batch: int
    model: Any
    sha256: str

    @property
    def width(self) -> int:
        """Features per image."""
        return int(self.engine.outputs[0].shape[1] or 0)

    @property
    def parameters(self) -> int:
        """Number of its weights: the elements of its float constants."""
        constants = [one.outputs()[0] for one in self.model.get_ops() if one.get_type_name() == "Constant"]
        return sum(math.prod(one.shape) for one in constants if one.element_type.is_real())

    def with_head(self, kernel: np.ndarray, bias: np.ndarray) -> Classifier:
        """Return the encoder with a `Dense` layer on its features.

        Args:
            kernel: float32 (width, units); one unit is the logit of the second of two classes.
            bias: float32 (units,).
        """
        openvino = load_openvino("saving a model")
        opset, graph = openvino.opset13, self.model.clone()
        features = graph.outputs[0].get_node().input_value(0)
        logits = opset.add(opset.matmul(features, opset.constant(kernel), False, False), opset.constant(bias[None]))
        outputs = opset.sigmoid(logits) if len(bias) == 1 else opset.softmax(logits, 1)
        return Classifier(openvino.Model([outputs], graph.get_parameters(), "classifier"))


class Classifier(NamedTuple):
    """An encoder with a head.

    Attributes:
        model: `openvino.Model`, uint8 (N, height, width, 3) in, probabilities (N, units) out.
    """

    model: Any

    def save(self, folder: Path) -> None:
        """Write ``model.bin``, then ``model.xml``, each completely or not at all.

        Raises:
            DiskFull: They cannot be written.
        """
        file = folder / openvino_format.FORMAT.file
        with store.disk_errors(folder), tempfile.TemporaryDirectory(prefix=".model-", dir=folder) as scratch:
            made = Path(scratch, file.name)
            openvino_format.save(self.model, made, "fp32")
            for suffix in (".bin", ".xml"):
                with store.replacing(file.with_suffix(suffix)) as temporary:
                    made.with_suffix(suffix).rename(temporary)


def encoder_recipe(file: Path, preprocessing: str, image_size: int | None = None, **settings: Any) -> Recipe:
    """Check an encoder, and return the recipe of a logistic regression on its features.

    Args:
        file: See `load_encoder`, as the following ones.
        preprocessing: See `normalization`.
        image_size: Pixels.
        **settings: Further recipe fields.

    Raises:
        RecipeError: The settings are wrong, or the encoder takes no square images. Others: see `load_encoder`.
    """
    path = str(file.absolute())
    spec, sha256 = (found := _kept(path, preprocessing, image_size)).spec, found.sha256
    if spec.height != spec.width:
        raise RecipeError(
            "The encoder does not take square images", expected="one side", height=spec.height, width=spec.width
        )
    fixed = {"weights": path, "weights_sha256": sha256, "preprocessing": preprocessing, "image_size": spec.height}
    return Recipe.of(ENCODER, **settings, **fixed)


def encoder_of(recipe: Recipe, spec: InputSpec) -> Encoder:
    """Return the encoder of a recipe for images of ``spec``. The last one is kept in memory.

    Raises:
        ModelError: The file is not the one that the recipe was made with.
        RecipeError: The images have another size or color mode. Others: see `load_encoder`.
    """
    found = _kept(recipe.weights, recipe.preprocessing, spec.height)
    if recipe.weights_sha256 not in ("", found.sha256):
        raise ModelError(
            "The encoder's file was changed",
            expected=f"sha256 {recipe.weights_sha256}",
            do="restore it, or start a new run",
            file=recipe.weights,
            sha256=found.sha256,
        )
    if found.spec.shape != spec.shape:
        raise RecipeError(
            "The images are not prepared as the encoder takes them",
            expected=f"{found.spec.height}x{found.spec.width} rgb",
            do="prepare them in that size and color mode",
            spec=f"{spec.height}x{spec.width} {spec.color_mode}",
        )
    return found


def _kept(file: str, preprocessing: str, image_size: int | None) -> Encoder:
    return _loaded(file, store.known_sha256(Path(file)) if Path(file).is_file() else "", preprocessing, image_size)


@functools.lru_cache(maxsize=2)
def _loaded(file: str, sha256: str, preprocessing: str, image_size: int | None) -> Encoder:
    return load_encoder(Path(file), preprocessing, image_size)


def load_encoder(file: Path, preprocessing: str, image_size: int | None = None) -> Encoder:
    """Check an image encoder and compile it for this CPU, in float32.

    The file takes float RGB images, (N, 3, height, width) or (N, height, width, 3), as its only input. Its features are
    the first output of shape (N, width) or (N, width, 1, 1). If there is none, they come from the first output of shape
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
        graph = _features(openvino, _with_pixels(openvino, model, channels_last, mean, deviation), outputs, file)
        openvino_format.must_be_readable(graph, file)
        engine = openvino_format.compiled(graph, "fp32", hint="THROUGHPUT")
    except (RuntimeError, ValueError, MemoryError) as error:  # of OpenVINO
        raise ModelError(
            f"OpenVINO cannot run the encoder: {_reason(error)}",
            do=f"{_DO}, or choose another --image-size",
            file=str(file),
        ) from error
    batch = batch_of(engine) if shape[0] < 0 else shape[0]
    return Encoder(spec, engine, batch, graph, store.known_sha256(file))


def normalization(preprocessing: str) -> tuple[_Numbers, _Numbers]:
    """Return mean and standard deviation of red, green and blue, for pixels from 0 to 1.

    Args:
        preprocessing: ``"imagenet"``, ``"clip"``, ``"MEAN,STD"`` such as ``"0.5,0.5"`` (SigLIP) or ``"0,1"``
            (MobileCLIP), or six numbers: the means of red, green and blue, then their deviations.

    Raises:
        RecipeError: It is empty, or something else.
    """
    if not preprocessing:
        raise RecipeError(
            "An encoder's file does not say how it wants its pixels",
            expected="--backbone-preprocessing imagenet, clip or MEAN,STD",
            do="see the encoder's model card or preprocessor_config.json",
        )
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
    flat = [at for at, shape in enumerate(outputs) if len(shape) == 1 or (len(shape) == 3 and shape[1:] == [1, 1])]
    tokens = [at for at, shape in enumerate(outputs) if len(shape) == 2]
    places = [at for at in flat + tokens if min(outputs[at]) > 0]
    if not places:
        raise ModelError(
            "The encoder has no output of features",
            expected="an output of shape (N, width), (N, width, 1, 1) or (N, tokens, width)",
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
    elif len(shape) == 3:
        rows = opset.squeeze(rows, [2, 3])
    return openvino.Model([rows], model.get_parameters(), "encoder")
