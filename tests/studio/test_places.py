"""Nothing outside the roots can be named, listed or reached through a link; nothing says whether it exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from handmade_runs import write_images

from housetrain.errors import FolderError
from housetrain.studio.places import Places


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / "secret" / "people", ("a", "b"), per_class=2)
    write_images(tmp_path / "root" / "pets", ("cats", "dogs"), per_class=2)
    write_images(tmp_path / "root" / "deep" / "er" / "birds", ("x", "y"), per_class=2)
    write_images(tmp_path / "root" / "ready" / "train", ("x", "y"), per_class=2)
    write_images(tmp_path / "root" / "ready" / "test", ("x", "y"), per_class=2)
    (tmp_path / "root" / "empty").mkdir()
    return tmp_path / "root"


def test_folders_of_classes_are_offered(root: Path) -> None:
    places = Places(root)
    assert [places.name(folder) for folder in places.folders()] == ["deep/er/birds", "pets", "ready"]


def test_a_root_may_itself_be_the_folder(root: Path) -> None:
    places = Places(root / "pets")
    assert places.folders() == (root / "pets",)
    assert places.name(root / "pets") == "pets"


@pytest.mark.parametrize("typed", ["../secret/people", "..", "/", "/etc", "pets/../../secret", "\0"])
def test_what_lies_outside_cannot_be_named(typed: str, root: Path) -> None:
    with pytest.raises(FolderError) as outside:
        Places(root).resolve(typed)
    assert "may not open" in str(outside.value)


def test_it_does_not_say_whether_something_outside_exists(root: Path) -> None:
    said = []
    for name in ("../secret", "../no-such-thing"):
        with pytest.raises(FolderError) as error:
            Places(root).resolve(name)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_a_link_that_leads_outside_is_outside(root: Path) -> None:
    (root / "out").symlink_to(root.parent / "secret" / "people")
    (root / "pets" / "birds").symlink_to(root.parent / "secret" / "people" / "a")
    places = Places(root)
    assert "out" not in [places.name(folder) for folder in places.folders()]
    with pytest.raises(FolderError, match="may not open"):
        places.resolve("out")
    with pytest.raises(FolderError, match="birds"):
        places.refuse_links_outside(root / "pets")
    places.refuse_links_outside(root / "deep")
    assert not places.holds(root / "pets" / "birds" / "0.png")


def test_a_link_in_a_circle_ends(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    (root / "pets" / "up").symlink_to(root)
    places = Places(root)
    places.refuse_links_outside(root / "pets")
    with pytest.raises(FolderError):
        places.resolve("loop")
    assert places.folders()


def test_what_is_below_is_found(root: Path) -> None:
    places = Places(root)
    assert places.resolve("pets") == root / "pets"
    assert places.resolve(str(root / "pets")) == root / "pets"
    with pytest.raises(FolderError, match="does not exist"):
        places.resolve("nothing")
    with pytest.raises(FolderError):
        places.resolve("x" * 5000)
