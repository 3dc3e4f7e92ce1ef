"""The Labels page: one image after another, and every decision is a row of the file of corrections."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from studio.conftest import Page, texts

from housetrain.data.corrections import LEAVE_OUT, Corrections
from housetrain.data.prepared import Prepared
from housetrain.evaluation.label_issues import FILE, FOLDER, LabelIssue, LabelIssues, Neighbor
from housetrain.studio import jobs
from housetrain.system import store
from housetrain.training.run import Run


@pytest.fixture
def issues(finished: Run, work: Path) -> LabelIssues:
    """A made-up result for three images."""
    prepared = Prepared.open(work / "prepared" / "pets-12x12-grayscale")
    rows = [row for row in prepared.split.of("train") if row.label == "cats"][:3]
    other = next(row for row in prepared.split.of("train") if row.label == "dogs")
    near = (Neighbor(other.path, other.sha256, "dogs", 0.9),)
    listed = tuple(
        LabelIssue(row.path, row.sha256, "cats", "dogs", 0.9 - number / 10, 0.1, "train", 7, 10, near)
        for number, row in enumerate(rows)
    )
    found = LabelIssues(listed, prepared.split.root, prepared.folder, prepared.classes, 48, 0, "pixels", 0.95)
    store.write_json_atomic(prepared.folder / FOLDER / FILE, found.to_json())
    return found


def click(test: AppTest, key: str) -> AppTest:
    test.button(key=key).click().run()
    assert not test.exception
    return test


def test_decisions_are_rows_of_the_file_and_undo_takes_them_back(page: Page, issues: LabelIssues, work: Path) -> None:
    first, second, third = issues.issues
    file = work / "pets-corrections.csv"
    before = {path: path.read_bytes() for path in (work / "pets").rglob("*.png")}
    test = page("labels")
    assert not test.exception
    said = texts(test)
    assert (
        "cats" in said and "7 of the 10 most similar images are dogs" in said and "0 of 3 images decided" in bars(test)
    )
    assert first.path in said and "data:image" in said
    click(test, "do-relabel")
    assert second.path in texts(test) and first.path not in texts(test)
    click(test, "do-leave out")
    click(test, "do-keep")
    decided = {one.path: one.corrected for one in Corrections.read(file).decisions}
    assert decided == {first.path: "dogs", second.path: LEAVE_OUT, third.path: "cats"}
    assert "Every image of the list is decided" in texts(test) and "3 of 3 images decided" in bars(test)
    assert "1 relabeled, 1 left out, 1 kept" in bars(test)
    assert any("--corrections pets-corrections.csv" in one.value for one in test.code)
    click(test, "do-undo")
    click(test, "do-undo")
    assert {one.path for one in Corrections.read(file).decisions} == {first.path}
    assert second.path in texts(test)
    assert {path: path.read_bytes() for path in (work / "pets").rglob("*.png")} == before


def bars(test: AppTest) -> str:
    return " ".join(one.proto.text for one in test.get("progress"))


def test_a_reload_continues_after_the_last_decision_and_can_undo_it(
    page: Page, issues: LabelIssues, work: Path
) -> None:
    click(page("labels"), "do-relabel")
    test = page("labels")
    assert issues.issues[1].path in texts(test)
    click(test, "do-undo")
    assert issues.issues[0].path in texts(test)
    assert len(Corrections.read(work / "pets-corrections.csv")) == 0


def test_a_skipped_image_comes_back_at_the_end(page: Page, issues: LabelIssues) -> None:
    test = click(page("labels"), "do-skip")
    assert issues.issues[1].path in texts(test)
    for _ in range(2):
        click(test, "do-keep")
    assert issues.issues[0].path in texts(test)


def test_every_decision_has_a_key_of_its_own(page: Page, issues: LabelIssues) -> None:
    test = page("labels")
    keys = [test.button(key=f"do-{name}").proto.shortcut for name in ("keep", "relabel", "leave out", "skip", "undo")]
    assert [key.lower() for key in keys] == ["k", "l", "x", "s", "u"]


def test_finding_them_starts_the_command(
    page: Page, finished: Run, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda folder, words, **options: begun.append(list(map(str, words))))
    test = page("labels")
    [button] = [one for one in test.button if one.label == "Find wrong labels"]
    button.click().run()
    assert not test.exception
    assert begun == [["labels", str(work / "prepared" / "pets-12x12-grayscale")]]


def test_a_damaged_result_and_a_damaged_file_are_one_sentence(page: Page, issues: LabelIssues, work: Path) -> None:
    (work / "pets-corrections.csv").write_text("nothing\n")
    test = page("labels")
    assert not test.exception and "no table of corrections" in test.error[0].value.replace("\\", "")
    (issues.prepared / FOLDER / FILE).write_text('{"issues": 3}')
    test = page("labels")
    assert not test.exception and "labels.json" in test.error[0].value.replace("\\", "")


def test_paths_of_a_result_that_lead_elsewhere_are_not_opened(page: Page, issues: LabelIssues, work: Path) -> None:
    secret = work.parent / "secret.png"
    secret.write_bytes(next((work / "pets").rglob("*.png")).read_bytes())
    value = issues.to_json()
    value["issues"][0]["path"] = "../../secret.png"
    store.write_json_atomic(issues.prepared / FOLDER / FILE, value)
    test = page("labels")
    assert not test.exception and "The list names an image outside of its folder" in texts(test)
