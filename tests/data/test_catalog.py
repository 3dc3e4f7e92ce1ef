"""What a folder holds: every image found, what is no image named, and nothing read twice."""

from __future__ import annotations

import errno
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from events_of import Event, Interrupt, Listener
from hostile import GOOD, encode, hostile_folder, jpeg, photo
from tree import snapshot

from housetrain.data import catalog as module
from housetrain.data import class_folders, folder_walk
from housetrain.data.catalog import Catalog, cache_folder, scan
from housetrain.errors import DataError, FolderError
from housetrain.system import events, process_pool


def put(root: Path, *names: str, old: bool = True) -> Path:
    """Write images that look like no other, long ago."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(40, 50, seed=sum(os.fsencode(name))))
        if old:
            age(path)
    return root


def age(path: Path, seconds: float = 1000) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def found(one: Catalog) -> dict[str, tuple[str, str | None]]:
    return {image.path: (image.label, image.split) for image in one.images}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put(tmp_path / "pets", *(f"{label}/{number}.jpg" for label in ("Cat", "Dog") for number in range(5)))


# ---------------------------------------------------------------------------------------------- what is found


def test_a_hostile_folder_is_catalogd_whole(tmp_path: Path) -> None:
    """With the real workers: every good file is used, every bad one has its reason, nothing is written or blocks."""
    folder = tmp_path / "hostile"
    expected = hostile_folder(folder)
    before = snapshot_without_fifo(folder)
    began = time.monotonic()
    one = scan(folder, workers=2)
    assert time.monotonic() - began < 30
    assert {image.path: image.reason for image in one.images} == expected
    assert {image.path for image in one.usable} == {path for path, reason in expected.items() if not reason}
    assert one.ignored == {".DS_Store": 1, ".*/": 1, "._*": 1, "Thumbs.db": 1, "__MACOSX/": 1}
    assert snapshot_without_fifo(folder) == before
    assert scan(folder) == one
    assert Catalog.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_a_notebook_shows_counts_not_every_file(root: Path) -> None:
    (root / "Dog" / "0.jpg").write_bytes(b"")
    one = scan(root, cache=False)
    assert repr(one) == f"Catalog({str(root)!r}, 9 images of 2 classes, 1 unusable)"
    assert "<td>Dog</td><td>4</td>" in one._repr_html_()


def snapshot_without_fifo(folder: Path) -> dict[str, Any]:
    return {name: facts for name, facts in snapshot(folder).items() if not name.endswith("pipe.jpg")}


def test_any_nesting_belongs_to_the_class_at_the_top(tmp_path: Path, looked: list[str]) -> None:
    put(tmp_path / "p", "Cat/1.jpg", "Cat/a/2.jpg", "Cat/a/b/c/3.jpg", "Dog/Cat/4.jpg", "Dog/train/5.jpg")
    one = scan(tmp_path / "p")
    assert found(one) == {
        "Cat/1.jpg": ("Cat", None),
        "Cat/a/2.jpg": ("Cat", None),
        "Cat/a/b/c/3.jpg": ("Cat", None),
        "Dog/Cat/4.jpg": ("Dog", None),
        "Dog/train/5.jpg": ("Dog", None),
    }
    assert one.classes == ("Cat", "Dog") and one.counts() == {"Cat": 3, "Dog": 2} and not one.ready_made
    assert [image.path for image in one.images] == sorted(looked)


def test_what_is_measured_is_right(tmp_path: Path, looked: list[str]) -> None:
    put(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "2.png").write_bytes(encode(photo(30, 90, 1) // 8, "PNG", orientation=6))
    first, second = scan(tmp_path).images
    assert first.header[:6] == (
        "JPEG", 50, 40, "RGB", 1, 1,
    )  # fmt: skip
    assert second.header[:3] == ("PNG", 30, 90) and second.header.orientation == 6
    for one in (first, second):
        data = (tmp_path / one.path).read_bytes()
        assert one.stamp.bytes == len(data) and one.stamp.inode == (tmp_path / one.path).stat().st_ino
        assert len(one.sha256) == 64 and len(one.hashes.coarse) == 16 and len(one.hashes.fine) == 64
    assert second.brightness.mean < 32 < first.brightness.mean


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Train", "VAL", "Test"), ("train", "valid")])
def test_ready_made_splits_are_no_classes(tmp_path: Path, looked: list[str], names: tuple[str, ...]) -> None:
    words = dict(zip(names, ("train", "validation", "test"), strict=False))
    put(tmp_path, *(f"{name}/{label}/deep/1.jpg" for name in names for label in ("Cat", "Dog")))
    one = scan(tmp_path)
    assert one.ready_made and one.classes == ("Cat", "Dog")
    assert found(one) == {
        f"{name}/{label}/deep/1.jpg": (label, words[name]) for name in names for label in ("Cat", "Dog")
    }


def test_what_lies_beside_ready_made_splits_is_counted(tmp_path: Path, looked: list[str]) -> None:
    put(tmp_path, "train/Cat/1.jpg", "train/Dog/1.jpg", "test/Cat/2.jpg", "extra/Cat/3.jpg", "train/loose.jpg")
    one = scan(tmp_path)
    assert one.ready_made and len(one.images) == 3
    assert one.ignored == {class_folders.BESIDE: 1, class_folders.OUTSIDE: 1}


@pytest.mark.parametrize(
    "names",
    [
        ("train/1.jpg", "car/1.jpg", "bus/1.jpg"),  # a railway is a class
        ("train/engine/1.jpg", "car/red/1.jpg", "bus/1.jpg"),
        ("train/Cat/1.jpg", "test/Lion/1.jpg", "other/1.jpg"),
    ],
)
def test_classes_that_are_only_called_like_splits(tmp_path: Path, looked: list[str], names: tuple[str, ...]) -> None:
    one = scan(put(tmp_path / "p", *names))
    assert not one.ready_made and one.classes == tuple(sorted({name.split("/")[0] for name in names}))


def test_train_alone_is_ready_made(tmp_path: Path, looked: list[str]) -> None:
    one = scan(put(tmp_path, "train/Cat/1.jpg", "train/Dog/1.jpg"))
    assert one.ready_made and one.classes == ("Cat", "Dog")


def test_litter_is_ignored_and_counted(root: Path, looked: list[str]) -> None:
    for name in ("Thumbs.db", "thumbs.DB", ".DS_Store", "desktop.ini", "._1.jpg", "._2.jpg", ".hidden.jpg"):
        (root / "Cat" / name).write_bytes(jpeg(20, 20))
    put(root, "Cat/.git/1.jpg", "Cat/__MACOSX/1.jpg", "__MACOSX/Cat/1.jpg", ".cache/1.jpg", "loose.jpg")
    for name in ("labels.csv", "notes.TXT", "old.zip"):
        (root / "Dog" / name).write_bytes(b"something else, not an image")
    (root / "Dog" / "README").write_bytes(b"about these images")
    one = scan(root)
    assert len(one.images) == 10 and one.classes == ("Cat", "Dog")
    assert one.ignored == {
        "Thumbs.db": 2, ".DS_Store": 1, "desktop.ini": 1, "._*": 2, ".*": 1, ".*/": 2, "__MACOSX/": 2,
        class_folders.OUTSIDE: 1, "*.csv": 1, "*.txt": 1, "*.zip": 1, "README": 1,
    }  # fmt: skip


def test_a_image_named_as_something_else_is_a_image(root: Path, looked: list[str]) -> None:
    (root / "Cat" / "image.txt").write_bytes(jpeg(20, 20))
    assert "Cat/image.txt" in found(scan(root))


def test_symlinks_are_followed_once(tmp_path: Path, root: Path, looked: list[str]) -> None:
    elsewhere = put(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    (root / "Cat" / "more").symlink_to(elsewhere)
    (root / "Cat" / "again").symlink_to(elsewhere)
    (root / "Dog" / "one.jpg").symlink_to(elsewhere / "1.jpg")
    (root / "Dog" / "up").symlink_to(root)
    (root / "Bird").symlink_to(put(tmp_path / "birds", "1.jpg"))
    (root / "Cat" / "gone.jpg").symlink_to("nowhere.jpg")
    one = scan(root)
    assert {"Cat/again/1.jpg", "Cat/again/deep/2.jpg", "Dog/one.jpg", "Bird/1.jpg"} <= {p.path for p in one.usable}
    assert one.ignored == {folder_walk.SEEN: 1}
    assert {p.path: p.reason for p in one.images if not p.usable} == {
        "Cat/gone.jpg": "dangling symlink",
        "Dog/up": "symlink loop",
    }


@pytest.mark.timeout(30)
def test_what_is_no_file_is_told_and_never_opened(root: Path, looked: list[str]) -> None:
    os.mkfifo(root / "Cat" / "pipe.jpg")
    (root / "Cat" / "zero.jpg").symlink_to("/dev/zero")
    one = scan(root)
    assert {p.path: p.reason for p in one.images if not p.usable} == {
        "Cat/pipe.jpg": "not a file (FIFO)",
        "Cat/zero.jpg": "not a file (device)",
    }
    assert len(looked) == 10


def test_odd_names_are_kept_through_the_cache(tmp_path: Path, looked: list[str]) -> None:
    names = [
        "a/new\nline.jpg",
        "a/Grüße 猫.jpg",
        "日本/tab\t.jpg",
        "a/ space .jpg",
        os.fsdecode(b"b\xff/not \xfe utf-8.jpg"),
    ]
    try:
        put(tmp_path / "p", *names)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    one = scan(tmp_path / "p")
    assert sorted(found(one)) == sorted(names) and len(one.usable) == len(names)
    looked.clear()
    assert scan(tmp_path / "p") == one and looked == []
    assert Catalog.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_a_read_only_folder_is_enough(root: Path, read_only: Any, looked: list[str]) -> None:
    before = snapshot(root)
    read_only(root)
    assert len(scan(root).usable) == 10 and snapshot(root) == before


# ---------------------------------------------------------------------------------------------- the second time


def test_the_second_scan_reads_no_file(root: Path, looked: list[str]) -> None:
    one = scan(root)
    assert len(looked) == 10
    for path in root.rglob("*.jpg"):  # another content of the same size, time and inode: only reading would tell
        times = path.stat()
        path.write_bytes(bytes(times.st_size))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    looked.clear()
    seen: list[Event] = []
    assert scan(root, callbacks=[Listener(seen.append)]) == one
    assert looked == [] and [(event["event"], event["stage"]) for event in seen] == [
        (name, "scan") for name in ("begin", "progress", "end")
    ]
    assert (seen[1]["done"], seen[1]["total"], seen[2]["state"]) == (10, 10, "complete")
    assert all(not image.usable for image in scan(root, cache=False).images)


@pytest.mark.parametrize("how", ["size", "time", "inode", "new"])
def test_only_what_changed_is_read_again(root: Path, looked: list[str], how: str) -> None:
    one = scan(root)
    path = root / "Cat" / ("new.jpg" if how == "new" else "3.jpg")
    if how == "inode":
        times = path.stat()
        other = path.with_name("other")
        other.write_bytes(path.read_bytes()[::-1])
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.replace(path)
    else:
        path.write_bytes(jpeg(40, 50, seed=9999) if how != "time" else path.read_bytes())
        age(path, 500)
    looked.clear()
    other_one = scan(root)
    assert looked == [f"Cat/{path.name}"]
    assert (other_one.fingerprint == one.fingerprint) is (how == "time")
    looked.clear()
    assert scan(root) == other_one and looked == []


def test_what_was_written_a_moment_ago_is_read_again(root: Path, looked: list[str]) -> None:
    """Its time may stay the same when it is written once more: clocks of file systems are coarse."""
    put(root, "Cat/fresh.jpg", old=False)
    scan(root)
    looked.clear()
    scan(root)
    assert looked == ["Cat/fresh.jpg"]
    age(root / "Cat" / "fresh.jpg")
    scan(root)
    looked.clear()
    scan(root)
    assert looked == []


def test_what_is_gone_is_forgotten(root: Path, looked: list[str]) -> None:
    scan(root)
    (root / "Dog" / "1.jpg").unlink()
    looked.clear()
    assert len(scan(root).images) == 9 and looked == []


def test_a_new_test_folder_makes_train_a_split_without_reading(tmp_path: Path, looked: list[str]) -> None:
    put(tmp_path, "train/Cat/1.jpg", "other/Cat/2.jpg")
    assert scan(tmp_path).classes == ("other", "train")
    put(tmp_path, "test/Cat/3.jpg")
    looked.clear()
    one = scan(tmp_path)
    assert looked == ["test/Cat/3.jpg"] and one.ready_made
    assert found(one)["train/Cat/1.jpg"] == ("Cat", "train")


def test_an_interrupted_scan_resumes(root: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_COUNT_EVERY_S", 0.0)
    seen: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        scan(root, callbacks=[Listener(seen.append), Interrupt(after=6)])
    assert seen[-1]["event"] == "end" and seen[-1]["state"] == "stopped"
    first = set(looked)
    looked.clear()
    one = scan(root)
    assert len(looked) == 4 and not first & set(looked) and len(one.usable) == 10


def test_an_outer_failure_is_tried_anew(root: Path, monkeypatch: pytest.MonkeyPatch, looked: list[str]) -> None:
    here = process_pool.map_in_workers

    def slow_disk(*arguments: Any, **options: Any) -> Any:
        for place, value in here(*arguments, **options):
            yield place, process_pool.Failed("took over 10 s") if place == 2 else value

    with monkeypatch.context() as patch:
        patch.setattr(process_pool, "map_in_workers", slow_disk)
        assert [image.reason for image in scan(root).images if image.reason] == ["took over 10 s"]
    looked.clear()
    assert len(scan(root).usable) == 10 and len(looked) == 1


def test_a_broken_file_is_not_read_again(root: Path, looked: list[str]) -> None:
    (root / "Cat" / "bad.jpg").write_bytes(b"<html>")
    age(root / "Cat" / "bad.jpg")
    one = scan(root)
    looked.clear()
    assert scan(root) == one and looked == []
    assert [p.reason for p in one.images if p.reason] == ["not an image (HTML)"]


def test_two_folders_do_not_share_a_catalog(tmp_path: Path, looked: list[str]) -> None:
    one, other = put(tmp_path / "a" / "pets", "Cat/1.jpg"), put(tmp_path / "b" / "pets", "Cat/1.jpg")
    scan(one)
    scan(other)
    assert len(looked) == 2


def test_without_the_cache_nothing_is_kept(root: Path, looked: list[str]) -> None:
    scan(root, cache=False)
    assert not list(cache_folder().rglob("*.json"))
    scan(root)
    assert len(looked) == 20


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": VERSION}', '{"version": VERSION, "images": {"path": [1]}}']
)
def test_a_broken_catalog_is_said_and_made_anew(root: Path, looked: list[str], content: str) -> None:
    one = scan(root)
    (store,) = cache_folder().rglob("*.json")
    store.write_text(content.replace("VERSION", str(module.VERSION)))
    with pytest.warns(UserWarning, match="saved catalog cannot be used"):
        assert scan(root) == one
    looked.clear()
    assert scan(root) == one and looked == []


def test_a_catalog_of_another_version_is_made_anew(
    root: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(root)
    monkeypatch.setattr(module, "VERSION", 99)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = scan(root)
    assert len(looked) == 20
    value = one.to_json()
    monkeypatch.undo()
    with pytest.raises(DataError, match="another version"):
        Catalog.from_json(value)
    with pytest.raises(DataError, match="Not a catalog"):
        Catalog.from_json({"version": module.VERSION})


def test_a_cache_that_cannot_be_written_is_said_and_no_more(
    tmp_path: Path, root: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be saved") as warned:
        assert len(scan(root).usable) == 10
    assert len(warned) == 1


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSETRAIN_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("HOUSETRAIN_CACHE")
    assert cache_folder() == Path("/xdg/housetrain")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/housetrain")


# ---------------------------------------------------------------------------------------------- the fingerprint


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path, root: Path, looked: list[str]) -> None:
    one = scan(root)
    seen = {one.fingerprint}
    for path in root.rglob("*.jpg"):
        os.utime(path)
    assert scan(root).fingerprint == one.fingerprint
    (root / "Cat" / "1.jpg").rename(root / "Cat" / "one.jpg")
    seen.add(scan(root).fingerprint)
    (root / "Cat" / "one.jpg").rename(root / "Dog" / "one.jpg")
    seen.add(scan(root).fingerprint)
    (root / "Dog" / "one.jpg").write_bytes(jpeg(40, 50, seed=1))
    seen.add(scan(root).fingerprint)
    assert len(seen) == 4
    root.rename(tmp_path / "moved")
    assert scan(tmp_path / "moved").fingerprint in seen


# ---------------------------------------------------------------------------------------------- what cannot be used


def test_unusable_folders_are_one_clear_line(tmp_path: Path, looked: list[str]) -> None:
    (tmp_path / "file.jpg").write_bytes(jpeg())
    (tmp_path / "empty").mkdir()
    put(tmp_path / "flat", "1.jpg", "2.jpg")
    (tmp_path / "hollow" / "Cat").mkdir(parents=True)
    (tmp_path / "texts" / "Cat").mkdir(parents=True)
    (tmp_path / "texts" / "Cat" / "note.txt").write_bytes(b"a note")
    (tmp_path / "circle").symlink_to("circle")
    words = {
        "missing": "The folder does not exist",
        "file.jpg": "not a folder",
        "empty": "The folder is empty",
        "flat": "There are no class folders",
        "hollow": "There are no images",
        "texts": "There are no images",
        "circle": "cannot be read",
    }
    for name, word in words.items():
        with pytest.raises(FolderError, match=word) as caught:
            scan(tmp_path / name)
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(("inner", "words"), [("", "The folder cannot be read"), ("Cat", "A folder inside")])
def test_a_folder_that_may_not_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, inner: str, words: str, looked: list[str]
) -> None:
    original = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path) == root / inner:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(FolderError, match=rf"{words}.*Permission denied.*permission to read") as caught:
        scan(root)
    assert str(root / inner) in str(caught.value) and looked == []


def test_one_class_and_empty_classes_are_told_by_check_not_here(root: Path, looked: list[str]) -> None:
    (root / "Bird").mkdir()
    put(root, "Fish/.hidden.jpg")
    one = scan(root)
    assert one.classes == ("Cat", "Dog") and one.empty_classes == ("Bird", "Fish")
    assert scan(put(root.parent / "alone", "Cat/1.jpg")).classes == ("Cat",)


def test_every_format_is_catalogd(tmp_path: Path, looked: list[str]) -> None:
    for name, build in GOOD.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(build())
    one = scan(tmp_path)
    assert len(one.usable) == len(one.images) == len(GOOD)
    assert {image.header.format for image in one.usable} == {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"}
