"""What an OpenVINO file may hold: everything else is refused before OpenVINO reads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.errors import ModelError
from housetrain.inference.formats import openvino as openvino_format


@pytest.fixture(scope="module")
def model(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits' model for OpenVINO."""
    return ht.export(digits.run, tmp_path_factory.mktemp("exports") / "openvino", format="openvino").folder


def _swap(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda path: _swap(path, b'type="Convolution"', b'type="If"'), "holds If"),
        (lambda path: _swap(path, b'type="ReLU" version="opset1"', b'type="ReLU" version="evil"'), "ReLU of evil"),
        (
            lambda path: _swap(path, b"<net", b'<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]><net'),
            "not an OpenVINO model",
        ),
        (lambda path: _swap(path, b'offset="0"', b'offset="999999999"'), "not there"),
        (lambda path: _swap(path, b'offset="0"', b'offset="-5"'), "not there"),
        (lambda path: _swap(path, b"</layers>", b""), "damaged"),
        (lambda path: path.write_bytes(b""), "not an OpenVINO model"),
        (lambda path: path.write_bytes(b"<net ></net>"), "no layer"),
        (lambda path: path.with_suffix(".bin").unlink(), "No such|no such"),
    ],
)
def test_hostile_openvino_files_are_refused(model: Path, tmp_path: Path, change: Any, word: str) -> None:
    for name in ("model.xml", "model.bin"):
        shutil.copyfile(model / name, tmp_path / name)
    openvino_format.check(tmp_path / "model.xml")
    change(tmp_path / "model.xml")
    with pytest.raises(ModelError, match=word):
        openvino_format.check(tmp_path / "model.xml")


def hidden(path: Path) -> None:
    """Hide the layers from a parser that knows namespaces, behind others that are fine; OpenVINO's reads the first."""
    data = path.read_bytes()
    start, end = data.index(b"<layers>"), data.index(b"</layers>") + len(b"</layers>")
    layers = data[start:end]
    odd = layers.replace(b'type="ReLU" version="opset1"', b'type="Tan" version="opset1"')
    assert odd != layers
    path.write_bytes(data[:start] + odd.replace(b"<layers>", b'<layers xmlns="elsewhere">') + layers + data[end:])


def test_layers_that_only_openvino_finds_are_refused_before_they_are_compiled(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.xml", "model.bin"):
        shutil.copyfile(model / name, tmp_path / name)
    compiled: list[object] = []
    monkeypatch.setattr(openvino_format, "compiled", lambda *words: compiled.append(words))
    openvino_format.load(tmp_path / "model.xml")
    assert len(compiled) == 1
    hidden(tmp_path / "model.xml")
    openvino_format.check(tmp_path / "model.xml")  # deceived
    with pytest.raises(ModelError, match="holds Tan of opset1"):
        openvino_format.load(tmp_path / "model.xml")
    assert len(compiled) == 1


def test_several_requests_give_what_one_gives(model: Path, digits: Any) -> None:
    images = np.asarray(digits.prepared.test.images[:32])
    one = openvino_format.load(model / "model.xml")
    many = openvino_format.compiled(str(model / "model.xml"), "fp32", hint="THROUGHPUT")
    assert many.parallel >= 1 and one.parallel == 1
    np.testing.assert_allclose(many.run(images), one.run(images), atol=1e-6)
    assert one.name == "OpenVINO fp32"
