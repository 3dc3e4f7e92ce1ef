from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from data.made_up_catalogs import catalog, image
from hypothesis import given, settings
from hypothesis import strategies as st

from housetrain.data.catalog import Catalog
from housetrain.data.groups import groups_of
from housetrain.data.image_record import ImageRecord
from housetrain.data.split import split
from housetrain.data.split_manifest import SPLITS, SplitManifest
from housetrain.errors import FolderError, HousetrainError, RecipeError


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Near-duplicates as the test says: groups of paths."""
    alike: list[tuple[str, ...]] = []

    def groups(one: Catalog) -> tuple[tuple[ImageRecord, ...], ...]:
        known = {record.path: record for record in one.usable}
        return tuple(tuple(known[path] for path in group if path in known) for group in alike)

    monkeypatch.setattr(Catalog, "near_duplicates", property(groups))
    return alike


def plants(groups: int = 12, images: int = 6, classes: tuple[str, ...] = ("oak", "elm")) -> Catalog:
    """Images named after the plant that they show: ``oak/oak07_3.jpg``."""
    return catalog(*(image(f"{c}/{c}{g:02}_{n}.jpg", c) for c in classes for g in range(groups) for n in range(images)))


def sides(one: SplitManifest, key: Any) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in one.rows:
        found[key(row.path)].add(row.split)
    return found


def plant(path: str) -> str:
    return path.split("_")[0]


RULES: dict[str, Any] = {
    "expression": r"([a-z]+\d+)_",
    "function": plant,
    "mapping": {one.path: plant(one.path) for one in plants().images},
    "list": [plant(one.path) for one in plants().images],
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_group_straddles(rule: Any) -> None:
    for seed in range(10):
        one = split(plants(), findings=(), groups=rule, seed=seed)
        found = sides(one, plant)
        assert len(found) == 24 and all(len(names) == 1 for names in found.values())
        assert all(one.counts()[name][label] for name in SPLITS for label in one.classes)
        assert one.counts()["test"]["oak"] == one.counts()["validation"]["elm"] == 12  # 15 % of 72 is 10.8
    straddling = sides(split(plants(), findings=()), plant)
    assert any(len(names) > 1 for names in straddling.values())


def test_the_rule_is_kept_and_is_part_of_which_split_it_is() -> None:
    plain, grouped = split(plants(), findings=()), split(plants(), findings=(), groups=r"\w+_")
    assert "group_by" not in plain.options and "groups" not in plain.options
    assert grouped.options["group_by"] == r"\w+_"
    assert plain.fingerprint != grouped.fingerprint
    assert SplitManifest.from_bytes(grouped.to_bytes()) == grouped
    assert split(plants(), findings=(), groups="near-duplicates") == plain
    assert split(plants(), findings=(), groups=plant).options["group_by"] == "function"


def test_a_new_image_of_a_known_group_joins_its_side_and_no_other_moves() -> None:
    for seed in range(5):
        before = split(plants(40), findings=(), groups="(.*)_", seed=seed)
        more = catalog(*plants(40).images, image("oak/oak03_99.jpg", "oak"), image("elm/elm99_0.jpg", "elm"))
        after = split(more, findings=(), groups="(.*)_", seed=seed, earlier=before)
        places = {row.path: row.split for row in after.rows}
        assert all(places[row.path] == row.split for row in before.rows)
        assert places["oak/oak03_99.jpg"] == places["oak/oak03_0.jpg"]


def test_adding_an_image_never_moves_an_old_one(near: list[tuple[str, ...]]) -> None:
    for number in range(4):
        near[:] = [("oak/oak00_0.jpg", f"oak/new{number}.jpg")]  # the copy may have the least hash of the two
        for seed in range(10):
            before = split(plants(8), findings=(), seed=seed)
            more = catalog(*plants(8).images, image(f"oak/new{number}.jpg", "oak"))
            after = {row.path: row.split for row in split(more, findings=(), seed=seed, earlier=before).rows}
            assert all(after[row.path] == row.split for row in before.rows)
            assert after[f"oak/new{number}.jpg"] == after["oak/oak00_0.jpg"]


def test_what_is_gone_does_not_hold_others_to_their_places() -> None:
    before = split(plants(1, 30), findings=())
    kept = {row.path for row in before.rows if row.split == "train"}
    rest = catalog(*(one for one in plants(1, 30).images if one.path in kept))
    assert all(split(rest, findings=(), earlier=before).counts()["test"].values())


def test_near_duplicates_and_groups_join(near: list[tuple[str, ...]]) -> None:
    near += [("oak/oak00_0.jpg", "oak/oak01_0.jpg"), ("elm/elm00_0.jpg", "elm/elm05_3.jpg")]
    for seed in range(20):
        found = sides(split(plants(), findings=(), groups="(.*)_", seed=seed), plant)
        assert found["oak/oak00"] == found["oak/oak01"] and len(found["oak/oak00"]) == 1
        assert found["elm/elm00"] == found["elm/elm05"]


def test_cameras_that_saw_every_class_are_balanced() -> None:
    images = [
        image(f"{c}/{c}_cam{camera:02}_{n}.jpg", c)
        for camera in range(12)
        for c, count in (("fox", 3 + camera % 4), ("hare", 9 - camera % 5), ("owl", camera % 3))
        for n in range(count)
    ]
    for seed in range(20):
        one = split(catalog(*images), findings=(), groups=r"cam\d+", seed=seed)
        assert all(len(names) == 1 for names in sides(one, lambda path: path.split("_")[1]).values())
        for label, total in (("fox", 54), ("hare", 86), ("owl", 12)):
            for name in ("test", "validation"):
                assert one.counts()[name][label] == pytest.approx(0.15 * total, abs=0.11 * total)


def test_as_many_test_images_of_a_class_as_groups_allow() -> None:
    one = split(plants(12, 6), findings=(), groups="(.*)_", test_per_class=14)
    assert one.counts()["test"] == {"oak": 12, "elm": 12}


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=9, max_size=40), seed=st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_any_groups_are_split_whole_or_refused(sizes: list[tuple[int, int]], seed: int) -> None:
    images = [image(f"c{c}/g{g}_{n}.jpg", f"c{c}") for g, (c, size) in enumerate(sizes) for n in range(size)]
    try:
        one = split(catalog(*images), findings=(), groups=r"g\d+", seed=seed)
    except FolderError:
        of_class = [{g for g, (c, _) in enumerate(sizes) if c == label} for label in range(3)]
        assert any(0 < len(own) < 3 for own in of_class) or sum(map(bool, of_class)) < 2
        return
    assert all(len(names) == 1 for names in sides(one, lambda path: path.split("_")[0]).values())
    assert all(one.counts()[name][label] for name in SPLITS for label in one.classes)


def nested(*folders: str, images: int = 5) -> Catalog:
    return catalog(*(image(f"{where}/{n}.jpg", where.split("/")[0]) for where in folders for n in range(images)))


def test_parent_is_the_folder_below_that_of_the_class() -> None:
    found = groups_of(nested("a/rex", "a/ace", "a/ace/indoors", "b/max", "b"), "parent")
    assert found is not None
    assert set(found.of.values()) == {"a/rex", "a/ace", "a/ace/indoors", "b/max"}
    assert "b/0.jpg" not in found.of
    assert found.describe(25) == "4 groups of 5 images by parent; 5 images are in none"
    with pytest.raises(RecipeError, match="lie directly in their class folders"):
        groups_of(nested("a", "b"), "parent")


def taken(path: str, when: str, camera: str = "Acme X1") -> ImageRecord:
    one = image(path, path.split("/")[0])
    return ImageRecord(
        **{name: getattr(one, name) for name in one.__slots__ if name != "header"},
        header=one.header._replace(taken=when, camera=camera),
    )


def test_a_burst_is_a_chain_of_images_of_one_camera() -> None:
    images = catalog(
        taken("a/1.jpg", "2026-05-01T09:00:00"), taken("a/2.jpg", "2026-05-01T09:00:08"),
        taken("a/3.jpg", "2026-05-01T09:00:16.500000"), taken("b/4.jpg", "2026-05-01T09:00:16", "Acme X2"),
        taken("b/5.jpg", "2026-05-01T09:01:00"), taken("b/6.jpg", ""),
    )  # fmt: skip
    found = groups_of(images, "exif-burst")
    assert found is not None and found.of["a/1.jpg"] == found.of["a/2.jpg"] == found.of["a/3.jpg"]
    assert len(set(found.of.values())) == 3 and "b/6.jpg" not in found.of
    assert len(set(groups_of(images, "exif-burst:5").of.values())) == 5  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match="EXIF data when it was taken"):
        groups_of(plants(), "exif-burst")


def test_groups_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "animals.csv"
    rows = [f"{one.path.rpartition('/')[2]},{one.label},id{one.path[8]}" for one in plants().images[:60]]
    table.write_text("file,species,animal\n" + "\n".join(rows))
    found = groups_of(plants(), f"{table}:animal")
    assert found is not None and len(found.of) == 60
    assert found.of["elm/elm03_1.jpg"] == "id3" and len(set(found.of.values())) == 10
    for rule, message in (
        (f"{table}:owner", "no column 'owner'"), (f"{tmp_path / 'none.csv'}:animal", "no such table"),
        (str(table), "no column ''"),
    ):  # fmt: skip
        with pytest.raises(FolderError, match=message):
            groups_of(plants(), rule)
    table.write_text(table.read_text() + f"\n{plants().images[0].path},elm,another")
    with pytest.raises(FolderError, match="in two groups"):
        groups_of(plants(), f"{table}:animal")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("(", "no regular expression"),
        (r"zebra\d+", "the rule matches no path"),
        ("exif-burst:soon", "no number of seconds"),
        (["a"], "another length"),
        ({}, "No image is in a group"),
        (lambda path: None, "No image is in a group"),
    ],
)
def test_a_rule_that_is_none_is_one_clear_line(rule: Any, message: str) -> None:
    with pytest.raises(HousetrainError, match=message) as caught:
        split(plants(), findings=(), groups=rule)
    assert "\n" not in str(caught.value) and "Received" in str(caught.value)


def test_too_few_groups_are_said_with_their_number() -> None:
    with pytest.raises(FolderError, match=r"class 'elm' has only 2 groups, .*class 'oak' has only 2 groups"):
        split(plants(2), findings=(), groups="(.*)_")
    with pytest.raises(FolderError, match=r"class 'elm' has only 1 group"):
        split(plants(), findings=(), groups="jpg")
