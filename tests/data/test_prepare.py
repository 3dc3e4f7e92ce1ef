from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from events_of import Event, Interrupt, Listener
from tree import snapshot

import housetrain.data.prepare as module
from housetrain.data import prepared_folder
from housetrain.data.assign import position
from housetrain.data.catalog import scan
from housetrain.data.npy_writer import RowWriter
from housetrain.data.prepare import default_prepared_folder, prepare
from housetrain.data.prepared import Prepared
from housetrain.data.prepared_folder import MANIFEST
from housetrain.data.split import split
from housetrain.data.split_manifest import SPLITS, LeftOut, Row, SplitManifest
from housetrain.errors import (
    CorruptError,
    DiskFull,
    FolderError,
    HousetrainError,
    IncompleteError,
    RecipeError,
    SourceChanged,
)
from housetrain.images.decode import load_image
from housetrain.images.input_spec import InputSpec
from housetrain.system import process_pool


def draw(path: Path, seed: int, *, side: int = 60) -> None:
    """Write a color image that looks like no other."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(noise, (side + seed % 17, side), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def make_folder(root: Path, count: int = 40, *, suffix: str = ".jpg") -> Path:
    for number in range(count):
        draw(root / ("Cat", "Dog")[number % 2] / f"{number}{suffix}", number)
    return root


def divide(root: Path, **options: Any) -> SplitManifest:
    """Split by hand, without looking at the images."""
    rows = []
    for path in sorted(root.rglob("*.*")):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        place = position(0, sha256)
        name = "test" if place < 0.2 else "validation" if place >= 0.8 else "train"
        rows.append(Row(path.relative_to(root).as_posix(), sha256, path.parent.name, name, sha256))
    plain = {"seed": 0, "validation_split": 0.2, "test_split": 0.2, "test_per_class": None, "balance": "weights"}
    classes = sorted({row.label for row in rows})
    return SplitManifest.of_rows(root, classes, rows=rows, options={**plain, "ready_made": False, **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were decoded, call by call."""
    seen: list[str] = []
    original = process_pool.map_in_workers

    def spy(function: Any, items: Any, **options: Any) -> Any:
        if isinstance(function, RowWriter):
            seen.extend(path for _, path, _ in items)
        return original(function, items, **options)

    monkeypatch.setattr(process_pool, "map_in_workers", spy)
    return seen


def expected(one: SplitManifest, spec: InputSpec) -> dict[str, np.ndarray]:
    return {
        name: np.array([load_image(one.root / row.path, spec) for row in one.of(name)]).reshape(-1, *spec.shape)
        for name in SPLITS
    }


def assert_holds(prepared: Prepared, one: SplitManifest, spec: InputSpec) -> None:
    for name, images in expected(one, spec).items():
        assert np.array_equal(prepared.arrays(name).images, images)
        assert prepared.arrays(name).paths == tuple(row.path for row in one.of(name))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# ---------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("color_mode", ["grayscale", "rgb"])
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [16, (20, 33)])
def test_rows_are_what_the_decoder_gives(tmp_path: Path, root: Path, color_mode: Any, resize: Any, size: Any) -> None:
    one = divide(root)
    prepared = prepare(
        one, tmp_path / "out", image_size=size, color_mode=color_mode, resize=resize, background=(9, 8, 7)
    )
    height, width = (size, size) if isinstance(size, int) else size
    assert prepared.spec == InputSpec(height, width, color_mode, resize, (9, 8, 7))
    assert_holds(prepared, one, prepared.spec)


def test_arrays_labels_and_names_belong_together(tmp_path: Path, root: Path) -> None:
    one = divide(root)
    prepared = prepare(one, tmp_path / "out", image_size=16)
    assert prepared.classes == ("Cat", "Dog") and prepared.balance == "weights"
    for name in SPLITS:
        images, labels = prepared.arrays(name).images, prepared.arrays(name).labels
        assert isinstance(images, np.memmap) and images.dtype == np.uint8
        assert images.shape == (len(one.of(name)), 16, 16, 1)
        assert labels.dtype == np.int64 and labels.shape == (len(images),)
        assert [prepared.classes[label] for label in labels] == [
            path.split("/")[0] for path in prepared.arrays(name).paths
        ]
        assert prepared.arrays(name).sha256 == tuple(row.sha256 for row in one.of(name))
        with pytest.raises(ValueError, match="read-only"):
            images[0] = 0
    assert prepared.counts() == one.counts()
    everything = np.load(prepared.file)  # a plain .npy: any tool reads it
    assert len(everything) == 40 and np.array_equal(everything[: len(one.of("train"))], prepared.train.images)
    with pytest.raises(ValueError, match="Unknown split"):
        prepared.arrays("trian")  # type: ignore[arg-type]


def test_loaded_is_what_was_returned(tmp_path: Path, root: Path) -> None:
    prepared = prepare(divide(root), tmp_path / "out", image_size=16)
    assert Prepared.open(tmp_path / "out") == prepared
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["counts"] == prepared.counts() and manifest["images"]["shape"] == [40, 16, 16, 1]
    assert sorted(item.name.split("-")[0] for item in (tmp_path / "out").iterdir()) == [
        ".lock", "images", "prepared.json", "split",
    ]  # fmt: skip


def test_every_format_and_odd_names(tmp_path: Path) -> None:
    root = tmp_path / "images"
    names = ["ä\n.png", os.fsdecode(b"\xff.webp"), "b.bmp", "c.tiff", " d .jpg", "e.png", "f.png"]
    for number, name in enumerate(names):
        for label in ("naïve", "日本"):
            draw(root / label / name, number + 100 * (label == "日本"))
    one = divide(root)
    assert_holds(prepare(one, tmp_path / "out", image_size=12, color_mode="rgb"), one, InputSpec(12, 12, "rgb"))


def test_progress_counts_up_to_all(tmp_path: Path, root: Path) -> None:
    seen: list[Event] = []
    prepare(divide(root), tmp_path / "out", image_size=16, callbacks=[Listener(seen.append)])
    first, *counts, last = seen
    assert (first["event"], first["stage"], first["total"]) == ("begin", "prepare", 40)
    assert (last["event"], last["state"]) == ("end", "complete")
    done = [event["done"] for event in counts]
    assert done[0] == 0 and done[-1] == 40 and done == sorted(done)


def test_a_spec_is_taken_whole(tmp_path: Path, root: Path) -> None:
    spec, one = InputSpec(12, 20, "rgb", "pad", (0, 255, 0)), divide(root)
    prepared = prepare(one, tmp_path / "out", spec=spec)
    assert prepared.spec == spec
    by_parts = prepare(
        one, tmp_path / "out", image_size=(12, 20), color_mode="rgb", resize="pad", background=(0, 255, 0)
    )
    assert by_parts.file == prepared.file  # found, not made again
    with pytest.raises(RecipeError, match="Both an input spec and its parts"):
        prepare(one, tmp_path / "out", spec=spec, image_size=30)


def test_a_folder_reports_its_scan_too(tmp_path: Path, root: Path) -> None:
    seen: list[Event] = []
    prepare(root, tmp_path / "out", image_size=16, callbacks=[Listener(seen.append)])
    assert [event["stage"] for event in seen if event["event"] == "end"] == ["scan", "prepare"]


def test_the_source_is_not_touched(tmp_path: Path, root: Path) -> None:
    before = snapshot(root)
    prepare(root, tmp_path / "out", image_size=16)
    prepare(root, tmp_path / "out", image_size=20)
    assert snapshot(root) == before


def test_forks_and_workers_prepare_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "images", 80)
    (root / "Cat" / "bad.jpg").write_bytes(b"<html>")
    one = divide(root)
    one.save(tmp_path)
    assert child(tmp_path, tmp_path / "forks", 16).communicate()[0].split() == ["go", "done"]  # it may be forked
    monkeypatch.setattr(process_pool, "can_fork", lambda: False)
    forks, workers = Prepared.open(tmp_path / "forks"), prepare(one, tmp_path / "workers", image_size=16)
    assert forks.file.read_bytes() == workers.file.read_bytes() and forks.fingerprint == workers.fingerprint
    assert forks.split == workers.split
    assert forks.split.left_out == (LeftOut("Cat/bad.jpg", "Cat", "not an image (HTML)"),)


def test_one_worker_gives_the_same(tmp_path: Path, root: Path) -> None:
    many, one = (prepare(divide(root), tmp_path / str(count), image_size=16, workers=count) for count in (3, 1))
    assert many.file.read_bytes() == one.file.read_bytes() and many.fingerprint == one.fingerprint


# ---------------------------------------------------------------------------------------------- from a folder


def test_a_folder_is_scanned_and_split(tmp_path: Path, root: Path, decoded: list[str]) -> None:
    (root / "Cat" / "bad.jpg").write_bytes(b"")
    first = prepare(root, tmp_path / "out", image_size=16, test_per_class=2)
    assert first.counts()["test"] == {"Cat": 2, "Dog": 2}
    assert [one.path for one in first.split.left_out] == ["Cat/bad.jpg"]
    assert first.split == split(scan(root), test_per_class=2)
    decoded.clear()
    before = content(tmp_path / "out")
    assert prepare(root, tmp_path / "out", image_size=16, test_per_class=2) == first
    assert content(tmp_path / "out") == before and decoded == []
    assert prepare(root, tmp_path / "out", image_size=16, test_per_class=3) != first


def test_options_with_a_split_are_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(RecipeError, match="Options of the split"):
        prepare(divide(root), tmp_path / "out", seed=3)  # type: ignore[call-arg]


def test_default_folder_says_what_it_holds(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(divide(root, validation_split=0.15, test_split=0.15), image_size=16).folder == Path(
        "prepared/images-16x16-grayscale"
    )
    one = divide(root, validation_split=0.15, test_split=0.15, seed=7, balance="trim", test_per_class=15)
    spec = InputSpec(50, 60, "rgb", "crop")
    name = "prepared/images-50x60-rgb-crop-seed-7-test-per-class-15-trim"
    assert default_prepared_folder(root, spec, one) == Path(name)
    assert default_prepared_folder(tmp_path / "my\nimages", spec, one) == Path(name.replace("images", "my-images"))
    other = make_folder(tmp_path / "elsewhere" / "images")
    plain = divide(other, validation_split=0.15, test_split=0.15)
    assert default_prepared_folder(other, InputSpec(16, 16), plain) not in (
        Path("prepared/images-16x16-grayscale"),
        default_prepared_folder(root, InputSpec(16, 16), plain),
    )


# ---------------------------------------------------------------------------------------------- the second time


def test_the_second_call_is_a_hit(tmp_path: Path, root: Path, decoded: list[str]) -> None:
    one = divide(root)
    first = prepare(one, tmp_path / "out", image_size=16)
    files = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    decoded.clear()
    assert prepare(one, tmp_path / "out", image_size=16) == first
    assert decoded == []
    assert files == {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}


def test_a_changed_file_invalidates_only_itself(tmp_path: Path, root: Path, decoded: list[str]) -> None:
    prepare(divide(root), tmp_path / "out", image_size=16)
    draw(root / "Cat" / "4.jpg", 1004)  # changed
    draw(root / "Dog" / "new.jpg", 1005)  # added
    (root / "Dog" / "7.jpg").unlink()  # removed
    (root / "Dog" / "9.jpg").rename(root / "Dog" / "nine.jpg")  # renamed
    decoded.clear()
    one = divide(root)
    second = prepare(one, tmp_path / "out", image_size=16)
    assert sorted(decoded) == ["Cat/4.jpg", "Dog/new.jpg"]
    assert_holds(second, one, InputSpec(16, 16))
    assert len(content(tmp_path / "out")) == 3  # the old content is gone


def test_another_spec_decodes_everything(tmp_path: Path, root: Path, decoded: list[str]) -> None:
    one = divide(root)
    prepare(one, tmp_path / "out", image_size=16)
    for options in (
        {"image_size": 17},
        {"image_size": 17, "color_mode": "rgb"},
        {"image_size": 17, "color_mode": "rgb", "resize": "pad"},
    ):
        decoded.clear()
        prepared = prepare(one, tmp_path / "out", **options)
        assert len(decoded) == 40
        assert_holds(prepared, one, prepared.spec)


def test_another_split_of_the_same_images_decodes_nothing(tmp_path: Path, root: Path, decoded: list[str]) -> None:
    one = divide(root)
    prepare(one, tmp_path / "out", image_size=16)
    decoded.clear()
    turned = {"train": "test", "test": "validation", "validation": "train"}
    rows = [Row(row.path, row.sha256, row.label, turned[row.split], row.group) for row in one.rows]  # type: ignore[arg-type]
    other = SplitManifest.of_rows(root, one.classes, rows=rows, options=one.options)
    prepared = prepare(other, tmp_path / "out", image_size=16)
    assert decoded == []
    assert_holds(prepared, other, InputSpec(16, 16))


@pytest.mark.parametrize("new", ["library", "own"])
def test_a_new_decoder_decodes_everything(
    tmp_path: Path, root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, new: str
) -> None:
    one = divide(root)
    first = prepare(one, tmp_path / "out", image_size=16)
    decoded.clear()
    if new == "library":
        monkeypatch.setattr(module, "_libraries", lambda: {"opencv-python-headless": "99"})
    else:
        monkeypatch.setattr(module.decode, "PIXELS", module.decode.PIXELS + 1)
    assert prepare(one, tmp_path / "out", image_size=16).fingerprint == first.fingerprint
    assert len(decoded) == 40


def test_prepared_images_outlive_their_source(tmp_path: Path, root: Path) -> None:
    one = divide(root)
    prepare(one, tmp_path / "out", image_size=16)
    shutil.rmtree(root)
    assert len(prepare(one, tmp_path / "out", image_size=16).train.images) == len(one.of("train"))


@pytest.mark.parametrize("damage", ["images", "split", "manifest", "missing"])
def test_damage_is_noticed_and_mended(tmp_path: Path, root: Path, damage: str) -> None:
    one, out = divide(root), tmp_path / "out"
    prepared = prepare(one, out, image_size=16)
    listing = next(out.glob("split-*"))
    if damage == "images":
        os.truncate(prepared.file, prepared.file.stat().st_size - 1)
    elif damage == "split":
        listing.write_bytes(listing.read_bytes().replace(b"Cat", b"Cow"))
    elif damage == "manifest":
        (out / MANIFEST).write_bytes((out / MANIFEST).read_bytes()[:100])
    else:
        listing.unlink()
    with pytest.raises(CorruptError) as caught:
        Prepared.open(out)
    assert "\n" not in str(caught.value) and "prepare again" in str(caught.value)
    assert_holds(prepare(one, out, image_size=16), one, InputSpec(16, 16))
    assert len(content(out)) == 3


def test_what_is_not_prepared_says_so(tmp_path: Path, root: Path) -> None:
    for folder in (tmp_path / "none", tmp_path, root / "Cat" / "0.jpg"):
        with pytest.raises(IncompleteError, match="no prepared images"):
            Prepared.open(folder)


def test_a_manifest_cannot_point_elsewhere(tmp_path: Path, root: Path) -> None:
    prepare(divide(root), tmp_path / "out", image_size=16)
    path = tmp_path / "out" / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["images"]["file"] = "../secret.npy"
    path.write_text(json.dumps(manifest))
    with pytest.raises(CorruptError, match="leads out of its folder"):
        Prepared.open(tmp_path / "out")


# ---------------------------------------------------------------------------------------------- what changed


def change(path: Path, how: str) -> None:
    if how == "another image":
        draw(path, 4711)
    elif how == "one byte, same size and time":
        before, data = path.stat(), bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "gone":
        path.unlink()
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["another image", "one byte, same size and time", "gone", "a pipe"])
def test_a_file_changed_since_the_scan_is_named(tmp_path: Path, root: Path, how: str) -> None:
    prepare(divide(root), tmp_path / "out", image_size=16)
    before = content(tmp_path / "out")
    one = divide(root)
    change(root / "Cat" / "4.jpg", how)
    with pytest.raises(SourceChanged, match=r"1 image changed.*'Cat/4\.jpg'") as caught:
        prepare(one, tmp_path / "out", image_size=20)
    assert "\n" not in str(caught.value)
    assert content(tmp_path / "out") == before
    with pytest.raises(SourceChanged):
        prepare(one, tmp_path / "other", image_size=20)
    assert content(tmp_path / "other") == {}


def test_many_changed_files_are_counted(tmp_path: Path, root: Path) -> None:
    one = divide(root)
    for number in range(0, 40, 2):
        draw(root / "Cat" / f"{number}.jpg", 500 + number)
    with pytest.raises(SourceChanged, match=r"20 images changed.*and 15 more"):
        prepare(one, tmp_path / "out", image_size=20)


def test_a_touched_file_is_no_change(tmp_path: Path, root: Path) -> None:
    one = divide(root)
    os.utime(root / "Cat" / "4.jpg")
    prepare(one, tmp_path / "out", image_size=20)


def test_a_image_that_fails_is_left_out_with_its_reason(tmp_path: Path, root: Path) -> None:
    (root / "Cat" / "bad.jpg").write_bytes(b"<html>")
    (root / "Dog" / "cut.jpg").write_bytes((root / "Dog" / "1.jpg").read_bytes()[:300])
    one = divide(root)  # which did not look
    prepared = prepare(one, tmp_path / "out", image_size=16)
    assert [left.path for left in prepared.split.left_out] == ["Cat/bad.jpg", "Dog/cut.jpg"]
    assert prepared.split.left_out[0] == LeftOut("Cat/bad.jpg", "Cat", "not an image (HTML)")
    rest = SplitManifest.of_rows(
        root, one.classes, rows=[row for row in one.rows if row.path[4:7] not in ("bad", "cut")], options=one.options
    )
    assert_holds(prepared, rest, InputSpec(16, 16))
    assert len(np.load(prepared.file)) == 40
    assert prepare(one, tmp_path / "out", image_size=16) == prepared


def test_a_class_that_fails_whole_is_refused(tmp_path: Path, root: Path) -> None:
    for path in (root / "Cat").iterdir():
        path.write_bytes(b"<html>" + path.name.encode())
    with pytest.raises(FolderError, match="No image of class 'Cat' could be decoded"):
        prepare(divide(root), tmp_path / "out", image_size=16)
    assert content(tmp_path / "out") == {}


# ---------------------------------------------------------------------------------------------- refused


def nothing_written(
    tmp_path: Path, before: dict[str, Any], work: Any, error: type[HousetrainError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        work()
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert snapshot(tmp_path) == before


def test_unusable_folders_write_nothing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "one" / "only", 6)
    shutil.move(tmp_path / "one" / "only" / "Cat", tmp_path / "one" / "Cat")
    shutil.rmtree(tmp_path / "one" / "only")
    single = make_folder(tmp_path / "single", 20)
    for path in list((single / "Dog").iterdir())[1:]:
        path.unlink()
    empty = make_folder(tmp_path / "empty", 20)
    (empty / "Emu").mkdir()
    (tmp_path / "void").mkdir()
    before = snapshot(tmp_path)
    for name, words in (
        ("one", "one class, 'Cat'"),
        ("single", "'Dog' has only 1"),
        ("empty", "'Emu' has no usable image"),
        ("void", "The folder is empty"),
        ("missing", "missing"),
    ):
        nothing_written(tmp_path, before, lambda name=name: prepare(tmp_path / name), FolderError, words)


def test_output_inside_the_source_is_refused(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(root)
    before = snapshot(tmp_path)
    one = divide(root)
    for source in (one, root):
        for target in (root, root / "out", root / "Cat" / "deep" / "out", tmp_path / "link" / "out"):
            nothing_written(tmp_path, before, lambda s=source, t=target: prepare(s, t), FolderError, "folder of images")
    monkeypatch.chdir(root)
    nothing_written(tmp_path, before, lambda: prepare(Path()), FolderError, "folder of images")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, root: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("x")
    before = snapshot(tmp_path)
    one = divide(root)
    nothing_written(tmp_path, before, lambda: prepare(one, tmp_path / "mine"), FolderError, "thesis.txt")
    nothing_written(tmp_path, before, lambda: prepare(one, tmp_path / "file"), FolderError, "not a folder")


# ---------------------------------------------------------------------------------------------- no room


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("this needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_names_path_and_bytes_and_keeps_the_old(tiny_disk: Path, root: Path) -> None:
    one, out = divide(root), tiny_disk / "out"
    first = prepare(one, out, image_size=16)
    before, listing = content(out), first.split
    with pytest.raises(DiskFull, match=r"No space left.*bytes_needed=1200128.*bytes_free=") as caught:
        prepare(one, out, image_size=100, color_mode="rgb")
    assert str(out) in str(caught.value) and "\n" not in str(caught.value)
    assert content(out) == before and Prepared.open(out).split == listing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_said_before_anything_is_decoded(
    tmp_path: Path, root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    one, out = divide(root), tmp_path / "out"
    prepare(one, out, image_size=16)
    before = content(out)
    decoded.clear()

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DiskFull, match="bytes_needed=40"):
        prepare(one, out, image_size=100)
    assert decoded == [] and content(out) == before


def test_a_file_system_that_cannot_reserve_room_works(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    one = divide(root)
    assert_holds(prepare(one, tmp_path / "out", image_size=16), one, InputSpec(16, 16))


def test_room_that_runs_out_later_keeps_the_old(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, out = divide(root), tmp_path / "out"
    prepare(one, out, image_size=16)
    before = content(out)
    other = divide(root, seed=1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = module.npy_writer
    for owner, function in (
        (prepared_folder, "write_atomic"),
        (writer, "copy_rows"),
        (prepared_folder, "replace_durably"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, function, full)
            with pytest.raises(DiskFull, match="bytes_needed"):
                prepare(other, out, image_size=16)
        assert content(out) == before


def test_a_read_only_output_is_refused_and_still_read(tmp_path: Path, root: Path, read_only: Any) -> None:
    one, out = divide(root), tmp_path / "out"
    first = prepare(one, out, image_size=16)
    before = content(out)
    read_only(out)
    assert prepare(one, out, image_size=16) == first  # a hit writes nothing
    with pytest.raises(DiskFull, match=r"Read-only|Permission") as caught:
        prepare(one, out, image_size=17)
    assert str(out) in str(caught.value) and content(out) == before


def test_a_read_only_source_is_enough(tmp_path: Path, root: Path, read_only: Any) -> None:
    read_only(root)
    assert sum(map(sum, (counts.values() for counts in prepare(root, tmp_path / "out").counts().values()))) == 40


# ---------------------------------------------------------------------------------------------- kills and company

_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from housetrain.data.prepare import prepare
from housetrain.data.split_manifest import SplitManifest
one = SplitManifest.load(Path(sys.argv[2]))
print("go", flush=True)
prepare(one, Path(sys.argv[3]), image_size=int(sys.argv[4]))
print("done", flush=True)
"""


def child(listing: Path, out: Path, size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CHILD, str(Path(__file__).parent), str(listing), str(out), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at_random(tmp_path: Path, root: Path, *, kills: int) -> None:
    one, out = divide(root), tmp_path / "out"
    one.save(tmp_path)
    right = {size: expected(one, InputSpec(size, size)) for size in (16, 48)}
    prepare(one, out, image_size=16)
    began = time.perf_counter()
    process = child(tmp_path, tmp_path / "timing", 48)
    process.wait()
    process.stdout.close()
    lasts = time.perf_counter() - began
    chance, seen = random.Random(0), set()
    for number in range(kills):
        size = 48 if number % 2 == 0 else 16
        process = child(tmp_path, out, size)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, lasts))
        process.kill()
        process.wait()
        process.stdout.close()
        prepared = Prepared.open(out)  # the old or the new, whole
        seen.add(prepared.spec.height)
        for name in SPLITS:
            assert np.array_equal(prepared.arrays(name).images, right[prepared.spec.height][name])
    assert seen == {16, 48}
    assert_holds(prepare(one, out, image_size=20), one, InputSpec(20, 20))
    assert len(content(out)) == 3  # what the killed ones left is gone


def test_killed_at_any_instant_the_old_or_the_new_is_whole(tmp_path: Path, root: Path) -> None:
    kill_at_random(tmp_path, root, kills=8)


@pytest.mark.kill
def test_killed_thirty_times(tmp_path: Path) -> None:
    kill_at_random(tmp_path, make_folder(tmp_path / "images", 400), kills=30)


@pytest.mark.parametrize("step", ["write_atomic", "_remove_leftovers"])
def test_cut_off_at_each_step_of_the_exchange(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Every step of the exchange is the last one that happens."""
    one = divide(root)
    original = getattr(prepared_folder, step)
    for last in range(1, 5):
        out = tmp_path / f"{step}-{last}"
        prepare(one, out, image_size=16)
        calls = 0

        def stop(*arguments: Any, last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls > last:
                raise KeyboardInterrupt
            original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(prepared_folder, step, stop)
            with contextlib.suppress(KeyboardInterrupt):
                prepare(one, out, image_size=17)
        prepared = Prepared.open(out)
        assert_holds(prepared, one, prepared.spec)
        assert_holds(prepare(one, out, image_size=17), one, InputSpec(17, 17))


def test_two_processes_prepare_the_same_folder(tmp_path: Path, root: Path) -> None:
    one, out = divide(root), tmp_path / "out"
    one.save(tmp_path)
    processes = [child(tmp_path, out, 48) for _ in range(3)]
    for process in processes:
        answer, _ = process.communicate(timeout=120)
        assert answer.split() == ["go", "done"] and process.returncode == 0
    assert_holds(Prepared.open(out), one, InputSpec(48, 48))
    assert len(content(out)) == 3


def test_interrupted_it_leaves_no_process(tmp_path: Path, root: Path) -> None:
    import psutil

    with pytest.raises(KeyboardInterrupt):
        prepare(divide(root), tmp_path / "out", image_size=16, callbacks=[Interrupt(after=1)])
    assert content(tmp_path / "out") == {}
    deadline = time.monotonic() + 5
    while psutil.Process().children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert psutil.Process().children(recursive=True) == []


# ---------------------------------------------------------------------------------------------- thousands


def test_real_photos_are_close_to_a_full_decode(tmp_path: Path, photos: Path) -> None:
    """A JPEG that is decoded small is the same image as one decoded whole and then shrunk."""
    chosen = [path for label in ("cats", "dogs") for path in sorted((photos / label).iterdir())[:30]]
    root = tmp_path / "images"
    for path in chosen:
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.parent.name / path.name)
    prepared = prepare(divide(root), tmp_path / "out", image_size=50)
    differences = []
    for name in SPLITS:
        for image, path in zip(prepared.arrays(name).images, prepared.arrays(name).paths, strict=True):
            whole = cv2.imread(str(root / path), cv2.IMREAD_GRAYSCALE)
            right = cv2.resize(whole, (50, 50), interpolation=cv2.INTER_AREA).astype(float)
            differences.append(np.abs(image[:, :, 0] - right).mean())
    assert np.mean(differences) < 2.5 and max(differences) < 7


@pytest.mark.slow
def test_25_000_images_are_found_again_in_a_second(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number in range(25_000):
        draw(root / ("Cat", "Dog")[number % 2] / f"{number}.jpg", number, side=24)
    first = prepare(root, tmp_path / "out", image_size=50)
    fastest = {}
    for source in (root, first.split):
        times = []
        for _ in range(3):
            began = time.perf_counter()
            prepare(source, tmp_path / "out", image_size=50)
            times.append(time.perf_counter() - began)
        fastest[type(source).__name__] = min(times)
    assert max(fastest.values()) < 1.0, fastest


def draw_deep(path: Path, seed: int, *, bits: int = 12) -> None:
    """Write a 16-bit image that uses only some of its bits."""
    noise = np.random.default_rng(seed).integers(0, 2**bits, (9, 8), dtype=np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(noise, (60 + seed % 17, 60), interpolation=cv2.INTER_LINEAR)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def test_12_bits_in_16_are_spread_by_one_rule_that_predicting_follows(tmp_path: Path) -> None:
    for number in range(40):
        draw_deep(tmp_path / "in" / ("Cat", "Dog")[number % 2] / f"{number}.png", number)
    prepared = prepare(tmp_path / "in", tmp_path / "out", image_size=30)
    assert prepared.spec == InputSpec(30, 30, white=4095)
    images = np.load(prepared.file)
    assert images.max() > 200 and len(np.unique(images)) > 100
    for row, image in zip(prepared.split.rows, images, strict=True):
        assert np.array_equal(load_image(prepared.split.root / row.path, prepared.spec), image)
    again = prepare(split(scan(tmp_path / "in")), tmp_path / "out", image_size=30)
    assert again.fingerprint == prepared.fingerprint and again.spec == prepared.spec
    # images of all 16 bits beside them: the one rule is that of the largest value, and every row is decoded again
    draw_deep(tmp_path / "in" / "Cat" / "16.tif", 99, bits=16)
    mixed = prepare(tmp_path / "in", tmp_path / "out", image_size=30)
    assert mixed.spec == InputSpec(30, 30)
    for row, image in zip(mixed.split.rows, np.load(mixed.file), strict=True):
        assert np.array_equal(load_image(mixed.split.root / row.path, mixed.spec), image)
        assert row.path.endswith("16.tif") or image.max() <= 16


def test_a_given_white_is_kept(tmp_path: Path) -> None:
    for number in range(40):
        draw_deep(tmp_path / "in" / ("Cat", "Dog")[number % 2] / f"{number}.png", number)
    spec = InputSpec(30, 30, white=16383)
    assert prepare(tmp_path / "in", tmp_path / "out", spec=spec).spec == spec
