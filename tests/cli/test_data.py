"""check, show and prepare: what bad folders get, exit codes, JSON, and that the images are never changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from noise_folders import folder_of, image
from tree import snapshot

Call = Callable[..., tuple[int, str, str]]


def a_file(root: Path) -> Path:
    root.write_text("not a folder")
    return root


def images_without_classes(root: Path) -> Path:
    for number in range(3):
        image(root / f"{number}.png", number)
    return root


def only_text(root: Path) -> Path:
    (root / "cats").mkdir(parents=True)
    (root / "dogs").mkdir()
    (root / "cats" / "readme.jpg").write_text("<html>not an image</html>")
    return root


BAD_FOLDERS: dict[str, Callable[[Path], Path]] = {
    "missing": lambda root: root,
    "a file": a_file,
    "empty": lambda root: folder_of(root) if root.mkdir() else root,
    "no class folders": images_without_classes,
    "one class": lambda root: folder_of(root, cats=5),
    "one-image class": lambda root: folder_of(root, cats=8, dogs=1),
    "empty class": lambda root: folder_of(root, cats=8, dogs=0),
    "no images": only_text,
}


@pytest.mark.parametrize("verb", ["run", "prepare"])
@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_a_folder_that_cannot_be_used_gets_one_line_and_exit_2(
    kind: str, verb: str, call: Call, tmp_path: Path
) -> None:
    source = BAD_FOLDERS[kind](tmp_path / "images")
    code, out, err = call(verb, source)
    errors = [line for line in err.splitlines() if line.startswith("Error:")]
    assert code == 2, err
    assert len(errors) == 1 and "Received:" in errors[0] and "Traceback" not in err
    assert out == ""
    assert not list(Path.cwd().iterdir()), "something was written"


@pytest.mark.parametrize("words", [("run",), ("prepare",), ("check", "--csv"), ("show",)], ids=" ".join)
def test_an_output_inside_the_images_is_refused(words: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=6, dogs=6)
    before = snapshot(source)
    option = () if words[-1] == "--csv" else ("--output",)
    code, _, err = call(words[0], source, *words[1:], *option, source / "cats" / "out")
    assert code == 2
    assert "never changed" in err
    assert snapshot(source) == before


def test_check_exits_0_when_clean_and_1_with_findings(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=30, dogs=30)
    code, out, err = call("check", source)
    assert code == 0, out + err
    (source / "cats" / "broken.jpg").write_bytes(b"")
    code, out, _ = call("check", source, "--json")
    report = json.loads(out)
    assert code == 1
    assert [finding["kind"] for finding in report["findings"]] == ["unreadable"]
    assert report["findings"][0]["paths"] == ["cats/broken.jpg"]
    assert report["usable"] == {"cats": 30, "dogs": 30}


def test_check_writes_a_row_per_image(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=30, dogs=30)
    (source / "dogs" / "text.jpg").write_text("hello")
    assert call("check", source, "--csv", "findings.csv")[0] == 1
    assert "dogs/text.jpg" in Path("findings.csv").read_text()


def test_show_draws_a_sheet(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=6, dogs=6)
    code, out, _ = call("show", source, "--sizes", "20,40", "--per-class", "3")
    assert code == 0
    assert cv2.imread(out.strip()).shape[1] > 100


def test_prepare_says_what_it_did_and_does_it_once(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=20, dogs=20)
    before = snapshot(source)
    code, out, err = call("prepare", source, "--image-size", "24", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert (
        sum(made["counts"]["train"].values())
        + sum(made["counts"]["validation"].values())
        + sum(made["counts"]["test"].values())
        == 40
    )
    inode = (Path(made["prepared"]) / "prepared.json").stat().st_ino
    code, out, _ = call("prepare", source, "--image-size", "24", "--json")
    assert (Path(json.loads(out)["prepared"]) / "prepared.json").stat().st_ino == inode
    assert snapshot(source) == before


def test_check_says_what_a_rule_of_groups_comes_to(call: Call, tmp_path: Path) -> None:
    for number, (label, subject, n) in enumerate((c, s, n) for c in ("a", "b") for s in range(6) for n in range(5)):
        image(tmp_path / "images" / label / f"{label}{subject}_{n}.png", number)
    code, out, _ = call("check", tmp_path / "images", "--group-by", r"[ab]\d+(?=_)")
    assert code in (0, 1) and r"Groups: 12 groups of 5 images by [ab]\d+(?=_)" in out
    code, _, err = call("check", tmp_path / "images", "--group-by", "parent")
    assert code == 2 and "the images lie directly in their class folders" in err
    code, _, err = call("prepare", tmp_path / "images", "--group-by", r"([ab])\d", "--output", tmp_path / "out")
    assert code == 2 and "class 'a' has only 1 group" in err and not (tmp_path / "out").exists()
    code, _, err = call("prepare", tmp_path / "images", "--group-by", "labels.csv:animal")
    assert code == 2 and "no such table" in err


def test_images_that_are_left_out_are_named_or_counted_by_kind(call: Call, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "images", cats=12, dogs=12)
    for number in range(5):
        (root / "cats" / f"copy {number}.png").write_bytes(sorted((root / "cats").glob("[!c]*"))[number].read_bytes())
    (root / "dogs" / "page.jpg").write_text("<html></html>")
    code, _, err = call("prepare", root)
    lines = [line for line in err.splitlines() if line.startswith("Left out: ")]
    assert code == 0 and len(lines) == 2
    assert any("5 images (exact-duplicate): " in line and "and 2 more; --json lists all" in line for line in lines)
    assert "Left out: dogs/page.jpg (unreadable: not an image (HTML))" in lines
    (root / "dogs" / "late.jpg").write_text("<html></html>")
    code, out, err = call("prepare", root)
    assert "Left out: dogs/late.jpg (unreadable: not an image (HTML))" in err, "the same arrays are used again"
    assert "7 images left out; to see them: housetrain check" in err
    code, out, _ = call("prepare", root, "--json")
    assert len(json.loads(out)["left_out"]) == 7


def test_the_command_that_shows_the_findings_names_the_labels(call: Call, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "pets", images=12)
    (root / "labels.txt").write_text("cat\ndog\n" * 6)
    code, _, err = call("prepare", root, "--labels", "labels.txt:order", "--output", tmp_path / "out")
    assert code == 0 and f"to see them: housetrain check {root} --labels labels.txt:order" in err
