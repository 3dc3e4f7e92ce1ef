from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data.made_up_catalogs import catalog, image

from housetrain.data.catalog import Catalog, scan
from housetrain.data.checks import check
from housetrain.data.group_proposals import BEFORE_NUMBER, FIRST_WORD, KIND, likeness, proposals, rule_of_names
from housetrain.data.groups import groups_of
from housetrain.data.image_record import Hashes

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"


def folder(names: Iterable[tuple[str, int]], *, seed: int = 0, spread: float = 12.0) -> Catalog:
    """Images of subjects: (path, subject); those of a subject are alike."""
    random = np.random.default_rng(seed)
    looks: dict[int, np.ndarray] = {}
    images = []
    for path, subject in names:
        look = looks.setdefault(subject, random.uniform(30, 220, 16))
        tiny = (look + random.normal(0, spread, 16)).clip(0, 255).astype(np.uint8)
        fine = random.integers(0, 256, 32, np.uint8)
        images.append(
            replace(image(path, path.split("/")[0]), hashes=Hashes("", fine.tobytes().hex(), tiny.tobytes().hex()))
        )
    return catalog(*images)


SUBJECTS = [(c, subject, n) for c in ("oak", "elm") for subject in range(12) for n in range(5)]


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("{c}/{c}{s:02}_{n}.jpg", FIRST_WORD),
        ("{c}/patient{s}_left_{n:03}.png", FIRST_WORD),
        ("{c}/{c} tree{s} ({n}).jpg", BEFORE_NUMBER),
        ("{c}/plate{s}/{n}.tif", "parent"),
    ],
)
def test_groups_are_proposed_as_they_are_typed(pattern: str, rule: str) -> None:
    own = {"oak": 0, "elm": 100}
    one = folder((pattern.format(c=c, s=s, n=n), own[c] + s) for c, s, n in SUBJECTS)
    (found,) = (finding for finding in check(one) if finding.kind == KIND)
    (proposal,) = proposals(one)
    assert proposal.groups.rule == rule and found.do.endswith(proposal.option)
    assert len(set(groups_of(one, rule).of.values())) in (12, 24)  # type: ignore[union-attr]
    assert found.severity == "note" and found.paths and not found.leaves_out


@pytest.mark.parametrize(
    "pattern",
    [
        "{c}/{k}.jpg",  # the cats-vs-dogs download
        "{c}/{c}.{k}.jpg",
        "{c}/{k:05}.png",  # MNIST as files
        "{c}/IMG_{k:04}.JPG",
        "{c}/{c} ({k}).jpg",
        "{c}/image_{k:05}.jpg",
        "{c}/{k}_n02085620.jpg",
        "{c}/{h}-{k}.png",
        "{c}/100080576_{k}_n.jpg",
    ],
)
def test_plain_folders_get_no_proposal(pattern: str) -> None:
    names = [
        (pattern.format(c=c, k=k, h=f"{k * 7919 % 65536:04x}"), k // 5 + (0 if c == "oak" else 1000))
        for c in ("oak", "elm") for k in range(60)
    ]  # fmt: skip
    assert proposals(folder(names)) == []


@pytest.mark.slow  # 30 s
def test_names_that_say_nothing_about_the_images_are_proposed_at_most_at_the_level() -> None:
    found = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        subjects = random.permutation(np.repeat(np.arange(24), 5))
        names = [(f"{c}/{c}{s:02}_{n}.jpg", int(look)) for (c, s, n), look in zip(SUBJECTS, subjects, strict=True)]
        found += bool(proposals(folder(names, seed=seed)))
    assert found <= 5  # 1.5 are expected at 1 %; 6 or more have a probability of 0.004


def test_the_likeness_of_groups_is_compared_with_chance() -> None:
    one = folder((f"{c}/{c}{s:02}_{n}.jpg", (c == "oak") * 100 + s) for c, s, n in SUBJECTS)
    nearest, by_chance, p_value = likeness(one.usable, groups_of(one, FIRST_WORD).of)  # type: ignore[union-attr]
    assert nearest > 0.9 and by_chance == pytest.approx(4 / 59, abs=0.01) and p_value <= 0.001


def test_what_names_alone_suggest() -> None:
    assert rule_of_names({f"{c}/{c}{s:02}_{n}.jpg": c for c, s, n in SUBJECTS}) == FIRST_WORD
    assert rule_of_names({f"{c}/{c}.{k}.jpg": c for c in ("cat", "dog") for k in range(100)}) == ""
    assert rule_of_names({f"{c}/{k}.jpg": c for c in ("Cat", "Dog") for k in range(100)}) == ""
    assert rule_of_names({}) == ""


@pytest.mark.skipif(not PHOTOS.exists(), reason="needs ../shared/data/photos")
def test_photos_of_cats_and_dogs_have_no_groups() -> None:
    assert proposals(scan(PHOTOS)) == []
