"""doctor's facts and remarks: what is missing or slow is reported with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from housetrain import diagnosis
from housetrain.diagnosis import doctor


def remarks(folder: Path, severity: str) -> str:
    return " | ".join(f"{one.message} {one.do}" for one in doctor(folder).remarks if one.severity == severity)


def test_the_facts_are_plain_json(tmp_path: Path) -> None:
    facts = doctor(tmp_path).to_json()
    assert json.loads(json.dumps(facts))["cores"] == facts["cores"] >= 1
    assert 0 < facts["memory_free_bytes"] <= facts["memory_bytes"]
    assert facts["versions"]["numpy"]
    assert {"JPEG", "PNG", "TIFF"} <= set(facts["formats"])


def test_heic_is_listed_where_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "version_of", lambda name: "1.0")
    assert "HEIC" in doctor(tmp_path).formats
    monkeypatch.setattr(diagnosis, "PACKAGES", ("numpy",))
    assert "HEIC" not in doctor(tmp_path).formats and 'pip install "pillow-heif' in remarks(tmp_path, "note")


def test_no_backend_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(diagnosis, "PACKAGES", ("numpy",))
    assert "No Keras backend is installed" in remarks(tmp_path, "error")
    assert 'pip install "keras>=' in remarks(tmp_path, "error")


@pytest.mark.parametrize(("backend", "said"), [("theano", "not a supported backend"), ("jax", "jax is not installed")])
def test_a_backend_that_cannot_train_is_an_error(
    backend: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(diagnosis, "PACKAGES", ("numpy", "tensorflow"))
    assert said in remarks(tmp_path, "error")


def test_little_disk_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1 << 29})
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda folder: usage)
    assert "0.5 GiB of disk space are free" in remarks(tmp_path, "warning")
