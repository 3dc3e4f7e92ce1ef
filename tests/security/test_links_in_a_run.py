"""Links inside a run or sweep from somebody else lead no writing and no deletion to another place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from handmade_runs import MakeRun

import housetrain as ht
from housetrain.errors import CorruptError
from housetrain.system import files, store
from housetrain.system.lock import Lock

PLACES = ["evaluations.jsonl", "exports", "tb", "checkpoints", "explained", ".lock", "a/deep/link", "report.html"]
Action = Callable[[Path], object]
ACTIONS: dict[str, Action] = {
    "evaluate": ht.evaluate,
    "export": ht.export,
    "report": ht.write_report,
    "explain": lambda run: ht.explain(run, []),
    "lock": lambda run: Lock(run).__enter__(),
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_written_into_a_run_with_links(place: str, make_run: MakeRun, elsewhere: Path) -> None:
    run = make_run(with_arrays=True)
    link = run.folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    for target in (elsewhere, elsewhere / "kept.txt", elsewhere / "new"):
        link.symlink_to(target)
        for action in ACTIONS.values():
            with pytest.raises(CorruptError, match="holds a link"):
                action(run.folder)
        link.unlink()
    assert [path.name for path in elsewhere.iterdir()] == ["kept.txt"]
    assert (elsewhere / "kept.txt").read_text() == "kept"


def test_a_fifo_in_a_run_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    os.mkfifo(run.folder / "evaluations.jsonl")
    with pytest.raises(CorruptError, match="neither a file nor a folder"):
        ht.write_report(run)


def test_lines_are_not_appended_through_a_link(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "lines.jsonl").symlink_to(elsewhere / "kept.txt")
    with pytest.raises(CorruptError, match="link"):
        store.append_line(tmp_path / "lines.jsonl", {})
    os.mkfifo(tmp_path / "fifo.jsonl")
    with pytest.raises(CorruptError, match=r"FIFO|regular"):
        store.append_line(tmp_path / "fifo.jsonl", {})
    assert (elsewhere / "kept.txt").read_text() == "kept"


def test_a_file_replaces_a_link_and_temporary_names_are_unpredictable(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "a.json").symlink_to(elsewhere / "kept.txt")
    store.write_json_atomic(tmp_path / "a.json", {"a": 1})
    assert (elsewhere / "kept.txt").read_text() == "kept" and not (tmp_path / "a.json").is_symlink()
    assert len({files.temporary_beside(tmp_path / "a.json") for _ in range(20)}) == 20
    assert files.is_temporary(files.temporary_beside(tmp_path / "a.json").name)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "link to a device"])
def test_json_is_read_from_regular_files_only(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for read in (store.read_json, store.read_lines):
        with pytest.raises(CorruptError, match="not a file"):
            read(path)
    with pytest.raises(CorruptError):
        store.verify_folder(tmp_path)
