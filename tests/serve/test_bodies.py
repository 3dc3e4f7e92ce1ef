"""Untrusted bodies become images and arrays, or one reason."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hostile import huge, jpeg

from housetrain.errors import DecodeError
from housetrain.images.decode import load_image
from housetrain.images.input_spec import InputSpec
from housetrain.serve import bodies

SHAPE = (2, 3, 1)
TENSOR: dict[str, Any] = {"name": "images", "shape": [1, 2, 3, 1], "datatype": "UINT8", "data": [0, 1, 2, 3, 4, 255]}


def infer(most: int = 8, head: int | None = None, more: bytes = b"", **request: Any) -> bodies.Inference:
    text = json.dumps({"inputs": [TENSOR], **request}).encode()
    return bodies.inference_of(text + more, len(text) if head == -1 else head, SHAPE, most)


def test_an_image_is_read_as_for_training() -> None:
    spec, data = InputSpec(20, 30), jpeg()
    assert (bodies.read_image(data, spec, None)[0] == load_image(data, spec)).all()
    assert (bodies.read_image(data, spec, 120 * 160)[0] == load_image(data, spec)).all()
    for most in (120 * 160 - 1, 1000):
        with pytest.raises(DecodeError, match=r"too many pixels \(160x120"):
            bodies.read_image(data, spec, most)
    with pytest.raises(DecodeError, match="too many pixels"):
        bodies.read_image(huge("PNG"), spec, 10**8)


def test_images_in_json() -> None:
    text = base64.b64encode(b"abc").decode()
    found = bodies.images_of_json(json.dumps({"images": [text, {"data": text, "name": "n" * 300}]}).encode(), 2)
    assert found == [("<bytes>", b"abc"), ("n" * 255, b"abc")]
    with pytest.raises(DecodeError, match="takes 1 per request"):
        bodies.images_of_json(json.dumps({"images": [text, text]}).encode(), 1)
    for value in ({}, {"images": 1}, {"images": [1]}, {"images": [{}]}, {"images": ["a"]}, {"images": [{"data": "é"}]}):
        with pytest.raises(DecodeError, match=r"images|base64"):
            bodies.images_of_json(json.dumps(value).encode(), 2)


def test_numbers_are_nested_or_flat_or_bytes() -> None:
    wanted = np.array([0, 1, 2, 3, 4, 255], np.uint8).reshape(1, *SHAPE)
    nested = {**TENSOR, "data": wanted.tolist()}
    binary = {**TENSOR, "data": None, "parameters": {"binary_data_size": 6}}
    for found in (infer(), infer(inputs=[nested]), infer(inputs=[binary], head=-1, more=wanted.tobytes())):
        assert found.images.dtype == np.uint8 and (found.images == wanted).all()
    assert infer(id="seven").id == "seven" and infer().id is None


def test_the_response_is_binary_when_asked() -> None:
    output = {"name": "probabilities"}
    assert not infer().binary and not infer(outputs=[output]).binary
    assert infer(parameters={"binary_data_output": True}).binary
    assert infer(outputs=[{**output, "parameters": {"binary_data": True}}]).binary
    refused = {**output, "parameters": {"binary_data": False}}
    assert not infer(outputs=[refused], parameters={"binary_data_output": True}).binary


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": "pixels"}, "tensor 'images'"),
        ({"datatype": "FP32"}, "UINT8"),
        ({"shape": [1, 3, 2, 1]}, r"\[N, 2, 3, 1\]"),
        ({"shape": [0, 2, 3, 1]}, "does not fit"),
        ({"shape": [-1, 2, 3, 1]}, "does not fit"),
        ({"shape": [9, 2, 3, 1]}, "takes 8"),
        ({"shape": "x"}, "no shape"),
        ({"data": [1] * 5}, "5 numbers instead of 6"),
        ({"data": [1] * 5 + [256]}, "0 to 255"),
        ({"data": [1] * 5 + [-1]}, "0 to 255"),
        ({"data": [1] * 5 + [0.5]}, "0 to 255"),
        ({"data": [[1], [2, 3]]}, "list of numbers"),
        ({"data": [10**30] * 6}, "0 to 255"),
        ({"data": ["1"] * 6}, "0 to 255"),
        ({"data": None}, "0 to 255"),
        ({"data": None, "parameters": {"binary_data_size": 6}}, "binary_data_size"),
    ],
)
def test_an_input_that_does_not_fit_has_a_reason(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        infer(inputs=[{**TENSOR, **changed}])


@pytest.mark.parametrize("inputs", [None, [], {}, [TENSOR, TENSOR], [1]])
def test_there_is_one_input(inputs: Any) -> None:
    with pytest.raises(DecodeError, match="one tensor"):
        infer(inputs=inputs)


def test_an_unexpected_exception_tells_nothing_of_the_machine() -> None:
    with pytest.raises(DecodeError) as refused:
        bodies.run(bodies.Work(open, ("/etc/no-such-file",)))
    assert refused.value.reason == "cannot be read (FileNotFoundError)"
