"""What `predict` does with predictions: counts, class folders, votes, maps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from noise_folders import image
from small_run import Tiny
from trained_models import Trained

Call = Callable[..., tuple[int, str, str]]


def test_predict_sorts_images_and_counts_classes(digits: Trained, call: Call, tmp_path: Path) -> None:
    for number in range(6):
        image(tmp_path / "in" / f"site{number % 2}" / f"{number}.png", number)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "in").rglob("*.png"))
    words = ("predict", digits.run.folder, tmp_path / "in", "--sort-into", tmp_path / "out")
    code, out, err = call(*words, "--copy")
    assert code == 0, err
    assert "6 copied" in out
    assert "of them unsure" in err
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 6
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "in").rglob("*.png")) == before
    code, out, _ = call(*words, "--csv", tmp_path / "out.csv", "--vote-by", "parent")
    assert code == 0
    assert "of them unsure" in out
    code, _, err = call("predict", digits.run.folder, tmp_path / "in", "--sort-into", tmp_path / "in" / "x")
    assert code == 2
    assert "never changed" in err
    one = tmp_path / "in" / "site0" / "0.png"
    code, _, err = call("predict", digits.run.folder, one, "--sort-into", one.parent)
    assert code == 2 and "never changed" in err and sorted(one.parent.iterdir()) == sorted(one.parent.glob("*.png"))
    code, _, err = call("predict", digits.run.folder, tmp_path / "in", "--copy")
    assert code == 2
    assert "--sort-into" in err


def test_a_map_renames_what_is_predicted(digits: Trained, call: Call, tmp_path: Path) -> None:
    image(tmp_path / "one.png", 1)
    classes = digits.run.classes
    (tmp_path / "map.csv").write_text("from,to\n" + "".join(f"{name},number {name}\n" for name in classes))
    code, out, _ = call("predict", digits.run.folder, tmp_path / "one.png", "--map", tmp_path / "map.csv")
    assert code == 0
    assert "\tnumber " in out
    (tmp_path / "map.csv").write_text("from,to\n" + "".join(f"{name},all\n" for name in classes))
    code, _, err = call("predict", digits.run.folder, tmp_path / "one.png", "--map", tmp_path / "map.csv")
    assert code == 2
    assert "fewer than two classes" in err


def test_sets_and_thresholds_of_a_class(digits: Trained, call: Call, tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "in" / f"{number}.png", number)
    first = json.loads(call("predict", digits.run.folder, tmp_path / "in/0.png", "--json")[1])["label"]
    words = ("predict", digits.run.folder, tmp_path / "in", "--set", "0.95", "--accept", f"{first}=1")
    code, out, err = call(*words)
    assert code == 0 and "{" in out and "(unsure)" in out, err
    assert "for a person to check" in err
    code, out, _ = call(*words, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert all(one["label"] == one["prediction_set"][0] for one in found)
    assert all(one["unsure"] for one in found if one["label"] == first)
    assert call(*words, "--csv", tmp_path / "out.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert [row["prediction_set"].split("|") for row in rows] == [one["prediction_set"] for one in found]
    code, _, err = call(*words, "--vote-by", "parent")
    assert code == 2 and "--vote-by" in err
    code, _, err = call("predict", digits.run.folder, tmp_path / "in", "--accept", "much")
    assert code == 2 and "CLASS=PROBABILITY" in err


def test_a_model_of_which_every_prediction_is_unsure_says_why(
    tiny: Tiny, digits: Trained, call: Call, tmp_path: Path
) -> None:
    image(tmp_path / "one.png", 1)
    code, out, err = call("predict", tiny.run, tmp_path / "one.png")
    assert code == 0 and "(unsure)" in out and "validation images cannot promise an error rate" in err
    for words in (("--json",), ("--quiet",)):
        assert "cannot promise" not in call("predict", tiny.run, tmp_path / "one.png", *words)[2]
    assert "cannot promise" not in call("predict", digits.run.folder, tmp_path / "one.png")[2]
