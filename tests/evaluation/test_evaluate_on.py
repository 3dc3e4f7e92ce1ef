"""A run is tested on a folder from elsewhere, without opening its test split."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from noise_folders import folder_of, image
from small_run import Housetrain, Tiny

import housetrain as ht
from housetrain.errors import IncompleteError, RecipeError
from housetrain.inference.novelty import Novelty


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Ten new images of each class; seeds that the run was not trained on."""
    for label, first in (("cats", 900), ("dogs", 950)):
        for number in range(10):
            image(tmp_path / "new" / label / f"{number}.png", first + number)
    return tmp_path / "new"


def test_a_new_folder_is_tested_and_kept(received: Path, new: Path) -> None:
    opened = (received / "evaluations.jsonl").read_bytes()
    found = ht.evaluate(received, on=new)
    assert found.n == 20
    assert found.opening is None
    assert found.elsewhere is not None
    assert found.elsewhere.copies == ()
    assert (received / "evaluations.jsonl").read_bytes() == opened
    assert ht.Evaluation.load(received / "evaluations" / "on-new") == found
    kept = ht.evaluate(received)
    assert kept.elsewhere is None
    assert kept.opening is not None
    assert kept.opening.count == 1


def test_probabilities_are_those_of_predict(received: Path, new: Path) -> None:
    found = ht.evaluate(received, on=new)
    predicted = list(ht.predict(received, [new / row.path for row in found.rows]))
    assert [row.predicted for row in found.rows] == [one.label for one in predicted]
    assert [row.probability for row in found.rows] == pytest.approx([one.probability for one in predicted], abs=1e-5)


def test_copies_of_training_images_are_named_and_taken_out(tiny: Tiny, received: Path, new: Path) -> None:
    split = ht.Run.open(received).split
    used = [row for row in split.rows if row.split != "test"]
    exact, near = used[0], used[1]
    shutil.copy(tiny.images / exact.path, new / exact.label / "exact.png")
    pixels = cv2.imread(str(tiny.images / near.path))
    cv2.imwrite(str(new / near.label / "near.png"), cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_CUBIC))
    held_out = next(row for row in split.rows if row.split == "test")
    shutil.copy(tiny.images / held_out.path, new / held_out.label / "from_test.png")
    about = ht.evaluate(received, on=new).elsewhere
    assert about is not None
    assert about.exact_copies == (f"{exact.label}/exact.png",)
    assert f"{held_out.label}/from_test.png" not in about.copies
    assert about.without_copies is not None
    assert about.without_copies.n == 23 - len(about.copies)
    assert ht.Evaluation.load(received / "evaluations" / "on-new").elsewhere == about


def test_near_copies_are_named(tmp_path: Path, received: Path, new: Path) -> None:
    """The tiny run's images are too small to compare, so it is given larger ones of the same paths."""
    run = ht.Run.open(received)
    value = json.loads((received / "split.json").read_bytes())
    large = tmp_path / "large"
    for number, row in enumerate(run.split.rows):
        image(large / row.path, 2_000 + number, size=96)
    value["root"] = str(large)
    (received / "split.json").write_text(json.dumps(value))
    copied = run.split.of("train")[3]
    pixels = cv2.imread(str(large / copied.path))
    cv2.imwrite(str(new / copied.label / "again.jpg"), pixels)
    about = ht.evaluate(received, on=new).elsewhere
    assert about is not None
    assert about.near_copies == (f"{copied.label}/again.jpg",)
    assert about.without_copies is not None
    assert about.without_copies.n == 20


def test_unknown_and_absent_classes_are_said(received: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "other", cats=4, horses=3)
    about = ht.evaluate(received, on=folder).elsewhere
    assert about is not None
    assert about.unknown == {"horses": 3}
    assert about.absent == ("dogs",)


def test_other_names_need_a_map(received: Path, new: Path) -> None:
    (new / "cats").rename(new / "Katzen")
    (new / "dogs").rename(new / "Hunde")
    with pytest.raises(RecipeError, match=r"no class of the model.*--map"):
        ht.evaluate(received, on=new)
    found = ht.evaluate(received, on=new, class_map={"Katzen": "cats", "Hunde": "dogs"})
    assert (found.n, found.classes) == (20, ("cats", "dogs"))


def test_classes_of_the_model_are_mapped_as_well(received: Path, new: Path) -> None:
    (new / "cats").rename(new / "feline")
    names = {"cats": "feline", "dogs": "canine"}
    found = ht.evaluate(received, on=new, class_map=names)
    plain = ht.evaluate(received, on=new, class_map={"feline": "cats"})
    assert found.classes == ("canine", "feline")
    assert found.correct == plain.correct


def test_without_the_training_images_the_rest_is_told(received: Path, new: Path) -> None:
    value = json.loads((received / "split.json").read_bytes())
    value["root"] = "/nowhere"
    (received / "split.json").write_text(json.dumps(value))
    recorded = json.loads((received / "input.json").read_bytes())
    (received / "input.json").write_text(json.dumps({**recorded, "prepared": "/nowhere", "data": "0" * 64}))
    found = ht.evaluate(received, on=new)
    assert found.elsewhere is not None
    assert found.elsewhere.near_copies is None
    assert found.elsewhere.shift == ()
    assert any("not searched" in remark for remark in found.elsewhere.remarks())


@pytest.mark.parametrize(("threshold", "share"), [(-1.0, 1.0), (3.0, 0.0)])
def test_the_share_of_novel_images_is_said(received: Path, new: Path, threshold: float, share: float) -> None:
    plain = ht.evaluate(received, on=new)
    assert plain.elsewhere is not None and plain.elsewhere.novel is None, "a model from scratch cannot tell"
    shutil.rmtree(received / "bundle")
    Novelty(np.eye(4, dtype=np.float16).repeat(2, axis=0), threshold).save(received)
    found = ht.evaluate(received, on=new)
    assert found.elsewhere is not None and found.elsewhere.novel is not None
    assert (found.elsewhere.novel.n, found.elsewhere.novel.novel) == (20, 20 * share)
    assert any("unlike anything that the model was trained on" in remark for remark in found.elsewhere.remarks())
    assert [row.probability for row in found.rows] == pytest.approx([row.probability for row in plain.rows], abs=1e-4)
    assert ht.Evaluation.load(received / "evaluations" / "on-new") == found


def test_two_folders_of_one_name_have_results_of_their_own(received: Path, new: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(new, tmp_path / "later" / "new"))
    names: list[Any] = [ht.evaluate(received, on=folder).elsewhere for folder in (new, second, new)]
    assert [one.name for one in names] == ["on-new", "on-new-2", "on-new"]


def test_an_unfinished_run_and_a_stray_option_are_refused(received: Path, new: Path) -> None:
    with pytest.raises(RecipeError, match="on=FOLDER"):
        ht.evaluate(received, class_level=2)
    (received / "result.json").unlink()
    with pytest.raises(IncompleteError, match="not finished"):
        ht.evaluate(received, on=new)


def test_the_command_tests_and_writes_a_page_that_the_report_links(
    housetrain: Housetrain, received: Path, new: Path, tmp_path: Path
) -> None:
    (new / "dogs").rename(new / "=Hunde")
    (tmp_path / "map.csv").write_text("from,to\n=Hunde,dogs\n")
    verdict = re.search(r'<div class="verdict">.*?</p>', (received / "report.html").read_text(), re.DOTALL)
    done = housetrain("evaluate", received, "--on", new, "--map", tmp_path / "map.csv")
    assert done.returncode == 0, done.stderr
    assert "of 20 images" in done.stdout
    page = (received / "evaluations" / "on-new" / "report.html").read_text()
    assert "Compared with the training images" in page
    assert "does not count as a use of it" in page
    report = (received / "report.html").read_text()
    assert 'href="evaluations/on-new/report.html"' in report and "of 20 images" in report
    assert verdict and verdict[0] in report, "the run's own test result stays"
    as_json = housetrain("evaluate", received, "--on", new, "--map", tmp_path / "map.csv", "--json")
    assert json.loads(as_json.stdout)["elsewhere"]["class_map"] == {"=Hunde": "dogs"}
