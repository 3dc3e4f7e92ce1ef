"""The one decoder: every format and oddity becomes the right pixels, everything else one short reason."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import (
    BAD,
    FORMATS,
    GOOD,
    HTML,
    animated,
    cmyk_jpeg,
    encode,
    huge,
    jpeg,
    photo,
    png16,
    tiff,
    truncated,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from images.decoding import DEEP, LOSSLESS, far, refused, saved
from images.odd_files import ODD
from PIL import Image, ImageOps  # noqa: TID253

from housetrain.data.catalog import scan
from housetrain.errors import DecodeError
from housetrain.images.decode import decode, examine, fit, load_image, probe, read_bytes
from housetrain.images.input_spec import InputSpec
from housetrain.images.sniff import EXTENSIONS
from housetrain.system import regular_files

# ---------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_is_known_by_its_content(format_: str) -> None:
    image = photo(seed=1)
    data = encode(image, format_)
    header = probe(data)
    assert (header.format, header.width, header.height, header.frames, header.orientation) == (format_, 160, 120, 1, 1)
    seen = examine(data)
    assert seen.header == header and seen.pixels.dtype == np.uint8 and seen.oddity == ""
    if format_ in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(seen.pixels, image)
    else:
        assert far(seen.pixels, image) < 12
    assert decode(data, color_mode="grayscale").shape == (120, 160, 1)
    assert format_ in EXTENSIONS


@pytest.mark.parametrize("format_", FORMATS)
def test_the_extension_is_nobodys_business(tmp_path: Path, format_: str) -> None:
    data, spec = encode(photo(seed=2), format_), InputSpec()
    for name in ("image.jpg", "image.png", "image.txt", "image"):
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(load_image(tmp_path / name, spec), load_image(data, spec))


@pytest.mark.parametrize("name", GOOD)
def test_what_is_odd_but_whole_is_used(name: str) -> None:
    seen = examine(GOOD[name]())
    assert seen.pixels.shape == (seen.header.height, seen.header.width, 3) and seen.pixels.std() > 5


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_has_its_reason(name: str) -> None:
    build, reason = BAD[name]
    assert refused(build()) == reason


# ---------------------------------------------------------------------------------------------- one verdict


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    for builders in (ODD, GOOD, {name: build for name, (build, _) in BAD.items()}):
        for name, build in builders.items():
            path = root / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(build())
    return root


@pytest.fixture(scope="module")
def scanned(odd_folder: Path) -> dict[str, str]:
    """Path -> reason, as a scan finds it."""
    return {image.path: image.reason for image in scan(odd_folder, cache=False, workers=2).images}


SPECS = [
    InputSpec(height, width, color_mode, resize)
    for color_mode in ("grayscale", "rgb")
    for height, width, resize in ((8, 8, "stretch"), (50, 50, "pad"), (64, 30, "crop"), (300, 300, "stretch"))
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_file_has_one_verdict_for_every_spec_and_caller(
    odd_folder: Path, scanned: dict[str, str], spec: InputSpec
) -> None:
    assert len(scanned) > 280 and {"truncated", ""} <= set(scanned.values())
    other = {}
    for path, reason in scanned.items():
        found = ""
        try:
            load_image(odd_folder / path, spec)
        except DecodeError as error:
            found = error.reason
        if found != reason:
            other[path] = (reason, found)
    assert not other


def test_a_file_has_one_verdict_without_a_spec(odd_folder: Path, scanned: dict[str, str]) -> None:
    for path, reason in scanned.items():
        data = (odd_folder / path).read_bytes()
        for color_mode in ("grayscale", "rgb"):
            if reason:
                assert refused(data, color_mode=color_mode) == reason
            else:
                assert decode(data, color_mode=color_mode).size
        if not reason:
            assert load_image(odd_folder / path).shape[2] == 3


def test_harmless_defects_are_named() -> None:
    assert examine(ODD["bad profile.jpg"]()).oddity == "bad color profile"
    assert examine(ODD["scan parameters.jpg"]()).oddity == "wrong scan parameters"
    assert examine(ODD["later frame.gif"]()).oddity == "a later frame is damaged"
    for name in ("bad profile.jpg", "scan parameters.jpg"):
        assert np.array_equal(decode(ODD[name]()), decode(jpeg()))


# ---------------------------------------------------------------------------------------------- turning

UPRIGHT = photo(18, 30, seed=3)
STORED: dict[int, Callable[[Any], Any]] = {  # where row 0 and column 0 are seen: Exif 2.32, 4.6.4 A
    1: lambda up: up,  # top, left
    2: lambda up: up[:, ::-1],  # top, right
    3: lambda up: up[::-1, ::-1],  # bottom, right
    4: lambda up: up[::-1],  # bottom, left
    5: lambda up: up.transpose(1, 0, 2),  # left, top
    6: lambda up: up.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda up: up[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda up: up[::-1].transpose(1, 0, 2),  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_exif_turns_a_image_upright(format_: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    data = encode(stored, format_, orientation=orientation, **LOSSLESS[format_])
    seen = examine(data)
    assert (seen.header.height, seen.header.width, seen.header.orientation) == (18, 30, orientation)
    assert probe(data) == seen.header
    assert np.array_equal(seen.pixels, UPRIGHT)
    spec = InputSpec(9, 15, "rgb")
    assert np.array_equal(load_image(data, spec), load_image(UPRIGHT, spec))
    assert np.array_equal(load_image(Image.open(io.BytesIO(data)), spec), load_image(data, spec))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_jpeg_upright_at_every_scale(orientation: int) -> None:
    upright = photo(160, 240, seed=4)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    plain = decode(encode(stored, "JPEG"))
    data = encode(stored, "JPEG", orientation=orientation)
    whole = decode(data)
    assert np.array_equal(np.ascontiguousarray(STORED[orientation](whole)), plain)
    assert far(whole, upright) < 8
    for at_least in ((20, 20), (40, 30), (10, 120), (160, 1)):
        small = decode(data, at_least=at_least)
        assert small.shape[0] >= at_least[0] and small.shape[1] >= at_least[1]
        assert far(fit(small, InputSpec(10, 15, "rgb")), fit(upright, InputSpec(10, 15, "rgb"))) < 5
    assert (
        far(load_image(data, InputSpec(50, 50, "rgb", "crop")), load_image(upright, InputSpec(50, 50, "rgb", "crop")))
        < 6
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_enough_is_meant_the_right_way_up(orientation: int) -> None:
    data = encode(np.ascontiguousarray(STORED[orientation](photo(160, 480, seed=4))), "JPEG", orientation=orientation)
    assert decode(data, at_least=(30, 100)).shape == (80, 240, 3)
    assert decode(data, at_least=(150, 30)).shape == (160, 480, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_pillow_turns_it(orientation: int) -> None:
    data = encode(np.ascontiguousarray(STORED[orientation](UPRIGHT)), "AVIF", orientation=orientation, quality=95)
    seen = examine(data)
    assert probe(data) == seen.header and (seen.header.height, seen.header.width) == (18, 30)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert right is not None and np.array_equal(seen.pixels, np.asarray(right))
    assert far(seen.pixels, UPRIGHT) < 15


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_nonsense_orientation_is_none(orientation: int) -> None:
    for format_ in ("JPEG", "PNG", "TIFF"):
        assert probe(encode(UPRIGHT, format_, orientation=orientation)).orientation == 1
        assert decode(encode(UPRIGHT, format_, orientation=orientation)).shape == (18, 30, 3)


# ---------------------------------------------------------------------------------------------- colors


# ---------------------------------------------------------------------------------------------- alpha


# ---------------------------------------------------------------------------------------------- several frames


# ---------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("percent", [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99])
def test_a_cut_file_is_truncated(format_: str, percent: int) -> None:
    assert refused(truncated(encode(photo(seed=13), format_), percent / 100)) == "truncated"


# ---------------------------------------------------------------------------------------------- bombs

BOMBS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")

_MEASURE = """
import resource, sys, time
from pathlib import Path
from housetrain.images.decode import decode, load_image
from housetrain.images.input_spec import InputSpec
from housetrain.errors import DecodeError
load_image(Path(sys.argv[1]).read_bytes(), InputSpec())  # what decoders need at all
for name in sys.argv[1:]:
    data = Path(name).read_bytes()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        load_image(data, InputSpec())
        reason = "used"
    except DecodeError as error:
        reason = error.reason
    grew = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(Path(name).name, grew, time.perf_counter() - began, reason, sep="\\t")
"""


def test_a_bomb_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    files_ = []
    for format_ in (*FORMATS, *BOMBS):
        path = tmp_path / f"{len(files_)} {format_}"
        path.write_bytes(encode(photo(seed=19), format_) if len(files_) < len(FORMATS) else huge(format_))
        files_.append(str(path))
    command = [sys.executable, "-c", _MEASURE, *files_]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = [line.split("\t") for line in out.splitlines()]
    assert [reason for *_, reason in lines[: len(FORMATS)]] == ["used"] * len(FORMATS)
    for name, kib, seconds, reason in lines[len(FORMATS) :]:
        assert reason.startswith("too many pixels (60000x60000): "), name
        assert int(kib) < 8 << 10 and float(seconds) < 1, name


def test_the_limit_is_that_of_the_pixels_themselves() -> None:
    for format_ in FORMATS:
        data = encode(photo(100, 100, seed=20), format_)
        assert decode(data, max_pixels=10_000).shape == (100, 100, 3)
        if format_ == "JPEG":  # decoded at a half, a quarter, an eighth
            for most in (2_500, 625, 169):
                assert decode(data, max_pixels=most).size == most * 3
            assert "too many pixels" in refused(data, max_pixels=168)
        else:
            reason = "too many pixels (100x100): {} is read up to 0.009999 million; save it smaller or as JPEG"
            assert refused(data, max_pixels=9_999) == reason.format(format_)


# ---------------------------------------------------------------------------------------------- files


def unreadable(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(DecodeError) as caught:
        read_bytes(path)
    assert time.monotonic() - began < 1
    return caught.value.reason


@pytest.mark.timeout(20)
def test_only_files_are_read_and_nothing_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "folder").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    try:
        reasons = {
            "pipe": "not a file (FIFO)",
            "to pipe": "not a file (FIFO)",
            "dangling": "dangling symlink",
            "circle": "symlink loop",
            "folder": "not a file (folder)",
            "socket": "not a file (socket)",
            "nowhere": "file not found",
            "nul\0": "file not found",
        }
        assert {name: unreadable(tmp_path / name) for name in reasons} == reasons
        assert unreadable(Path("/dev/zero")) == unreadable(Path("/dev/null")) == "not a file (device)"
    finally:
        listening.close()


@pytest.mark.timeout(20)
def test_a_file_that_becomes_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe")
    regular = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    assert unreadable(tmp_path / "pipe") == "not a file (FIFO)"


def test_a_file_that_grows_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(3000))
    monkeypatch.setattr(regular_files, "check_regular", lambda status: 1000)
    assert read_bytes(tmp_path / "file") == bytes(3000)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(regular_files.MAX_BYTES + 1)
    assert unreadable(tmp_path / "file") == "file too large (over 512 MiB)"


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "file").write_bytes(jpeg())
    monkeypatch.setattr(os, "open", refuse)
    assert unreadable(tmp_path / "file") == "no permission to read"


def test_load_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(HTML)
    with pytest.raises(DecodeError, match=r"HTML.*page\.jpg") as caught:
        load_image(tmp_path / "page.jpg", InputSpec())
    assert caught.value.reason == "not an image (HTML)"


# ---------------------------------------------------------------------------------------------- fitting


def test_stretch_fills_the_whole_size() -> None:
    left_right = np.zeros((40, 80, 3), np.uint8)
    left_right[:, 40:] = 200
    image = fit(left_right, InputSpec(10, 10, "rgb"))
    assert (image[:, :5] == 0).all() and (image[:, 5:] == 200).all()


@pytest.mark.parametrize(("height", "width", "box"), [(40, 80, (3, 8, 0, 10)), (80, 40, (0, 10, 3, 8))])
def test_pad_keeps_the_proportions_in_the_middle(height: int, width: int, box: tuple[int, ...]) -> None:
    spec = InputSpec(11 if height < width else 10, 10 if height < width else 11, "rgb", "pad", (1, 2, 3))
    image = fit(np.full((height, width, 3), 77, np.uint8), spec)
    top, bottom, left, right = box
    assert (image[top:bottom, left:right] == 77).all()
    outside = np.ones(image.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert outside.any() and (image[outside] == (1, 2, 3)).all()


def test_pad_in_gray_takes_the_brightness_of_the_background() -> None:
    image = fit(np.full((10, 40, 3), 77, np.uint8), InputSpec(20, 20, "grayscale", "pad", (255, 0, 0)))
    assert image.shape == (20, 20, 1) and image[0, 0, 0] == 76 and image[10, 10, 0] == 77


def test_crop_cuts_the_middle_out() -> None:
    stripes = np.repeat(np.arange(5, dtype=np.uint8) * 50, 20)  # 100 wide
    image = fit(
        np.broadcast_to(stripes[np.newaxis, :, np.newaxis], (20, 100, 3)).copy(), InputSpec(20, 20, "rgb", "crop")
    )
    assert (image == 100).all()
    tall = fit(
        np.broadcast_to(stripes[:, np.newaxis, np.newaxis], (100, 20, 1)).copy(), InputSpec(10, 10, "grayscale", "crop")
    )
    assert (tall == 100).all()


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2), (97, 41), (50, 50)])
@pytest.mark.parametrize("size", [(1, 1), (50, 50), (7, 64)])
def test_every_size_fits_every_size(resize: Any, shape: tuple[int, int], size: tuple[int, int]) -> None:
    for color_mode in ("grayscale", "rgb"):
        spec = InputSpec(*size, color_mode, resize)  # type: ignore[arg-type]
        image = fit(np.full((*shape, 3), 255, np.uint8), spec)
        assert image.shape == spec.shape and image.flags.c_contiguous and (image == 255).all()


def test_shrinking_averages_areas() -> None:
    board = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, np.newaxis]
    for side in (50, 100, 200):
        image = fit(board, InputSpec(side, side))
        assert np.abs(image.astype(int) - 127.5).max() <= 1  # a filter that skips pixels gives stripes or 0 and 255
    odd = fit(board, InputSpec(37, 53))
    assert abs(odd.mean() - 127.5) < 1 and odd.std() < 12


@pytest.mark.parametrize("size", [(50, 50), (37, 91), (119, 3), (300, 20)])
def test_the_mean_is_kept(size: tuple[int, int]) -> None:
    image = photo(seed=21)
    assert abs(fit(image, InputSpec(*size, "rgb")).mean() - image.mean()) < 1


# ---------------------------------------------------------------------------------------------- one door


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("color_mode", ["grayscale", "rgb"])
def test_a_image_is_the_same_however_it_comes(tmp_path: Path, format_: str, resize: Any, color_mode: Any) -> None:
    spec = InputSpec(33, 50, color_mode, resize, (9, 9, 9))
    data = encode(photo(48, 70, seed=23), format_)
    (tmp_path / "image").write_bytes(data)
    image = load_image(data, spec)
    assert image.shape == spec.shape and image.dtype == np.uint8
    for source in (tmp_path / "image", str(tmp_path / "image"), bytearray(data), memoryview(data)):
        assert np.array_equal(load_image(source, spec), image)  # type: ignore[arg-type]
    whole = decode(data, color_mode=color_mode)
    assert np.array_equal(load_image(whole, spec), image)  # nothing is gained by decoding an image so small smaller
    if color_mode == "rgb" or format_ != "JPEG":  # a JPEG's own gray is rounded before it is stored
        assert np.array_equal(load_image(Image.fromarray(decode(data)), spec), image)
        assert np.abs(load_image(Image.open(tmp_path / "image"), spec).astype(int) - image).max() <= 2


def test_load_image_without_a_spec_is_rgb_of_the_files_own_size(tmp_path: Path) -> None:
    gray = photo(20, 30, seed=4)[:, :, 0]
    (tmp_path / "image.png").write_bytes(encode(gray, "PNG"))
    rgb = np.repeat(gray[:, :, np.newaxis], 3, axis=2)
    for source in (
        str(tmp_path / "image.png"),
        tmp_path / "image.png",
        encode(gray, "PNG"),
        gray,
        Image.fromarray(gray),
    ):
        assert np.array_equal(load_image(source), rgb)
    assert np.array_equal(load_image(encode(UPRIGHT, "PNG")), UPRIGHT)


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_a_large_jpeg_decoded_small_is_close_to_it_decoded_whole(resize: Any) -> None:
    spec = InputSpec(50, 50, "rgb", resize)
    for seed in range(5):
        data = jpeg(600, 800, seed=seed)
        assert far(load_image(data, spec), load_image(decode(data), spec)) < 2.5


# ---------------------------------------------------------------------------------------------- anything at all

SEEDS = [encode(photo(24, 32, seed=25), format_) for format_ in FORMATS] + [
    jpeg(24, 32, progressive=True),
    cmyk_jpeg(photo(24, 32)),
    jpeg(24, 32, orientation=6),
    animated("GIF", 2),
    animated("PNG", 2),
    animated("WEBP", 2),
    png16(DEEP),
    tiff(DEEP.astype(np.float32)),
    saved(Image.fromarray(photo(24, 32)), "TIFF", compression="tiff_lzw"),
    saved(Image.fromarray(photo(24, 32)[:, :, 0] > 99), "TIFF", compression="group4"),
    saved(Image.fromarray(photo(24, 32)).quantize(16), "PNG", transparency=3),
]


def image_or_reason(data: bytes) -> None:
    """Whatever the bytes: an image of the right shape, or a DecodeError, and never anything else."""
    spec = InputSpec(8, 8, "rgb", "pad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        try:
            header = probe(data)
            seen = examine(data, max_pixels=300_000, at_least=(8, 8))
        except DecodeError as error:
            assert error.reason and len(error.reason) < 120 and error.reason.isprintable()
            return
    assert header == seen.header
    assert seen.pixels.dtype == np.uint8 and seen.pixels.ndim == 3 and seen.pixels.shape[2] == 3
    if header.format != "JPEG":
        assert seen.pixels.shape[:2] == (header.height, header.width)
    assert fit(seen.pixels, spec).shape == (8, 8, 3)


def test_a_reason_quotes_no_control_character() -> None:
    data = bytearray(saved(Image.new("L", (8, 8)), "PNG"))
    data[data.index(b"IHDR") + 1] = 0
    with pytest.raises(DecodeError, match=r"wrong checksum of I\\x00DR") as caught:
        decode(bytes(data))
    assert caught.value.reason.isprintable()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_image_or_a_reason(data: bytes) -> None:
    image_or_reason(data)
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\xff\0\0\0WEBPVP8 "):
        image_or_reason(start + data)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from(["flip", "set", "cut", "insert", "repeat"]),
            st.binary(min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_changed_files_are_a_image_or_a_reason(data: bytes, changes: list[tuple[float, str, bytes]]) -> None:
    changed = bytearray(data)
    for share, how, new in changes:
        at = int(share * max(0, len(changed) - 1))
        if how == "flip" and changed:
            changed[at] ^= new[0]
        elif how == "set":
            changed[at : at + len(new)] = new
        elif how == "cut":
            del changed[at : at + 1 + new[0]]
        elif how == "insert":
            changed[at:at] = new
        else:
            changed[at:at] = changed[at : at + new[0]]
    image_or_reason(bytes(changed))
