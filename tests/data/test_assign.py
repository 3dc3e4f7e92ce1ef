"""Which group of images is in which split: by chance in large classes, by share in small ones."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from data.made_up_catalogs import folder

from housetrain.data.assign import LARGE_GROUP, SMALL_CLASS, assign, position

OPTIONS: dict[str, Any] = {"seed": 0, "validation_split": 0.15, "test_split": 0.15, "per_class": None}


def places(
    counts: dict[str, int], groups: dict[str, str] | None = None, **options: Any
) -> tuple[dict[str, str], list[str]]:
    """Return path -> split, and the problems; an image without a group is a group of its own."""
    images = folder(counts).images
    group_of = {one.path: (groups or {}).get(one.path, one.path) for one in images}
    assigned, problems = assign(images, group_of, **OPTIONS | options)
    assert set(assigned) == set(group_of.values())
    return {one.path: assigned[group_of[one.path]] for one in images}, problems


def shares(where: dict[str, str], label: str) -> Counter[str]:
    return Counter(split for path, split in where.items() if path.startswith(f"{label}/"))


def by_position(place: float) -> str:
    return "test" if place < 0.15 else "validation" if place >= 0.85 else "train"


def test_position_is_even() -> None:
    counts = Counter(int(position(0, str(number)) * 10) for number in range(20_000))
    assert min(counts.values()) > 1800 and max(counts.values()) < 2200


def test_position_depends_on_seed_and_group_alone() -> None:
    assert position(0, "a") == position(0, "a") != position(1, "a")
    assert all(0 <= position(seed, "b") < 1 for seed in range(-500, 500))


def test_in_a_large_class_the_position_alone_decides() -> None:
    where, problems = places({"a": SMALL_CLASS, "b": 3 * SMALL_CLASS})
    assert problems == []
    assert where == {path: by_position(position(0, path)) for path in where}


def test_the_order_of_the_images_does_not_matter() -> None:
    images = list(folder({"a": 40, "b": 300}).images)
    groups = {one.path: one.sha256[:2] for one in images}
    before = assign(images, groups, **OPTIONS)
    random.Random(0).shuffle(images)
    assert assign(images, groups, **OPTIONS) == before


@pytest.mark.parametrize("count", [20, 40, 100, SMALL_CLASS - 1])
def test_small_classes_have_their_share_to_within_one_image(count: int) -> None:
    for seed in range(10):
        where, _ = places({"a": count, "b": count}, seed=seed)
        for label in ("a", "b"):
            found = shares(where, label)
            assert abs(found["test"] - 0.15 * count) <= 1 and abs(found["validation"] - 0.15 * count) <= 1


def test_the_groups_nearest_to_the_boundary_move() -> None:
    for seed in range(10):
        where, _ = places({"a": 60, "b": 60}, seed=seed)
        ranked = [where[path] for path in sorted(where, key=lambda path: position(seed, path)) if path[0] == "a"]
        assert ranked == ["test"] * 9 + ["train"] * 42 + ["validation"] * 9


def test_a_large_group_does_not_take_its_class_to_one_side() -> None:
    groups = {f"b/{n}.jpg": "burst" for n in range(24)}
    for seed in range(20):
        where, _ = places({"a": 60, "b": 60}, groups, seed=seed)
        assert shares(where, "b")["test"] == shares(where, "b")["validation"] == 9
        assert len({where[path] for path in groups}) == 1


def test_a_large_class_with_a_large_group_has_its_share() -> None:
    size = int(LARGE_GROUP * 600) + 1
    seed = next(n for n in range(200) if position(n, "burst") < 0.15)
    where, _ = places({"a": 600, "b": 600}, {f"b/{n}.jpg": "burst" for n in range(size)}, seed=seed)
    assert shares(where, "b")["test"] == shares(where, "b")["validation"] == 90
    assert {path: split for path, split in where.items() if path[0] == "a"} == {
        path: by_position(position(seed, path)) for path in where if path[0] == "a"
    }


def test_a_group_of_two_classes_stays_where_its_position_is() -> None:
    groups = {f"{label}/{n}.jpg": f"both{n}" for n in range(20) for label in ("a", "b")}
    for seed in range(5):
        where, _ = places({"a": 60, "b": 60}, groups, seed=seed)
        assert {path: where[path] for path in groups} == {
            path: by_position(position(seed, group)) for path, group in groups.items()
        }


def test_each_split_of_a_class_of_three_has_one_image() -> None:
    for seed in range(20):
        where, _ = places({"a": 3, "b": 500}, seed=seed)
        assert shares(where, "a") == {"test": 1, "validation": 1, "train": 1}


def test_each_split_of_a_class_of_three_large_groups_has_one() -> None:
    groups = {f"a/{n}.jpg": f"film{n // 10}" for n in range(30)}
    for seed in range(20):
        where, _ = places({"a": 30, "b": 60}, groups, seed=seed)
        assert shares(where, "a") == {"test": 10, "validation": 10, "train": 10}


def test_a_class_of_one_group_is_in_one_split() -> None:
    where, _ = places({"a": 30, "b": 60}, {f"a/{n}.jpg": "film" for n in range(30)})
    assert len(shares(where, "a")) == 1 and set(shares(where, "b")) == {"test", "validation", "train"}


def test_a_share_of_zero_is_an_empty_split() -> None:
    for options, left in (({"test_split": 0.0}, "validation"), ({"validation_split": 0.0}, "test")):
        where, _ = places({"a": 60, "b": 400}, **options)
        assert set(where.values()) == {"train", left}


# ---------------------------------------------------------------------------------------------- per_class
def test_test_per_class_is_exact_with_groups() -> None:
    groups = {f"a/{number}.jpg": f"burst{number // 4}" for number in range(120)}
    where, problems = places({"a": 200, "b": 200}, groups, per_class=15)
    assert problems == []
    assert shares(where, "a")["test"] == shares(where, "b")["test"] == 15
    assert all(len({where[path] for path in groups if groups[path] == group}) == 1 for group in groups.values())


def test_what_an_exact_test_leaves_is_in_both_other_splits() -> None:
    for seed in range(20):
        where, problems = places({"a": 17, "b": 100}, per_class=15, seed=seed)
        assert problems == [] and shares(where, "a") == {"test": 15, "validation": 1, "train": 1}


def test_a_group_of_two_classes_is_never_in_a_test_of_exact_size() -> None:
    groups = {f"{label}/{n}.jpg": f"both{n}" for n in range(20) for label in ("a", "b")}
    where, problems = places({"a": 60, "b": 60}, groups, per_class=10)
    assert problems == [] and "test" not in {where[path] for path in groups}
    assert shares(where, "a")["test"] == shares(where, "b")["test"] == 10


def test_a_class_that_is_too_small_for_the_test_is_a_problem() -> None:
    _, problems = places({"a": 100, "b": 15, "c": 9}, per_class=15)
    assert problems == [f"class {label!r} has too few different images for 15 in test" for label in ("b", "c")]
    # 30 images that may only move together do not fill 15 places
    _, problems = places({"a": 100, "b": 30}, {f"b/{n}.jpg": "film" for n in range(30)}, per_class=15)
    assert problems == ["class 'b' has too few different images for 15 in test"]
