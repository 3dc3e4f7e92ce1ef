from __future__ import annotations

import io
from typing import Any

import pytest

from housetrain.images.exif import Photo, photo_of

Image = pytest.importorskip("PIL.Image")


def picture(format_: str, *, tags: dict[int, Any] | None = None, own: dict[int, Any] | None = None) -> bytes:
    exif = Image.Exif()
    exif.update(tags or {})
    exif.get_ifd(0x8769).update(own or {})
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(file, format_, exif=exif)
    return file.getvalue()


CAMERA = {0x010F: "Acme\0", 0x0110: "  X1 "}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_time_and_camera_are_read_from_every_format(format_: str) -> None:
    data = picture(format_, tags=CAMERA, own={0x9003: "2026:05:01 09:30:00", 0x9291: "25", 0xA431: "77"})
    assert photo_of(data) == Photo("2026-05-01T09:30:00.250000", "Acme X1 77")


def test_an_image_that_says_nothing() -> None:
    assert photo_of(picture("JPEG")) == Photo()
    assert photo_of(b"") == photo_of(b"GIF89a") == Photo()


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "2026:13:01 09:30:00", "yesterday", ""])
def test_a_clock_that_was_never_set_is_no_time(text: str) -> None:
    assert photo_of(picture("JPEG", tags=CAMERA, own={0x9003: text})) == Photo("", "Acme X1")


def test_the_time_of_the_file_where_there_is_no_other() -> None:
    for format_ in ("JPEG", "TIFF"):
        data = picture(format_, tags={0x0132: "2026:05:01 09:30:00"})
        assert photo_of(data).taken == "2026-05-01T09:30:00"


def test_damaged_metadata_is_no_error() -> None:
    data = picture("JPEG", tags=CAMERA, own={0x9003: "2026:05:01 09:30:00"})
    at = data.index(b"Exif\0\0")
    for place in range(at, at + 120):
        for value in (0, 255):
            photo_of(data[:place] + bytes([value]) + data[place + 1 :])
    for size in range(0, 300, 7):
        photo_of(data[:size])
