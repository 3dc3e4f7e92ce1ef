"""What a header announces is bounded before memory is taken for it, and deep JSON is one clear error."""

from __future__ import annotations

import io
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_run import Tiny

from housetrain.data.split_manifest import SplitManifest
from housetrain.errors import CorruptError, ModelError
from housetrain.inference.formats import keras as keras_format
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


def rewritten(source: Path, target: Path, **members: bytes | None) -> Path:
    """Write a ``.keras`` file with other members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.partition(".")[0]) or old.read(name))
    return target


def test_a_model_of_more_parameters_than_its_file_holds_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny.run / "model.keras"
    keras_format.check(rewritten(model, tmp_path / "same.keras"))
    with zipfile.ZipFile(model) as archive:
        config = archive.read("config.json")
    changed = config.replace(b'"units": 4', b'"units": 800000000')
    assert changed != config
    with pytest.raises(ModelError, match="more parameters than its file"):
        keras_format.check(rewritten(model, tmp_path / "large.keras", config=changed))
    with pytest.raises(ModelError, match="expands too much"):
        keras_format.check(rewritten(model, tmp_path / "zeros.keras", model=bytes(20 << 20)))


TAMPERED = ["recipe.json", "input.json", "split.json", "history.jsonl", "result.json", "evaluation/evaluation.json",
            "evaluation/manifest.json", "report.json", "bundle/manifest.json", "bundle/bundle.json"]  # fmt: skip
CONTENTS = {
    "deep": b"[" * 100_000,
    "null": b"null\n",
    "list": b"[1, 2]\n",
    "number": b"3\n",
    "empty": b"",
    "bytes": b"\xff\0",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_no_tampered_run_ends_in_a_traceback(
    content: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from housetrain import cli

    for name in TAMPERED:
        if not (tiny.run / name).is_file():
            continue
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(tiny.run, run)
        (run / name).write_bytes(CONTENTS[content])
        for words in (["predict", run, tiny.images / "cats" / "1.png"], ["compare", run, tiny.run], ["evaluate", run]):
            monkeypatch.setattr("sys.argv", ["housetrain", *map(str, words)])
            with pytest.raises(SystemExit) as left:  # anything else would be a traceback
                cli.main()
            assert left.value.code in (0, 1, 2), (name, words)
            capsys.readouterr()
