"""Groups of images that stay in one split, and chains that are cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from data.made_up_catalogs import catalog, folder, image

from housetrain.data.catalog import Catalog
from housetrain.data.split_groups import PARTS, cut_chains, duplicate_groups, in_sequence


@pytest.fixture
def chained(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a folder whose first images of a class are one chain of near-duplicates."""

    def make(counts: dict[str, int], label: str, length: int) -> Catalog:
        made = folder(counts)
        chain = tuple(one for one in made.images if one.label == label and int(one.path[len(label) + 1 : -4]) < length)
        monkeypatch.setattr(Catalog, "near_duplicates", property(lambda _: (chain,)))
        return made

    return make


def test_near_duplicates_are_one_group_unless_only_copies_count(chained: Any) -> None:
    made = chained({"a": 40, "b": 40}, "a", 10)
    near, exact, none = (duplicate_groups(made, keep) for keep in ("near", "exact", "none"))
    assert len({near[f"a/{n}.jpg"] for n in range(10)}) == 1
    assert len(set(exact.values())) == len(set(none.values())) == 80
    assert exact == none


def test_copies_are_one_group_unless_none_count() -> None:
    made = catalog(*(image(f"a/{n}.jpg", "a", content="same") for n in range(3)), image("b/1.jpg", "b"))
    made.__dict__["near_duplicates"] = ()
    assert len(set(duplicate_groups(made).values())) == len(set(duplicate_groups(made, "exact").values())) == 2
    assert len(set(duplicate_groups(made, "none").values())) == 4


def test_a_chain_of_most_of_a_class_is_cut_in_the_order_of_numbers(chained: Any) -> None:
    made = chained({"a": 60, "b": 60}, "a", 57)
    (cut,) = cut_chains(made)
    assert (cut.label, cut.images, cut.of) == ("a", 57, 60)
    groups = duplicate_groups(made)
    parts = [groups[one.path] for one in in_sequence([one for one in made.images if one.label == "a"])][:57]
    assert len(dict.fromkeys(parts)) == PARTS
    assert sum(one != other for one, other in itertools.pairwise(parts)) == PARTS - 1  # each is contiguous


def test_a_chain_of_less_than_half_a_class_stays_whole(chained: Any) -> None:
    assert cut_chains(chained({"a": 60, "b": 60}, "a", 30)) == []
