"""Images at addresses: listed like folders of this machine, and errors that are one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePosixPath

import pytest

from housetrain.errors import DecodeError, FolderError, HousetrainError, MissingExtra
from housetrain.inference import addresses
from housetrain.inference.addresses import AddressListing, is_address, read_address, writing
from housetrain.inference.inputs import Listing


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    for name in ("b/2.png", "b/10.png", "a/x y.png", "a/.hidden.png", "Thumbs.db", "a/__MACOSX/1.png"):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "bucket"


def test_an_address_lists_what_a_folder_lists(bucket: Path) -> None:
    base = f"file://{bucket}"
    listing = AddressListing([base])
    assert list(listing) == [f"{base}/{path.relative_to(bucket)}" for path in Listing([bucket])]
    assert listing.folder_of(f"{base}/b/2.png") == PurePosixPath("b") and listing.at_least(3)
    both = AddressListing([f"{base}/a/x y.png", str(bucket / "b"), base])
    assert len(list(both)) == 5 and both.folder_of(bucket / "b" / "2.png") == PurePosixPath()
    assert read_address(f"{base}/a/x y.png") == b"a/x y.png"


def test_what_cannot_be_read_is_one_reason(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DecodeError, match="file not found"):
        read_address(f"file://{bucket}/none.png")
    monkeypatch.setattr(addresses, "MAX_BYTES", 3)
    with pytest.raises(DecodeError, match="file too large"):
        read_address(f"file://{bucket}/b/2.png")
    for none in ("a/.hidden", "nowhere"):
        with pytest.raises(FolderError, match="no images at the address"):
            AddressListing([f"file://{bucket}/{none}"])
    with pytest.raises(HousetrainError, match="kind of address cannot be used"):
        AddressListing(["nosuch://x"])


def test_a_file_is_written_with_its_folders(bucket: Path) -> None:
    with writing(f"file://{bucket}/new/deep/file") as file:
        file.write(b"1")
    assert (bucket / "new" / "deep" / "file").read_bytes() == b"1"


def test_paths_are_no_addresses_and_a_missing_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_address("s3://a/b") and not is_address("a/b") and not is_address(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="Reading s3://"):
        AddressListing(["s3://a/b"])
