"""Image records as columns of plain values."""

from __future__ import annotations

import json

import pytest

from housetrain.data.image_record import Brightness, FileStamp, Hashes, ImageRecord, from_columns, to_columns
from housetrain.images.sniff import Header

WHOLE = ImageRecord(
    "a/1.jpg", "a", "train", FileStamp(10, 20, 30), "ab" * 32, Header("JPEG", 4, 5, "RGB", 1, 6), Hashes("12", "34"),
    Brightness(1.0, 2.0, 3.0), oddity="no end marker",
)  # fmt: skip
BROKEN = ImageRecord("b/\udcff.jpg", "b", None, FileStamp(), reason="truncated")


def test_columns_hold_everything() -> None:
    columns = json.loads(json.dumps(to_columns([WHOLE, BROKEN])))
    assert list(from_columns(columns)) == [WHOLE, BROKEN]
    assert WHOLE.usable and not BROKEN.usable
    assert list(from_columns(to_columns([]))) == []


def test_columns_that_do_not_fit_are_an_error() -> None:
    columns = to_columns([WHOLE, BROKEN])
    with pytest.raises(ValueError, match="shorter"):
        list(from_columns({**columns, "label": ["a"]}))
    del columns["header.width"]
    with pytest.raises(KeyError):
        list(from_columns(columns))
