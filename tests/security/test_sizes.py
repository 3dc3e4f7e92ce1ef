"""What a header announces is bounded before memory is taken for it, and deep JSON is one clear error."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import CorruptError
from housetrain.system import store
from housetrain.system.arrays import load_npy, load_npz

DEEP = [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 100_000 + b"]" * 100_000]


@pytest.mark.parametrize("data", DEEP)
def test_deep_json_is_one_clear_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="nested too deeply"):
        store.read_json(path)
    path.write_bytes(data + b"\n")
    with pytest.raises(CorruptError):
        store.read_lines(path)
    with pytest.raises(CorruptError):
        SplitManifest.from_bytes(data)


def npy(shape: str, dtype: str = "|u1", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


BOMBS = {
    "much": npy("(1 << 40,)".replace("1 << 40", str(1 << 40))),
    "overflow": npy(f"({1 << 40}, {1 << 40})"),
    "negative": npy("(-5,)"),
    "text": npy("('a',)"),
    "object": npy("(3,)", "|O"),
    "wide": npy("(3,)", "|V2000000000"),
    "short": npy("(300,)"),
    "no array": b"no array",
    "deep header": npy("(" * 5000 + ")" * 5000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_array_takes_no_more_memory_than_its_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(BOMBS[name])
    tracemalloc.start()
    with pytest.raises(CorruptError):
        load_npy(tmp_path / "a.npy")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.npy", BOMBS[name])
    with pytest.raises(CorruptError):
        load_npz(archive.getvalue(), ("a",), most_bytes=1 << 20, name="a.npz")
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_a_compressed_array_is_bounded(tmp_path: Path) -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, a=np.zeros(64 << 20, np.uint8))
    assert len(archive.getvalue()) < 1 << 20
    tracemalloc.start()
    with pytest.raises(CorruptError, match="larger than"):
        load_npz(archive.getvalue(), ("a",), most_bytes=16 << 20, name="a.npz")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert load_npz(archive.getvalue(), ("a",), most_bytes=65 << 20, name="a.npz")["a"].shape == (64 << 20,)
