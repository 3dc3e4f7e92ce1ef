"""Versions of installed packages, under whatever name they were installed."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

import pytest

from housetrain.diagnosis import doctor
from housetrain.system.packages import version_of
from housetrain.training.environment import frozen


@pytest.fixture
def cpu_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that has the package tensorflow-cpu and nothing else, after what doctor uses was imported."""
    doctor(tmp_path)
    about = tmp_path / "tensorflow_cpu-2.21.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 2.21.0\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    importlib.invalidate_caches()


def test_an_installed_package_has_a_version() -> None:
    assert version_of("numpy") == importlib.metadata.version("numpy")
    assert version_of("no-such-package") is None


def test_tensorflow_for_cpus_is_tensorflow(cpu_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert version_of("tensorflow") == "2.21.0" and version_of("keras") is None
    assert frozen() == "tensorflow-cpu==2.21.0\n"  # what was installed, for pip
    found = doctor(tmp_path)
    assert found.backend == "tensorflow" and found.versions["tensorflow"] == "2.21.0"
    assert not [one for one in found.remarks if "No Keras backend" in one.message]
