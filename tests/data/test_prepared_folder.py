"""The content of a prepared folder is replaced as a whole: an error or a kill leaves the old content or the new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.data import npy_writer, prepared_folder
from housetrain.data.prepared import Prepared
from housetrain.data.prepared_folder import MANIFEST, Filled, cached, read_manifest, write_prepared
from housetrain.data.split_manifest import Row, SplitManifest
from housetrain.errors import CorruptError, FolderError, IncompleteError
from housetrain.images.input_spec import InputSpec

SPEC = InputSpec(height=2, width=3)
SPLITS = ("train", "train", "validation", "test")


def split_of(seed: int, *, classes: tuple[str, ...] = ("a", "b")) -> SplitManifest:
    rows = []
    for label in classes:
        for number, split in enumerate(SPLITS):
            digest = hashlib.sha256(f"{seed} {label} {number}".encode()).hexdigest()
            rows.append(Row(f"{label}/{number}", digest, label, split, digest))
    return SplitManifest.of_rows("/images", classes, rows=rows, options={"seed": seed})


def write(folder: Path, seed: int, *, failed: dict[int, str] | None = None, key: str = "") -> Prepared:
    """Write a folder whose every pixel is the seed, plus the row's number."""
    split = split_of(seed)

    def fill(part: Path) -> Filled:
        descriptor = os.open(part, os.O_RDWR)
        for number in range(len(split.rows)):
            npy_writer.write_row(descriptor, number, np.full(SPEC.shape, seed + number, np.uint8))
        os.close(descriptor)
        return Filled(failed or {}, len(split.rows))

    request = {"split": key or f"key {seed}", "catalog": ""}
    manifest = write_prepared(folder, split, SPEC, fill=fill, request=request, decoder={"made": "by hand"})
    return Prepared.of_manifest(folder, manifest)


def pixels(folder: Path) -> list[int]:
    prepared = Prepared.open(folder)
    arrays = [prepared.arrays(name).images for name in ("train", "validation", "test")]
    return [int(image.max()) for images in arrays for image in images]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    first = write(folder, 10)
    assert pixels(folder) == list(range(10, 18)) and first.decoder == {"made": "by hand"}
    assert np.load(first.file).shape == (8, 2, 3, 1), "any numpy opens the file"
    before = files(folder)
    assert write(folder, 10).file == first.file and files(folder) == before, "the same request writes nothing"
    write(folder, 50)
    assert pixels(folder) == list(range(50, 58)) and len(files(folder)) == 3 and not files(folder) & before - {MANIFEST}
    assert cached(folder, "split", "key 50") == read_manifest(folder)
    assert cached(folder, "split", "key 10") is None and cached(folder, "no such kind", "") is None


def test_rows_that_fail_are_left_out_with_the_reason(tmp_path: Path) -> None:
    prepared = write(tmp_path, 10, failed={1: "broken", 7: "hangs"})
    assert pixels(tmp_path) == [10, 12, 13, 14, 15, 16]
    assert sorted(row.reason for row in prepared.split.left_out) == ["broken", "hangs"]
    assert len(prepared.split.rows) == 6
    with pytest.raises(FolderError, match=r"No image of class '\w' could be decoded for training"):
        write(tmp_path / "other", 10, failed=dict.fromkeys(range(4), "broken"))
    assert not (tmp_path / "other" / MANIFEST).exists() and files(tmp_path / "other") == set()


@pytest.mark.parametrize("step", ["write_atomic", "_remove_leftovers"])
@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_cut_off_after_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, last: int) -> None:
    write(tmp_path, 10)
    original, calls = getattr(prepared_folder, step), 0

    def stop(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > last:
            raise KeyboardInterrupt
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(prepared_folder, step, stop)
        with contextlib.suppress(KeyboardInterrupt):
            write(tmp_path, 50)
    assert pixels(tmp_path) in (list(range(10, 18)), list(range(50, 58)))
    write(tmp_path, 90)
    assert pixels(tmp_path) == list(range(90, 98)) and len(files(tmp_path)) == 3


def test_damage_is_found_before_it_is_read(tmp_path: Path) -> None:
    prepared = write(tmp_path, 10)
    listing = tmp_path / read_manifest(tmp_path)["split"]["file"]
    whole = listing.read_bytes()
    listing.write_bytes(whole.replace(b"a/0", b"a/8"))
    with pytest.raises(CorruptError, match=r"changed.*split-"):
        Prepared.open(tmp_path)
    assert cached(tmp_path, "split", "key 10") is None
    listing.write_bytes(whole)
    os.truncate(prepared.file, prepared.file.stat().st_size - 1)
    with pytest.raises(CorruptError, match=r"changed.*images-"):
        Prepared.open(tmp_path)
    assert pixels(write(tmp_path, 10).folder) == list(range(10, 18)), "preparing again repairs the folder"
    Prepared.open(tmp_path).file.unlink()
    with pytest.raises(CorruptError, match="lacks a file"):
        Prepared.open(tmp_path)


def test_a_manifest_is_read_with_suspicion(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no prepared images"):
        read_manifest(tmp_path)
    write(tmp_path, 10)
    good = json.loads((tmp_path / MANIFEST).read_text())
    for wrong in ({**good, "format": 99}, {**good, "images": {"file": "../other.npy"}}, {}, []):
        (tmp_path / MANIFEST).write_text(json.dumps(wrong))
        with pytest.raises(CorruptError, match=r"prepared\.json cannot be read"):
            read_manifest(tmp_path)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep")
    with pytest.raises(FolderError, match=r"letter\.txt"):
        write(tmp_path, 10)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="not a folder"):
        write(tmp_path / "file", 10)
    assert files(tmp_path) == {"letter.txt", "file"}
