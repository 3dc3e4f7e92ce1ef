"""Thumbnails: each made once, within their room, and a reason where there is no image."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from handmade_runs import MakeRun, write_images

from housetrain.data.prepare import Prepared
from housetrain.images.input_spec import InputSpec
from housetrain.report.thumbnails import SIDE, Album
from housetrain.training.run import Run

SPEC = InputSpec(height=12, width=12)


def pixels(uri: str | None) -> np.ndarray:
    assert uri is not None
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_image_that_changed_is_not_shown(tmp_path: Path) -> None:
    [file] = write_images(tmp_path / "p", ("cats",), per_class=1)
    digest = digest_of(file)
    album = Album(tmp_path / "p", SPEC)
    shown = album.thumbnail("cats/0.png", digest)
    assert shown.image and shown.seen and (shown.width, shown.height) == (24, 24)
    file.write_bytes(write_images(tmp_path / "q", ("a", "b"), per_class=1)[1].read_bytes())
    assert album.thumbnail("cats/0.png", digest) is shown, "made once"
    changed = Album(tmp_path / "p", SPEC).thumbnail("cats/0.png", digest)
    assert (changed.image, changed.reason) == (None, "changed since")


def test_a_large_image_is_shrunk_and_the_model_input_is_exact(tmp_path: Path) -> None:
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (4, 8, 3), np.uint8), (800, 400))
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    made = Album(tmp_path, SPEC).thumbnail("wide.png")
    assert (made.width, made.height) == (SIDE, SIDE // 2) and pixels(made.image).shape == (SIDE // 2, SIDE, 3)
    assert (made.image or "").startswith("data:image/jpeg;base64,")
    assert (made.seen or "").startswith("data:image/png;base64,") and pixels(made.seen).shape[:2] == (12, 12)


@pytest.mark.parametrize(("content", "reason"), [(None, "file not found"), (b"", "empty file"), (b"x" * 50, "")])
def test_an_unreadable_image_has_a_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    made = Album(tmp_path, SPEC).thumbnail("bad.png")
    assert made.image is made.seen is None and made.reason and reason in made.reason


def test_no_image_is_made_beyond_the_room(tmp_path: Path) -> None:
    write_images(tmp_path, ("a", "b"), per_class=3)
    album = Album(tmp_path, SPEC, room=1)
    first = album.thumbnail("a/0.png")
    assert first.image and album.room < 0, "the last one may exceed it"
    assert album.thumbnail("a/1.png").reason == "not shown, to keep this page small"
    assert album.thumbnail("a/0.png") is first, "an image that is made stays"
    size = len(first.image) + len(first.seen or "")
    roomy = Album(tmp_path, SPEC, room=2 * size + 100)
    roomy.thumbnail("a/0.png")
    assert roomy.room == size + 100
    roomy.thumbnail("a/0.png")
    assert roomy.room == size + 100, "counted once"


# ------------------------------------------------------------------------------------------------- prepared arrays
def prepared_of(run: Run) -> Prepared:
    return Prepared.open(Path(run.input_json["prepared"]))


def test_prepared_arrays_replace_a_missing_original(make_run: MakeRun) -> None:
    run = make_run(with_arrays=True)
    prepared = prepared_of(run)
    row = run.split.of("validation")[0]
    gone = Album(run.split.root.with_name("moved"), run.spec, prepared=prepared)
    made = gone.thumbnail(row.path, row.sha256)
    place = prepared.validation.sha256.index(row.sha256)
    assert np.array_equal(pixels(made.seen).reshape(12, 12), prepared.validation.images[place].reshape(12, 12))
    assert made.image == made.seen and (made.width, made.height) == (12, 12)
    assert gone.thumbnail(row.path, "0" * 64).reason == "file not found", "not in the arrays"
    assert gone.thumbnail(row.path).reason == "file not found", "without a checksum no array is looked up"


def test_arrays_that_are_deleted_meanwhile_are_done_without(make_run: MakeRun) -> None:
    run = make_run(with_arrays=True)
    prepared = prepared_of(run)
    prepared.file.unlink()
    album = Album(run.split.root, run.spec, prepared=prepared)
    row = run.split.of("test")[0]
    made = album.thumbnail(row.path, row.sha256)
    assert made.image and made.seen and made.width == 24 and album.prepared is None
