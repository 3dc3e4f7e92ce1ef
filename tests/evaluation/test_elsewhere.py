"""What is said of images from elsewhere, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from housetrain.evaluation.elsewhere import Elsewhere, Novel, Shift, WithoutCopies

DARK = Shift("brightness", "0 to 255", (60.0, 118.0, 180.0), (10.0, 41.0, 90.0), 0.82, 1e-30)
WHOLE = Elsewhere(
    "on-new",
    "/data/new",
    unknown={"lynx": 3, "bear": 9},
    absent=("dog",),
    left_out={"unreadable": 2},
    exact_copies=("a/1.jpg",),
    near_copies=("a/2.jpg", "b/3.jpg"),
    without_copies=WithoutCopies(40, 30, (0.6, 0.86)),
    shift=(DARK,),
    class_map={"Katze": "cat"},
    novel=Novel(40, 36, (0.77, 0.96)),
)


def test_json_gives_the_same_value_back() -> None:
    for value in (WHOLE, Elsewhere("on-x", "/x"), replace(WHOLE, near_copies=None, without_copies=None)):
        assert Elsewhere.from_json(json.loads(json.dumps(value.to_json()))) == value
    assert WHOLE.to_json()["without_copies"]["accuracy"] == 0.75
    assert WHOLE.to_json()["shift"][0]["shifted"] is True
    assert WHOLE.to_json()["novel"]["share"] == 0.9
    early = {name: one for name, one in WHOLE.to_json().items() if name != "novel"}
    assert Elsewhere.from_json(early) == replace(WHOLE, novel=None), "written before there was the share"


def test_remarks_name_classes_copies_and_shifts() -> None:
    said = "\n".join(WHOLE.remarks())
    assert "12 images of 2 classes that the model does not know are not tested: “bear” and “lynx”" in said
    assert "no image of 1 class of the model: “dog”" in said
    assert "2 unreadable" in said
    assert "1 exact and 2 near copies" in said
    assert "Without copies: 75.0 % of 40 images, 95 % interval 60.0–86.0 %" in said
    assert "brightness is lower (median 41, trained on 118)" in said
    assert "90.0 % of the images (95 % interval 77.0–96.0 %) are unlike anything that the model was trained on" in said
    assert "about 5 % are" in said


def test_images_that_were_not_compared_are_said() -> None:
    said = "\n".join(Elsewhere("on-x", "/x").remarks())
    assert "near copies of them were not searched" in said
    assert "differ" not in said and "unlike" not in said


def test_a_distance_by_chance_is_no_shift() -> None:
    assert DARK.shifted
    assert not replace(DARK, distance=0.29).shifted
    assert not replace(DARK, p_value=0.01).shifted
