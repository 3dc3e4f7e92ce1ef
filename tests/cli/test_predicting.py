"""What `predict` does with predictions: counts, class folders, votes, maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noise_folders import image
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
