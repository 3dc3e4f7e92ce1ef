from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from data.made_up_catalogs import catalog, folder, image
from hypothesis import given, settings
from hypothesis import strategies as st

from housetrain.data.assign import position
from housetrain.data.catalog import Catalog
from housetrain.data.findings import Finding
from housetrain.data.image_record import ImageRecord
from housetrain.data.split import split
from housetrain.data.split_manifest import SPLITS, LeftOut, SplitManifest
from housetrain.errors import FolderError, RecipeError


@pytest.fixture(autouse=True)
def groups(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Near-duplicates as the test says: path -> group."""
    given_groups: dict[str, str] = {}

    def near(one: Catalog) -> tuple[tuple[ImageRecord, ...], ...]:
        members: defaultdict[str, list[ImageRecord]] = defaultdict(list)
        for record in one.usable:
            if record.path in given_groups:
                members[given_groups[record.path]].append(record)
        return tuple(map(tuple, members.values()))

    monkeypatch.setattr(Catalog, "near_duplicates", property(near))
    return given_groups


def places(one: SplitManifest) -> dict[str, str]:
    return {row.path: row.split for row in one.rows}


def test_shares_are_those_asked_for_in_every_class() -> None:
    counts = split(folder({"Cat": 4000, "Dog": 4000}), findings=()).counts()
    for label in ("Cat", "Dog"):
        assert counts["test"][label] / 4000 == pytest.approx(0.15, abs=0.02)
        assert counts["validation"][label] / 4000 == pytest.approx(0.15, abs=0.02)
        assert sum(counts[name][label] for name in SPLITS) == 4000


def test_adding_and_removing_images_does_not_move_the_others() -> None:
    few = folder({"Cat": 600, "Dog": 500})
    many = folder({"Cat": 800, "Dog": 700, "Emu": 50})
    before, after = places(split(few, findings=())), places(split(many, findings=()))
    assert {path: after[path] for path in before} == before
    # and a renamed file stays where it was
    renamed = catalog(*(image(f"{p.label}/new-{p.path[4:]}", p.label, content=p.path) for p in few.images))
    moved = places(split(renamed, findings=()))
    assert {f"{path[:4]}new-{path[4:]}": name for path, name in before.items()} == moved


def test_the_classes_are_numbered_in_the_order_that_is_given() -> None:
    images = folder({"Cat": 20, "Dog": 20})
    ours, default = split(images, findings=(), classes=["Dog", "Cat"]), split(images, findings=())
    assert (ours.classes, default.classes) == (("Dog", "Cat"), ("Cat", "Dog"))
    assert places(ours) == places(default) and ours.fingerprint != default.fingerprint
    assert SplitManifest.from_bytes(ours.to_bytes()) == ours
    for wrong in (["Dog"], ["Dog", "Cat", "Emu"], ["Dog", "Cat", "Cat"]):
        with pytest.raises(RecipeError, match=r"Expected: Cat, Dog.*--map"):
            split(images, findings=(), classes=wrong)


def test_without_a_test_split_every_image_is_in_train_or_validation() -> None:
    images = folder({"a": 100, "b": 2})
    counts = split(images, findings=(), test_split=0).counts()
    assert counts["test"] == {"a": 0, "b": 0} and counts["validation"] == {"a": 15, "b": 1}
    assert sum(counts["train"].values()) == 102 - 16
    with pytest.raises(FolderError, match="too few for train, validation and test"):
        split(images, findings=())
    with pytest.raises(RecipeError, match="either test_per_class or a test_split of 0"):
        split(images, findings=(), test_split=0, test_per_class=5)


def test_another_share_of_test_does_not_move_validation() -> None:
    small, large = (places(split(folder({"a": 500, "b": 500}), findings=(), test_split=share)) for share in (0.1, 0.3))
    for name in ("validation",):
        assert {p for p, where in small.items() if where == name} == {p for p, where in large.items() if where == name}
    assert {p for p, where in small.items() if where == "test"} < {p for p, where in large.items() if where == "test"}


def test_the_seed_is_another_division_and_the_same_seed_the_same() -> None:
    images = folder({"a": 300, "b": 300})
    assert split(images, findings=()) == split(images, findings=())
    assert places(split(images, findings=())) != places(split(images, findings=(), seed=1))


def test_near_duplicates_never_straddle(groups: dict[str, str]) -> None:
    images = folder({"a": 300, "b": 300})
    for number in range(0, 300, 3):  # bursts of three, and every tenth also has one of the other class
        for one in range(3):
            groups[f"a/{number + one}.jpg"] = f"burst{number}"
        if number % 30 == 0:
            groups[f"b/{number}.jpg"] = f"burst{number}"
    for options in ({}, {"test_per_class": 15}, {"balance": "trim"}, {"seed": 5}):
        where = defaultdict(set)
        for row in split(images, findings=(), **options).rows:
            where[row.group].add(row.split)
        assert all(len(names) == 1 for names in where.values())
        assert {name for names in where.values() for name in names} == set(SPLITS)


@pytest.mark.parametrize("counts", [{"a": 40, "b": 40}, {"a": 100, "b": 30}, {"a": 300, "b": 300}])
def test_small_classes_get_their_share_to_within_one_image(counts: dict[str, int]) -> None:
    for seed in range(20):
        found = split(folder(counts), findings=(), seed=seed).counts()
        for label, count in counts.items():
            assert abs(found["test"][label] - 0.15 * count) < 1
            assert abs(found["validation"][label] - 0.15 * count) < 1


def test_near_duplicates_are_divided_where_that_is_asked_for(groups: dict[str, str]) -> None:
    images = folder({"a": 60, "b": 60})
    groups |= {f"a/{number}.jpg": "scene" for number in range(25)}
    together, apart = split(images, findings=()), split(images, findings=(), keep_duplicates_together="exact")
    scene = {path for path in groups if path.startswith("a/")}
    assert len({row.split for row in together.rows if row.path in scene}) == 1
    assert len({row.split for row in apart.rows if row.path in scene}) == 3
    assert "keep_duplicates_together" not in together.options
    assert apart.options["keep_duplicates_together"] == "exact"
    assert apart.fingerprint != together.fingerprint


def test_copies_are_images_of_their_own_where_that_is_asked_for() -> None:
    copies = [image(f"a/{number}.jpg", "a", content="same") for number in range(20)]
    images = catalog(*copies, *folder({"b": 20}).images)
    assert split(catalog(*folder({"a": 20, "b": 20}).images), keep_duplicates_together="none").left_out == ()
    found = split(images, keep_duplicates_together="none")
    assert found.counts()["train"]["a"] == 14
    assert len({row.group for row in found.rows}) == 40
    with pytest.raises(FolderError, match="'a' has"):
        split(images, keep_duplicates_together="exact")


def test_test_per_class_is_exactly_the_lowest(groups: dict[str, str]) -> None:
    images = folder({"Cat": 400, "Dog": 90})
    one = split(images, findings=(), test_per_class=15)
    assert one.counts()["test"] == {"Cat": 15, "Dog": 15}
    for label in ("Cat", "Dog"):
        ranked = sorted((position(0, p.sha256), p.path) for p in images.images if p.label == label)
        assert {row.path for row in one.of("test") if row.label == label} == {path for _, path in ranked[:15]}
    counts = one.counts()
    assert counts["validation"]["Cat"] / 385 == pytest.approx(0.15, abs=0.05)


def test_test_per_class_needs_images_for_the_rest() -> None:
    with pytest.raises(FolderError, match="'b' has too few different images for 15 in test"):
        split(folder({"a": 100, "b": 15}), findings=(), test_per_class=15)
    for count in (17, 18, 20):
        counts = split(folder({"a": 100, "b": count}), findings=(), test_per_class=15).counts()
        assert counts["test"]["b"] == 15 and counts["validation"]["b"] >= 1 and counts["train"]["b"] >= 1


@given(counts=st.lists(st.integers(3, 12), min_size=2, max_size=5), seed=st.integers(-5, 10**12))
@settings(max_examples=60, deadline=None)
def test_every_class_gets_each_split(counts: list[int], seed: int) -> None:
    one = split(folder({f"c{n}": count for n, count in enumerate(counts)}), findings=(), seed=seed)
    assert all(one.counts()[name][label] >= 1 for name in SPLITS for label in one.classes)
    assert len({row.path for row in one.rows}) == sum(counts)


def test_what_a_finding_leaves_out_is_in_no_split_and_listed() -> None:
    images = catalog(
        *folder({"a": 30, "b": 30}).images, image("a/bad.jpg", "a", reason="truncated"), image("b/z.jpg", "b")
    )
    finding = Finding("two-labels", "warning", ("a/3.jpg", "b/4.jpg"), "the same image", "look", ("a/3.jpg", "b/4.jpg"))
    one = split(images, findings=[finding])
    assert one.left_out == (
        LeftOut("a/3.jpg", "a", "two-labels: the same image"),
        LeftOut("a/bad.jpg", "a", "unreadable: truncated"),
        LeftOut("b/4.jpg", "b", "two-labels: the same image"),
    )
    assert not {"a/3.jpg", "a/bad.jpg", "b/4.jpg"} & set(places(one))
    assert len(one.rows) == 59


def test_trim_evens_out_train_and_validation_but_never_test() -> None:
    images = folder({"a": 600, "b": 200})
    plain, trimmed = split(images, findings=()), split(images, findings=(), balance="trim")
    counts = trimmed.counts()
    for name in ("train", "validation"):
        assert len(set(counts[name].values())) == 1
        assert counts[name]["b"] == min(plain.counts()[name].values())
    assert trimmed.of("test") == plain.of("test")
    assert set(places(trimmed).items()) < set(places(plain).items())
    gone = {row.path for row in plain.rows} - {row.path for row in trimmed.rows}
    assert {one.path for one in trimmed.left_out} == gone
    assert all(one.reason.startswith("trimmed") for one in trimmed.left_out)


# ---------------------------------------------------------------------------------------------- ready-made


def ready_made(**counts: int) -> Catalog:
    return catalog(
        *(
            image(f"{name}/{label}/{n}.jpg", label, ready=name)
            for name, count in counts.items()
            for label in ("a", "b")
            for n in range(count)
        )
    )


def test_ready_made_folders_are_kept() -> None:
    one = split(ready_made(train=50, validation=20, test=10), findings=())
    assert all(row.path.startswith(row.split) for row in one.rows)
    assert one.options["ready_made"] is True
    assert one.counts() == {"train": {"a": 50, "b": 50}, "validation": {"a": 20, "b": 20}, "test": {"a": 10, "b": 10}}


def test_missing_validation_is_carved_from_train_by_hash() -> None:
    one = split(ready_made(train=500, test=100), findings=())
    assert {row.split for row in one.rows if row.path.startswith("test/")} == {"test"}
    carved = [row for row in one.rows if row.path.startswith("train/") and row.split == "validation"]
    assert len(carved) / 1000 == pytest.approx(0.15, abs=0.04)
    assert all(position(0, row.group) >= 0.85 for row in carved)
    assert not [row for row in one.rows if row.path.startswith("train/") and row.split == "test"]


def test_missing_test_is_carved_from_train() -> None:
    for options in ({}, {"test_per_class": 15}):
        counts = split(ready_made(train=400, validation=40), findings=(), **options).counts()
        assert counts["validation"] == {"a": 40, "b": 40}
        assert counts["test"] == {"a": 15, "b": 15} if options else 80 < sum(counts["test"].values()) < 160


def test_classes_that_ready_made_validation_lacks_are_drawn_from_train() -> None:
    images = [one for one in ready_made(train=40, validation=10, test=5).images if one.path[:12] != "validation/b"]
    one = split(catalog(*images), findings=())
    assert one.counts() == {"train": {"a": 40, "b": 34}, "validation": {"a": 10, "b": 6}, "test": {"a": 5, "b": 5}}
    assert all(row.path.startswith("train/b") for row in one.of("validation") if row.label == "b")
    without_test = split(catalog(*(one for one in images if one.split != "test")), findings=())
    assert without_test.counts()["validation"]["b"] > 0
    assert without_test.counts()["test"]["b"] > 0


def test_of_many_problems_the_first_are_named() -> None:
    with pytest.raises(FolderError, match="and 90 more") as caught:
        split(folder({f"c{number}": 1 for number in range(100)}), findings=())
    assert len(str(caught.value)) < 2_000


def test_a_image_in_two_ready_made_splits_is_left_out_of_train() -> None:
    images = list(ready_made(train=40, test=20).images)
    images.append(image("train/a/copy.jpg", "a", content="test/a/5.jpg", ready="train"))
    one = split(catalog(*images))
    assert places(one)["test/a/5.jpg"] == "test"
    assert "train/a/copy.jpg" in {left.path for left in one.left_out}


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("counts", "empty", "words"),
    [
        ({"a": 100}, (), "one class, 'a'"),
        ({"a": 100, "b": 1}, (), "class 'b' has only 1 usable,"),
        ({"a": 100, "b": 2}, (), "class 'b' has only 2 usable,"),
        ({"a": 100, "b": 100}, ("c",), "class 'c' has no usable image"),
        ({}, (), "no class"),
        ({"a": 1, "b": 2, "c": 50}, ("d",), "'d' has no.*'a' has only 1 usable,.*'b' has only 2 usable,"),
    ],
)
def test_unusable_folders_are_one_clear_line(counts: dict[str, int], empty: tuple[str, ...], words: str) -> None:
    with pytest.raises(FolderError, match=words) as caught:
        split(folder(counts, empty=empty), findings=())
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_class_of_unreadable_images_is_refused() -> None:
    images = folder({"a": 30}).images
    with pytest.raises(FolderError, match="class 'b' has no usable image"):
        split(catalog(*images, image("b/1.jpg", "b", reason="empty file")), findings=())


def test_a_class_of_one_film_is_cut_in_the_order_of_its_frames(groups: dict[str, str]) -> None:
    groups.update({f"b/{n}.jpg": "film" for n in range(60)})
    images = folder({"a": 60, "b": 60})
    for seed in range(8):
        manifest = split(images, findings=(), seed=seed)
        counts = {name: per_class["b"] for name, per_class in manifest.counts().items()}
        assert counts["test"] in (6, 12), counts
        assert counts["validation"] in (6, 12), counts
        where = {int(row.path[2:-4]): row.split for row in manifest.rows if row.label == "b"}
        changes = sum(where[n] != where[n + 1] for n in range(59))
        assert changes <= 9, "frames beside each other are spread over the splits"


@pytest.mark.parametrize(
    "options",
    [
        {"validation_split": 0.0},
        {"test_split": 1.0},
        {"test_split": 0.6, "validation_split": 0.5},
        {"test_per_class": 0},
        {"balance": "x"},
    ],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="Invalid split options"):
        split(folder({"a": 30, "b": 30}), findings=(), **options)
