"""Tables of predictions as Parquet and at addresses: the rows of the local file, resumable, whole or not there."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import Tiny

from housetrain.errors import MissingExtra, RecipeError
from housetrain.inference import tables
from housetrain.inference.tables import Table

Call = Callable[..., tuple[int, str, str]]


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    pytest.importorskip("pyarrow", reason="the extra cluster is not installed")
    from pyarrow import parquet

    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


@pytest.fixture
def images(tiny: Tiny, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, path in enumerate(sorted(tiny.images.rglob("*.png"))[:6]):
        (folder / f"{number}.png").write_bytes(path.read_bytes())
    (folder / "5.png").write_bytes(b"no image")
    (folder / "Thumbs.db").write_bytes(b"")
    return folder


def test_parquet_holds_the_rows_of_json_lines(tiny: Tiny, images: Path, tmp_path: Path, call: Call) -> None:
    pytest.importorskip("pyarrow", reason="the extra cluster is not installed")
    target = tmp_path / "names.parquet"
    code, out, _ = call("predict", tiny.run, images, "--output", target, "--top", 2)
    assert code == 1 and f"6 images in {target}" in out, "one image cannot be read"
    call("predict", tiny.run, images, "--output", tmp_path / "names.jsonl", "--top", 2)
    lines = [json.loads(line) for line in (tmp_path / "names.jsonl").read_text().splitlines()]
    rows = parquet_rows(target)
    assert [{name: row[name] for name in lines[0]} for row in rows] == lines and len(lines) == 6
    assert rows[5]["label"] is None and rows[5]["error"] and len(rows[0]["top"]) == 2
    assert {path.name for path in tmp_path.iterdir() if "names" in path.name} == {"names.parquet", "names.jsonl"}


def test_images_and_tables_at_an_address(tiny: Tiny, images: Path, tmp_path: Path, call: Call) -> None:
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    target = (tmp_path / "bucket" / "names.csv").as_uri()
    code, out, _ = call("predict", tiny.run, images.as_uri(), "--output", target)
    assert code == 1 and f"6 images in {target}" in out
    with (tmp_path / "bucket" / "names.csv").open() as file:
        rows = list(csv.DictReader(file))
    call("predict", tiny.run, images, "--csv", tmp_path / "local.csv")
    with (tmp_path / "local.csv").open() as file:
        local = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [(images / row["File"]).as_uri() for row in local]
    same = ("label", "probability", "margin", "seen_in_training", "error", "RelativePath", "File")
    assert [[row[name] for name in same] for row in rows] == [[row[name] for name in same] for row in local]


def test_a_table_that_was_interrupted_is_resumed(tiny: Tiny, images: Path, tmp_path: Path, call: Call) -> None:
    pytest.importorskip("pyarrow", reason="the extra cluster is not installed")
    target = tmp_path / "names.parquet"
    words = ("predict", tiny.run, images, "--output", target)
    rows = Table.of(str(target)).rows
    original = tables._write_parquet

    def killed(*given: Any) -> None:
        rows.with_name(f"{rows.name}.unfinished").write_bytes(marker)
        rows.write_bytes(rows.read_bytes()[: len(rows.read_bytes()) // 2])
        raise KeyboardInterrupt

    call(*words[:-1], tmp_path / ".x.jsonl")
    from housetrain.inference import batch_predict

    marker = b""
    unlink = Path.unlink

    def keep(path: Path, **more: Any) -> None:
        nonlocal marker
        if path == batch_predict._marker(rows):
            marker = path.read_bytes()
        unlink(path, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", keep)
        patch.setattr(tables, "_write_parquet", killed)
        assert call(*words)[0] == 130 and not target.exists()
    assert tables._write_parquet is original
    code, out, _ = call(*words)
    assert code == 1 and "from an earlier call" in out and len(parquet_rows(target)) == 6 and not rows.exists()


def test_other_kinds_and_a_missing_library_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"kind of the table is not known.*\.csv, \.jsonl, \.parquet"):
        Table.of("names.xlsx")
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="Writing Parquet"):
        Table.of(str(tmp_path / "names.parquet"))
    assert Table.of("s3://bucket/names.csv").kind == "csv" and Table.of("a.jsonl").is_local_rows
