"""See `housetrain.system.storage`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from housetrain.errors import HousetrainError, MissingExtra
from housetrain.system.storage import open_storage


def test_a_path_and_an_address_open_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "a.txt").write_text("x")
    for address in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}"):
        files, path = open_storage(address, need="Reading")
        assert files.cat_file(f"{path}/a.txt") == b"x"


def test_an_unknown_kind_of_address_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(HousetrainError, match=r"kind of address cannot be used.*nosuch://there"):
        open_storage("nosuch://there/x", need="Reading")


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="cluster"):
        open_storage("s3://bucket", need="Reading s3:// addresses")
