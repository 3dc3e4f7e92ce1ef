"""From what a person points at to prepared images: files found, errors as rows, flat memory."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253

from housetrain.errors import DecodeError, FolderError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.inference import inputs
from housetrain.inference.inputs import Listing, Reader, inputs_of, name_of, read_many
from housetrain.system.process_pool import Failed

SPEC = InputSpec(height=12, width=10, color_mode="rgb")


def png(value: int = 0, *, size: tuple[int, int] = (20, 16)) -> bytes:
    """A PNG file of a gradient that begins at ``value``."""
    ramp = (np.arange(size[0] * size[1] * 3).reshape(size[1], size[0], 3) + value) % 256
    file = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    """A folder as people have them."""
    root = tmp_path / "holiday"
    for name in ("b.png", "a.png", "day 1/c.png", "day 1/Thumbs.db", ".hidden/d.png", "._a.png", "__MACOSX/e.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    return root


# ------------------------------------------------------------------------------------------------- Listing
def test_a_folder_stands_for_the_images_below_it_but_not_the_rubbish(holiday: Path) -> None:
    assert list(Listing([holiday])) == [holiday / "a.png", holiday / "b.png", holiday / "day 1" / "c.png"]


def test_photos_folders_and_patterns_in_the_order_given_each_once(holiday: Path) -> None:
    given = list(Listing([holiday / "b.png", str(holiday / "*.png"), holiday]))
    assert given == [holiday / "b.png", holiday / "a.png", holiday / "day 1" / "c.png"]
    assert list(Listing([str(holiday / "**" / "c.png")])) == [holiday / "day 1" / "c.png"]
    assert list(Listing([str(holiday / "day*")])) == [holiday / "day 1" / "c.png"], "a pattern may match a folder"


def test_relative_paths_stay_relative(holiday: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(holiday)
    assert list(Listing(["a.png", "day*"])) == [Path("a.png"), Path("day 1/c.png")]


def test_a_name_with_brackets_that_exists_is_no_pattern(holiday: Path) -> None:
    odd = holiday / "cat[1].png"
    odd.write_bytes(png())
    assert list(Listing([odd])) == [odd]


@pytest.mark.parametrize("given", ["nothing-here.jpg", "no/*.jpg", "a\0b", ""])
def test_what_stands_for_nothing_is_refused_by_name(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(FolderError, match=r"[Nn]o such|[Nn]o images") as caught:
        list(Listing([given]))
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    with pytest.raises(FolderError, match="holds no images"):
        list(Listing([tmp_path]))


def test_links_that_lead_nowhere_or_around_are_survived(holiday: Path) -> None:
    (holiday / "dangling.png").symlink_to(holiday / "gone.png")
    (holiday / "day 1" / "up").symlink_to(holiday)
    found = list(Listing([holiday]))
    assert holiday / "a.png" in found and len(found) == len(set(found)) <= 5
    assert list(Listing([holiday / "dangling.png"])) == [holiday / "dangling.png"], (
        "named by hand: its row will say why not"
    )


def test_one_argument_is_one_input_or_a_list_of_inputs(holiday: Path) -> None:
    array = np.zeros((4, 4), np.uint8)
    assert list(inputs_of(holiday)) == list(inputs_of(str(holiday))) == list(inputs_of([holiday])) == expected(holiday)
    assert list(inputs_of(b"encoded")) == [b"encoded"]
    assert [one is array for one in inputs_of(array)] == [True]
    mixed = list(inputs_of([array, holiday, b"encoded"]))
    assert mixed[0] is array and mixed[1:-1] == expected(holiday) and mixed[-1] == b"encoded"
    with pytest.raises(FolderError, match=r"No such image"):
        inputs_of([array, holiday / "gone.jpg"])


def expected(holiday: Path) -> list[Path]:
    return [holiday / "a.png", holiday / "b.png", holiday / "day 1" / "c.png"]


# ------------------------------------------------------------------------------------------------- Reader
def test_every_kind_of_source_gives_the_same_image(tmp_path: Path) -> None:
    data = png()
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = Image.open(path)
    expected = decode.load_image(data, SPEC)
    prefix = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    read = Reader(SPEC)
    for source in (path, str(path), data):
        array, seen = read(source)
        np.testing.assert_array_equal(array, expected)
        assert seen == prefix
    for source in (image, np.asarray(image)):
        array, seen = read(source)
        np.testing.assert_array_equal(array, expected)
        assert seen is None
    assert expected.shape == (12, 10, 3) and expected.dtype == np.uint8


@pytest.mark.parametrize(
    "source", [None, 3, object(), ["a.png"], np.zeros((0, 4), np.uint8), np.zeros((2, 2, 7), np.uint8), b""]
)
def test_what_is_no_image_is_a_decode_error(source: Any) -> None:
    with pytest.raises(DecodeError):
        Reader(SPEC)(source)


def test_names() -> None:
    assert name_of(Path("a/b.png")) == "a/b.png" and name_of("a.png") == "a.png"
    assert name_of(b"x") == "<bytes>" and name_of(np.zeros(1)) == "<array>"
    assert name_of(Image.new("L", (1, 1))) == "<image>"


# ------------------------------------------------------------------------------------------------- read_many
def test_many_in_workers_and_here_give_the_same(tmp_path: Path) -> None:
    paths = []
    for number in range(70):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(number))
        paths.append(path)
    (tmp_path / "7.png").write_bytes(b"<html>")
    (tmp_path / "8.png").unlink()
    os.mkfifo(tmp_path / "8.png")
    here = {index: (name, result) for index, name, result in read_many(paths, SPEC, workers=0)}
    there = {index: (name, result) for index, name, result in read_many(paths, SPEC, workers=2)}
    assert list(here) == list(range(70)) and sorted(there) == list(range(70))
    for index in range(70):
        assert here[index][0] == there[index][0] == str(paths[index])
        one, other = here[index][1], there[index][1]
        if index in (7, 8):
            assert isinstance(one, Failed) and one == other
        else:
            assert not isinstance(one, Failed) and not isinstance(other, Failed)
            np.testing.assert_array_equal(one[0], other[0])
            assert one[1] == other[1] is not None


def test_mixed_sources_keep_their_places() -> None:
    array = np.full((4, 4, 3), 200, np.uint8)
    mixed = [array, png(1), png(2), array, b"nothing", png(3)]
    results = {index: result for index, _, result in read_many(mixed, SPEC, workers=1)}
    for index in (0, 3):
        assert results[index][0].min() == results[index][0].max() == 200  # type: ignore[index, union-attr]
    for index, value in ((1, 1), (2, 2), (5, 3)):
        np.testing.assert_array_equal(results[index][0], decode.load_image(png(value), SPEC))  # type: ignore[index]
    assert isinstance(results[4], Failed)


def test_an_endless_stream_is_read_as_far_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_WINDOW", 8)
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield png(taken)

    reading = read_many(endless(), SPEC, workers=0)
    assert [index for index, _, _ in itertools.islice(reading, 20)] == list(range(20))
    reading.close()
    assert taken <= 24


def test_windows_hold_a_bounded_number_of_sources_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_WINDOW", 10)
    monkeypatch.setattr(inputs, "_WINDOW_BYTES", 1000)
    assert [len(window) for window in inputs._windows(Path(str(n)) for n in range(25))] == [10, 10, 5]
    assert [len(window) for window in inputs._windows(bytes(400) for _ in range(7))] == [3, 3, 1]
    array = np.zeros((2, 2), np.uint8)
    assert [len(window) for window in inputs._windows([array, array, "a", "b", array])] == [1, 1, 2, 1]
