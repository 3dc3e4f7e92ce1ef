from __future__ import annotations

import pytest

from housetrain.data.label_from_name import labels_from_names, pattern_for
from housetrain.errors import RecipeError


def names(form: str, *classes: str, count: int = 10) -> list[str]:
    return [form.format(c=name, n=number) for name in classes for number in range(count)]


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (names("{c}.{n}.jpg", "cat", "dog"), {"cat", "dog"}),
        (names("{c}_{n}.png", "cat", "dog"), {"cat", "dog"}),
        (names("train/{c} ({n}).jpg", "cat", "dog"), {"cat", "dog"}),
        (names("{c}_{n}.jpg", "Abyssinian", "american_bulldog"), {"Abyssinian", "american_bulldog"}),
        (names("{c}_{n}.JPEG", "n01440764", "n02102040"), {"n01440764", "n02102040"}),
        (names("{n:04d}-{c}.png", "maple", "oak"), {"maple", "oak"}),
        (names("{c}{n:03d}.png", "healthy", "rust"), {"healthy", "rust"}),
        (names("IMG_{n:04d}_{c}.png", "healthy", "rust"), {"healthy", "rust"}),
    ],
)
def test_classes_in_file_names_are_recognized(paths: list[str], classes: set[str]) -> None:
    pattern = pattern_for(paths)
    assert pattern is not None
    assert set(labels_from_names(paths, pattern).values()) == classes


@pytest.mark.parametrize(
    "paths",
    [
        names("{c}_{n:04d}.jpg", "IMG"),
        names("{c}_{n:04d}.jpg", "IMG", "DSC"),
        names("{n:04d}.png", ""),
        names("2023-05-{n:02d}-a.jpg", ""),
        names("{c}.{n}.jpg", "train", "test"),
        [f"{word}.jpg" for word in ("sun", "moon", "star", "sky", "sea", "sand")],
        [],
    ],
)
def test_names_that_carry_no_class_are_not_used(paths: list[str]) -> None:
    assert pattern_for(paths) is None


def test_a_group_called_label_is_the_class() -> None:
    found = labels_from_names(["x/2020_cat_a.jpg", "odd.jpg"], r"^(\d+)_(?P<label>[a-z]+)_")
    assert found == {"x/2020_cat_a.jpg": "cat"}


@pytest.mark.parametrize("pattern", ["(", "cat", "*"])
def test_an_expression_that_cannot_be_used_is_refused(pattern: str) -> None:
    with pytest.raises(RecipeError, match="expression"):
        labels_from_names(["cat.0.jpg"], pattern)
