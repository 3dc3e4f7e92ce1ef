"""The folder that was meant: inside the given one, beside it, or where the verbs write."""

from __future__ import annotations

from pathlib import Path

import pytest

from housetrain.system.near_folders import instead_of, near_names

MARK = "recipe.json"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs/photos", "runs/photos-cnn", "runs/my pets", "runs/p32", "other/digits"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MARK).touch()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ("runs/phtos", "runs/photos"),
        ("runs/PHOTOS-CNN", "runs/photos-cnn"),
        ("runs/my pet", "'runs/my pets'"),
        ("runs/p33", "runs/p32"),
        ("photos", "runs/photos"),  # the images, not the run of them
        ("phot", "runs/photos or runs/photos-cnn"),
        ("other", "other/digits"),
        ("runs", "'runs/my pets', runs/p32, runs/photos or runs/photos-cnn"),
    ],
)
def test_a_folder_that_is_near_is_named(given: str, listed: str) -> None:
    assert instead_of(Path(given), MARK, otherwise="train one") == f"give the one that is meant: {listed}"


@pytest.mark.parametrize("given", ["birds", "no/such/place", "", "runs/photos/recipe.json"])
def test_where_none_is_near_the_other_advice_is_given(given: str) -> None:
    assert instead_of(Path(given or "elsewhere"), MARK, otherwise="train one") == "train one"
    assert instead_of(Path("runs/phtos"), "sweep.json") == ""


def test_few_letters_differ() -> None:
    assert near_names("petimages", ["PetImages", "photos"]) == ["PetImages"]
    assert near_names("nothere", ["three", "photos"]) == []
    assert near_names("photos.zi", ["photos", "photos.zip"])[0] == "photos.zip"
