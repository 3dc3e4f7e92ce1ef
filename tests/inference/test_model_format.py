"""Model formats: what cannot be written is refused first, and a failed conversion leaves nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import signal
from pathlib import Path
from typing import Any

import pytest

import housetrain as ht
from housetrain.errors import MissingExtra, ModelError
from housetrain.inference import formats
from housetrain.inference.formats import FORMATS


def test_a_conversion_that_fails_leaves_nothing_behind(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Any, path: Path, *_: Any) -> None:
        path.write_bytes(b"half of it")
        raise RuntimeError("the converter\nfell over")

    monkeypatch.setitem(formats.FORMATS, "onnx", dataclasses.replace(FORMATS["onnx"], convert=broken))
    with pytest.raises(ModelError, match="cannot be converted to onnx fp32: RuntimeError: the converter fell over"):
        ht.export(digits.run, tmp_path / "new", format="onnx")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_a_conversion_is_no_failed_conversion(tmp_path: Path) -> None:
    """OpenVINO's converter calls Python, and makes an error of its own of what is raised there."""

    def convert(model: Any, path: Path, *_: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("conversion is failed for: Const") from None

    toy = dataclasses.replace(FORMATS["onnx"], convert=convert)
    with pytest.raises(KeyboardInterrupt):
        toy.write(None, tmp_path)


def test_what_cannot_be_made_is_said_in_one_line(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"onnx does not support bf16\. Expected: fp32, int8\. Do: choose another"):
        ht.export(digits.run, format="onnx", precision="bf16")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else found(name))
    with pytest.raises(MissingExtra, match=r"tf2onnx is missing.*pip install .*tf2onnx"):
        ht.export(digits.run, format="onnx")
