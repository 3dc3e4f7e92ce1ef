"""What a child process does for a request: read an untrusted body, decode an untrusted image.

In: bytes that a client sent. Out: encoded images, prepared images, arrays. Does not know: HTTP, the model, the event
loop. Whatever it meets costs that request: it runs in `housetrain.system.process_pool`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import DecodeError, HousetrainError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.inference.inputs import Read, Reader

UNNAMED = "<bytes>"
INPUT, OUTPUT = "images", "probabilities"
"""Names of the tensors of the Open Inference Protocol."""

_JSON = '{"images": ["<base64>", {"name": "a.jpg", "data": "<base64>"}]}'
_LONGEST_NAME = 255


class Sent(NamedTuple):
    """An encoded image and what its client calls it."""

    name: str
    data: bytes


class Inference(NamedTuple):
    """A request of the Open Inference Protocol.

    Attributes:
        id: The client's name of the request, or ``None``.
        images: uint8 (N, height, width, channels).
        binary: Whether the response holds its numbers as bytes after its JSON.
    """

    id: str | None
    images: NDArray[np.uint8]
    binary: bool


class Work(NamedTuple):
    """A function of this module and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run(work: Work) -> Any:
    """Run a function of this module. An exception that is none of ours gets a message without details.

    Raises:
        DecodeError: The image, or the body, cannot be read.
    """
    try:
        return work.function(*work.arguments)
    except (HousetrainError, MemoryError):
        raise
    except Exception as error:
        raise DecodeError(f"cannot be read ({type(error).__name__})") from error


def read_image(data: bytes, spec: InputSpec, most_pixels: int | None) -> Read:
    """Decode an image as `housetrain.inference.predictor.Predictor` does.

    Raises:
        DecodeError: It cannot be read, or has more pixels.
    """
    if most_pixels is not None:
        header = decode.probe(data)
        if header.width * header.height > most_pixels:
            raise DecodeError(
                f"too many pixels ({header.width}x{header.height}; this server takes {most_pixels / 1e6:g} megapixels)"
            )
    return Reader(spec)(data)


def images_of_json(body: bytes, most: int) -> list[Sent]:
    """Return the images of ``{"images": [...]}``, each base64 text or an object with ``name`` and ``data``.

    Raises:
        DecodeError: The body is something else.
    """
    listed = _object(body).get("images")
    if not isinstance(listed, list) or not listed:
        raise DecodeError(f"the body holds no images; expected {_JSON}")
    if len(listed) > most:
        raise too_many(len(listed), most)
    found = []
    for number, one in enumerate(listed):
        one = one if isinstance(one, dict) else {"data": one}
        name, data = one.get("name", UNNAMED), one.get("data")
        if not isinstance(name, str) or not isinstance(data, str):
            raise DecodeError(f"image {number} is not base64 text; expected {_JSON}")
        try:
            found.append(Sent(name[:_LONGEST_NAME], base64.b64decode(data, validate=True)))
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"image {number} is not base64 text") from error
    return found


def images_of_form(body: bytes, content_type: str, most: int) -> list[Sent]:
    """Return the files of a ``multipart/form-data`` body.

    Raises:
        DecodeError: The body is something else, or holds no file.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import create_form_parser

    found: list[Sent] = []

    def add(file: Any) -> None:
        if len(found) >= most:
            raise too_many(len(found) + 1, most)
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")
        found.append(Sent(name[:_LONGEST_NAME] or UNNAMED, file.file_object.read()))

    options = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "MAX_FIELDS": 64, "MAX_FIELD_SIZE": 1 << 16}
    try:
        parser = create_form_parser({"Content-Type": content_type.encode("latin-1")}, _ignore, add, options)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise DecodeError("the body is not multipart/form-data as its Content-Type says") from error
    if not found:
        raise DecodeError("the form holds no file")
    return found


def inference_of(body: bytes, header_bytes: int | None, shape: tuple[int, int, int], most: int) -> Inference:
    """Return a request of the Open Inference Protocol, with the binary extension of Triton.

    Specification: https://github.com/kserve/open-inference-protocol and, for bytes after the JSON,
    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

    Args:
        body: JSON, or JSON and the bytes of the input.
        header_bytes: Length of the JSON where bytes follow.
        shape: Height, width, channels.
        most: Images at most.

    Raises:
        DecodeError: It is not such a request, or its input does not fit.
    """
    request = _object(body if header_bytes is None else body[:header_bytes])
    tensor = _one(request.get("inputs"), "inputs", INPUT)
    expected = f"shape [N, {', '.join(map(str, shape))}] of UINT8"
    sides = tensor.get("shape")
    if not isinstance(sides, list) or not all(isinstance(side, int) for side in sides) or len(sides) != 4:
        raise DecodeError(f"the input has no shape of four numbers; expected {expected}")
    if tensor.get("datatype") != "UINT8" or tuple(sides[1:]) != shape or sides[0] < 1:
        raise DecodeError(f"the input does not fit the model; expected {expected}")
    if sides[0] > most:
        raise too_many(sides[0], most)
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        pixels = _numbers(tensor.get("data"))
    else:
        pixels = np.frombuffer(body[header_bytes or len(body) :], np.uint8)
        if size != len(pixels):
            raise DecodeError(f"binary_data_size does not match the {len(pixels)} bytes after the JSON")
    if len(pixels) != math.prod(sides):
        raise DecodeError(f"the input holds {len(pixels)} numbers instead of {math.prod(sides)}")
    id_ = request.get("id")
    return Inference(id_ if isinstance(id_, str) else None, pixels.reshape(sides), _wants_bytes(request))


def too_many(count: int, most: int) -> DecodeError:
    """Return the error of a request with too many images."""
    return DecodeError(f"{count} or more images; this server takes {most} per request")


def _numbers(data: Any) -> NDArray[np.uint8]:
    """Return numbers from 0 to 255 in a list, nested or flat, as a flat array."""
    try:
        given = np.array(data).reshape(-1)
    except (ValueError, OverflowError) as error:
        raise DecodeError("the input's data is not a list of numbers") from error
    if given.dtype.kind not in "iu" or not len(given) or given.min() < 0 or given.max() > 255:
        raise DecodeError("the input's data is not a list of integers from 0 to 255")
    return given.astype(np.uint8)


def _wants_bytes(request: dict[str, Any]) -> bool:
    wanted = request.get("parameters")
    binary = isinstance(wanted, dict) and wanted.get("binary_data_output") is True
    if request.get("outputs"):
        parameters = _one(request["outputs"], "outputs", OUTPUT).get("parameters")
        if isinstance(parameters, dict) and "binary_data" in parameters:
            binary = parameters["binary_data"] is True
    return binary


def _one(tensors: Any, kind: str, name: str) -> dict[str, Any]:
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise DecodeError(f"{kind} is not a list of one tensor")
    if tensors[0].get("name") != name:
        raise DecodeError(f"{kind} does not hold the tensor {name!r}")
    return dict(tensors[0])


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise DecodeError("the body is not a JSON object")
    return value


def _ignore(field: Any) -> None:
    """Take no notice of a field of a form that is not a file."""
