"""The folder that is given and the folder that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill
from noise_folders import folder_of

import housetrain as ht
from housetrain.data.which_folder import inner_folder
from housetrain.errors import FolderError


def test_one_folder_too_high_is_entered_and_said(tmp_path: Path) -> None:
    (tmp_path / "download" / "PetImages").mkdir(parents=True)
    folder_of(tmp_path / "download" / "PetImages" / "PetImages", cat=4, dog=4)
    (tmp_path / "download" / "readme.txt").write_text("read me")
    catalog = ht.scan(tmp_path / "download")
    assert catalog.root == tmp_path / "download" / "PetImages" / "PetImages"
    assert catalog.classes == ht.scan(catalog.root).classes
    assert [note.message for note in catalog.notes] == [
        "download holds nothing but the folder PetImages/PetImages, whose folders are used"
    ]
    assert [finding.kind for finding in ht.check(catalog) if finding.kind == "inner-folder"]


@pytest.mark.parametrize(
    "folders",
    [
        ("a", "b"),  # classes
        ("train/a", "train/b"),  # a split
        ("one/a",),  # one class at every level
        ("one",),
        (".", "one/a", "one/b"),  # images beside the folder
        ("one", "one/a", "one/b"),  # images in it
    ],
)
def test_other_folders_are_used_as_they_are(tmp_path: Path, folders: tuple[str, ...]) -> None:
    assert inner_folder(fill(tmp_path, *folders)) is None


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a").symlink_to(tmp_path / "a")
    assert inner_folder(tmp_path) is None


def test_a_class_level_says_what_is_meant(tmp_path: Path) -> None:
    fill(tmp_path, "one/a", "one/b")
    assert ht.scan(tmp_path, class_level=2, cache=False).root == tmp_path


def test_one_class_names_the_folder_above(tmp_path: Path) -> None:
    fill(tmp_path / "Pet Images", "Cat", "Dog", "Bird", form="{n}.png")
    with pytest.raises(FolderError) as caught:
        ht.scan(tmp_path / "Pet Images" / "Cat")
    hint = f"`housetrain run '{tmp_path / 'Pet Images'}'` if Cat is a class beside Bird and 1 more; else put the images"
    assert caught.value.what == "There are no class folders" and caught.value.do.startswith(hint)


def test_images_alone_are_no_class_of_the_folder_above(tmp_path: Path) -> None:
    fill(tmp_path, "images", "documents", form="{n}.png")
    for path in (tmp_path / "documents").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(FolderError, match="no class folders") as caught:
        ht.scan(tmp_path / "images")
    assert caught.value.do.startswith("put the images")


@pytest.mark.parametrize(
    ("given", "do"),
    [
        ("PetImage", "did you mean ROOT/PetImages?"),
        ("petimages", "did you mean ROOT/PetImages?"),
        ("birds", "ROOT holds PetImages, photos"),
        ("photos.zi", "did you mean ROOT/photos.zip or ROOT/photos?"),
        ("photos/none", "check the path"),
        ("no/such/folder", "check the path: ROOT is there, but nothing below it leads here"),
    ],
)
def test_a_missing_folder_says_what_is_near(tmp_path: Path, given: str, do: str) -> None:
    fill(tmp_path, "PetImages", "photos")
    (tmp_path / "photos.zip").touch()
    with pytest.raises(FolderError) as caught:
        ht.scan(tmp_path / given)
    assert (caught.value.what, caught.value.do) == ("The folder does not exist", do.replace("ROOT", str(tmp_path)))


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path, "photos/a", "photos/b")
    assert ht.scan("~/photos", cache=False).root == tmp_path / "photos"
