"""The Data page's view of a folder: cached results of a check, and thumbnails that never leave the data root."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from housetrain.errors import FolderError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.studio import looking
from housetrain.studio.looking import Look


@pytest.fixture
def found(pets: Path) -> Look:
    job = looking.begin(pets)
    until = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert job.state == "done", job.error
    return looking.look(pets, job)


def test_a_check_is_read_from_its_file(found: Look, pets: Path) -> None:
    assert found.catalog.counts() == {"cats": 30, "dogs": 30}
    job = looking.job_of(pets)
    assert job is not None and looking.look(pets, job) is found, "it was read twice"


def test_the_split_follows_the_options(found: Look) -> None:
    manifest = looking.manifest(found, {"seed": 1, "validation_split": 0.2, "test_split": 0.2})
    assert sum(sum(counts.values()) for counts in manifest.counts().values()) == 60
    with pytest.raises(FolderError):
        looking.manifest(found, {"test_per_class": 1000})


def test_samples_show_the_original_and_the_model_input(found: Look) -> None:
    spec = InputSpec(height=12, width=12, color_mode="grayscale", resize="stretch")
    drawn = looking.samples(found, spec, per_class=2, seed=0, classes=1)
    [(name, tiles)] = drawn.items()
    assert name == "cats" and len(tiles) == 2
    for tile in tiles:
        assert tile.views[0].startswith("data:image/jpeg") and tile.views[1].startswith("data:image/png")
        assert tile.pixels


def test_an_unreadable_image_shows_the_reason(pets: Path) -> None:
    (pets / "cats" / "broken.jpg").write_bytes(b"")
    good = sorted((pets / "cats").glob("[0-9]*"))[0]
    tile, drawn = looking.thumbnails([pets / "cats" / "broken.jpg", good], looking.places(), ["a note", "another"])
    assert tile.views == ("",) and tile.note not in ("", "a note") and tile.name == "cats/broken.jpg"
    assert drawn.views[0].startswith("data:image/jpeg") and drawn.note == "another"


def test_nothing_outside_the_data_root_is_shown(work: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(b"x")
    [tile] = looking.thumbnails([outside], looking.places())
    assert tile.views == ("",) and tile.note == "outside the data root"


def test_the_page_itself_decodes_nothing(found: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded in the process of the page")

    for name in ("load_image", "read_bytes"):
        monkeypatch.setattr(decode, name, refuse)
    spec = InputSpec(height=14, width=14, color_mode="rgb", resize="stretch")
    [tile] = looking.samples(found, spec, per_class=1, seed=0, classes=1)["cats"]
    assert all(tile.views)
