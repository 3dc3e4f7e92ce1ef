from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.made_up_catalogs import catalog, image

import housetrain as ht
from housetrain.data.catalog import Catalog, scan
from housetrain.data.checks import check
from housetrain.data.image_record import Brightness, FileStamp, Hashes, ImageRecord
from housetrain.data.shortcuts import LEVEL, may_tell_apart, shortcuts, told_apart
from housetrain.images.sniff import Header

PETS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"


def photo(path: str, random: np.random.Generator, **header: Any) -> ImageRecord:
    """A record whose measures are drawn without regard to its class."""
    width, height = (int(value) for value in random.integers(200, 600, 2))
    plain = Header("JPEG", width, height, "RGB", 1, 1, quantization=int(random.integers(200, 900)))
    return replace(
        image(path, path.split("/")[0]),
        stamp=FileStamp(int(width * height * random.uniform(0.1, 0.4))),
        header=plain._replace(**header),
        hashes=Hashes("0" * 16, "0" * 64, random.integers(0, 256, 16, np.uint8).tobytes().hex()),
        brightness=Brightness(128.0, 50.0, 50.0, float(random.normal(128, 40)), float(random.uniform(5, 60))),
    )


def folder(random: np.random.Generator, counts: dict[str, int], **headers: dict[str, Any]) -> Catalog:
    return catalog(
        *(
            photo(f"{label}/{n}.jpg", random, **headers.get(label, {}))
            for label, count in counts.items()
            for n in range(count)
        )
    )


def test_what_only_one_class_has_is_found_and_named() -> None:
    random = np.random.default_rng(0)
    found = shortcuts(folder(random, {"cat": 60, "dog": 60}, dog={"quantization": 95}))
    assert [one.name for one in found] == ["compression"] and found[0].accuracy > 0.95 and found[0].chance == 0.5
    found = shortcuts(folder(random, {"a": 60, "b": 60, "c": 60}, c={"camera": "Acme"}))
    assert {(one.name, one.label) for one in found} == {("camera", "c")}
    day, night = {"taken": "2026-05-01T12:00:00"}, {"taken": "2026-05-01T23:00:00"}
    found = shortcuts(folder(random, {"cat": 40, "dog": 40}, cat=day, dog=night))
    assert [one.name for one in found] == ["time of day"]


def test_the_finding_says_it_in_one_line() -> None:
    one = folder(np.random.default_rng(0), {"cat": 60, "dog": 60}, cat={"width": 640, "height": 480})
    (found,) = (finding for finding in check(one) if finding.kind == "shortcut")
    assert "the classes can be told apart by image size alone: 100.0 %" in found.message
    assert "(chance 50.0 %)" in found.message and found.severity == "warning"


@pytest.mark.parametrize("counts", [{"a": 25, "b": 25}, {"a": 40, "b": 20, "c": 30}])
def test_measures_that_have_nothing_to_do_with_the_class_are_found_at_most_at_the_level(counts: dict[str, int]) -> None:
    random = np.random.default_rng(5)
    found = sum(bool(shortcuts(folder(random, counts))) for _ in range(30))
    assert found <= 30 * LEVEL + 1  # 2 or more of 30 have a probability of 0.04 at 1 %


def test_the_p_value_keeps_its_rate() -> None:
    random = np.random.default_rng(2)
    for sizes in ((30, 30), (80, 20)):
        target = np.repeat(["a", "b"], sizes)
        p_values = [told_apart(random.normal(size=(sum(sizes), 2)), random.permutation(target))[1] for _ in range(200)]
        assert np.mean(np.array(p_values) <= 0.05) <= 0.096  # 0.05 and three standard errors


def test_small_images_show_their_content_in_a_thumbnail() -> None:
    random = np.random.default_rng(0)
    images = [
        replace(one, hashes=Hashes("", "", ("ff" if one.label == "cat" else "00") * 16))
        for one in folder(random, {"cat": 40, "dog": 40}).images
    ]
    assert [one.name for one in shortcuts(catalog(*images))] == ["a thumbnail of 4x4 gray pixels"]
    digits = [replace(one, header=one.header._replace(width=28, height=28), stamp=FileStamp(300)) for one in images]
    assert shortcuts(catalog(*digits)) == []


def test_handwritten_digits_have_no_shortcut(tmp_path: Path) -> None:
    """A 1 has few strokes, so its file is small: that is content."""
    assert shortcuts(scan(ht.sample("digits", tmp_path / "digits"))) == []


def test_what_a_tree_finds_is_not_screened_out() -> None:
    random = np.random.default_rng(3)
    for apart in (0.0, 1.0, 2.0, 3.0):
        for target in (np.repeat(["a", "b"], 100), np.repeat(["a", "b", "c"], (100, 60, 40))):
            rows = random.normal(size=(200, 2))
            rows[:, 1] += apart * np.unique(target, return_inverse=True)[1]
            order = random.permutation(200)
            accuracy, _ = told_apart(rows[order], target[order])
            assert accuracy < 0.8 or may_tell_apart(rows, target, enough=0.8)
            assert may_tell_apart(rows, target, enough=0.8) is (apart > 0)


def test_where_nothing_tells_classes_apart_scikit_learn_is_not_imported() -> None:
    code = """import sys, numpy as np
from housetrain.data.shortcuts import may_tell_apart
random = np.random.default_rng(0)
assert not may_tell_apart(random.normal(size=(300, 2)), np.repeat([0, 1], 150), enough=0.8)
assert "sklearn" not in sys.modules and "scipy" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not PETS.exists(), reason="needs ../shared/data/photos")
def test_photos_of_cats_and_dogs_have_no_shortcut() -> None:
    assert shortcuts(scan(PETS)) == []
