"""The page: self-contained, safe whatever the names, sensible whatever is missing."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from handmade_runs import fill_run, made_up_evaluation, split_of, write_images

from housetrain.data.catalog import scan
from housetrain.data.checks import check
from housetrain.data.findings import Finding
from housetrain.data.split_manifest import LeftOut, Row, SplitManifest
from housetrain.evaluation.evaluation import Opening
from housetrain.report import report
from housetrain.report.report import write_report
from housetrain.system import store
from housetrain.training.run import Run

HOSTILE_CLASS = "<script>alert(1)</script>"
HOSTILE_FILE = "a\nb\"'><img src=x onerror=alert(2)>\u202e.png"
VOID = {"meta", "img", "br", "input", "link", "hr", "rect", "line", "circle", "path"}


class Page(HTMLParser):
    """Collects elements, attributes and text; checks that what opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u2060]+", " ", "".join(self.words))


def page_of(run: Run, **more: Any) -> Page:
    return Page(write_report(run, **more).read_text(encoding="utf-8"))


def assert_loads_nothing(page: Page) -> None:
    for tag, name, value in page.attributes:
        if name in {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}:
            assert value.startswith(("data:image/", "#")), (tag, name, value[:80])
        assert not name.startswith("on"), (tag, name, value)
        assert "url(" not in value, (tag, name, value)
    assert page.elements["link"] == page.elements["iframe"] == page.elements["object"] == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Page]:
    """A report with everything in it."""
    folder = tmp_path_factory.mktemp("whole")
    root, classes = folder / "images", ("cats", "dogs")
    write_images(root, classes)
    manifest = split_of(root, classes, left_out=[LeftOut("cats/zero.jpg", "cats", "empty file")])
    (root / "cats" / "zero.jpg").write_bytes(b"")
    run = fill_run(folder / "run", manifest)
    catalog = scan(root, workers=1, cache=False)
    return run, page_of(run, catalog=catalog, findings=check(catalog), evaluation=made_up_evaluation(run, skill=-1.0))


def test_everything_is_told(whole: tuple[Run, Page]) -> None:
    run, page = whole
    for said in (
        "cats or dogs", "unseen images", "95 % interval", "majority-class baseline", "Metrics by class",
        "Confusion matrix", "Each row is the true class, each column the prediction", "Reliability diagram",
        "The most confident mistakes", "Limits", "cats/zero.jpg", "Corrupt or unreadable images", "empty file",
        "best epoch 3, whose weights are kept", "145 parameters", "flatten to one row of numbers", "housetrain predict",
        "Predictor.load", "housetrain run images", "seed 0", "Fingerprint of the split", "Model input",
    ):  # fmt: skip
        assert said in page.text, said
    assert "box" not in page.text.split(), "the page is passed around: no host names"
    assert page.elements["svg"] >= 7
    assert (run.folder / "findings.csv").is_file()


def test_nothing_is_loaded_from_anywhere(whole: tuple[Run, Page]) -> None:
    run, page = whole
    assert_loads_nothing(page)
    text = (run.folder / "report.html").read_text()
    assert not re.search(r"@import|https?://", text)
    [policy] = [value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    [script] = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_it_can_be_heard_as_well_as_seen(whole: tuple[Run, Page]) -> None:
    _, page = whole
    assert page.elements["img"] > 0
    assert page.elements["img"] == sum(
        1 for tag, name, value in page.attributes if (tag, name) == ("img", "alt") and value
    )
    assert page.elements["svg"] == sum(
        1 for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label") and value
    )
    assert page.headings[0] == "h1" and page.elements["h1"] == 1
    levels = [int(heading[1]) for heading in page.headings]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), "no level is skipped"
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert links <= set(ids)


def test_hostile_names_are_text_and_nothing_else(make_run: Any) -> None:
    run = make_run((HOSTILE_CLASS, "dogs & cats"[:4]), left_out=[LeftOut(HOSTILE_FILE, "dogs", "a\nreason <b>")])
    finding = Finding("odd\n<kind>", "warning", (HOSTILE_FILE,), f"look: {HOSTILE_FILE}", "do <i>", (HOSTILE_FILE,))
    page = page_of(run, findings=[finding], evaluation=made_up_evaluation(run, skill=0.5))
    assert page.elements["script"] == 1 and page.elements["i"] < 20 and "x" not in page.elements
    assert not any(value == "x" for _, name, value in page.attributes if name == "src")
    assert_loads_nothing(page)
    assert HOSTILE_CLASS in page.text and "a\\nb" in page.text and "\\u202e" in page.text
    assert "\u202e" not in page.text


def test_without_a_test_it_says_how_to_make_one(make_run: Any) -> None:
    page = page_of(make_run())
    assert "not tested yet" in page.text and "housetrain evaluate" in page.text and "Not tested" in page.text
    assert "The images have not been checked" in page.text
    assert "Metrics by class" not in page.text
    assert_loads_nothing(page)


def test_the_training_time_is_that_of_all_stages(make_run: Any) -> None:
    run, alike = make_run(), {"val_loss": 0.3, "val_accuracy": 0.9, "gain": 0.0, "gain_error": 0.0}
    rows = [{"name": name, "seconds": 3600.0, "best": name == "b", **alike} for name in "ab"]
    store.write_json_atomic(run.folder / "stages.json", {"request": {}, "rows": rows})
    assert "training time2 h" in page_of(run).text


def test_of_an_unfinished_run_it_tells_what_is_known(make_run: Any) -> None:
    run = make_run(finished=False)
    (run.folder / "history.jsonl").unlink()
    (run.folder / "model.keras").unlink()
    (run.folder / "env.json").unlink()
    page = page_of(run)
    assert "The training is not finished (new)" in page.text
    assert "Lower is better." not in page.text and "Model input" in page.text
    store.write_json_atomic(run.folder / "failed.json", {"reason": "the loss is not a number"})
    row = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": None, "val_accuracy": None}
    store.append_line(run.folder / "history.jsonl", row)
    assert "not finished (failed): the loss is not a number" in page_of(run).text


def test_images_that_are_gone_cost_only_the_images(make_run: Any) -> None:
    run = make_run()
    evaluation = made_up_evaluation(run, skill=0.5)
    run.split.root.rename(run.split.root.with_name("moved"))
    page = page_of(run, evaluation=evaluation)
    assert page.elements["img"] == 0 and "file not found" in page.text
    assert "The most confident mistakes" in page.text


def test_prepared_arrays_stand_in_for_images_that_are_gone(make_run: Any) -> None:
    run = make_run(with_arrays=True)
    evaluation = made_up_evaluation(run, skill=0.5)
    run.split.root.rename(run.split.root.with_name("moved"))
    assert page_of(run, evaluation=evaluation).elements["img"] > 20


def test_what_was_found_is_told_again_by_a_later_report(whole: tuple[Run, Page]) -> None:
    run, _ = whole
    page = page_of(run)
    assert "Corrupt or unreadable images" in page.text and "cats/zero.jpg" in page.text and "41 files" in page.text
    assert "not been checked" not in page.text


def test_no_findings_is_good_news(make_run: Any) -> None:
    assert "None: every image is readable" in page_of(make_run(), findings=[]).text


def test_a_kept_evaluation_is_shown_only_for_the_weights_it_is_of(make_run: Any) -> None:
    import dataclasses

    run = make_run()
    opening = Opening(1, 1, store.file_sha256(run.model_path), "data", "now")
    dataclasses.replace(made_up_evaluation(run), opening=opening).save(run.folder / "evaluation")
    assert "Metrics by class" in page_of(run).text
    run.model_path.write_bytes(b"trained on")
    assert "not tested yet" in page_of(run).text


def test_a_report_that_fails_leaves_the_old_one(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    before = write_report(run).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(report, "_model_section", lambda run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(run)
    assert (run.folder / "report.html").read_bytes() == before
    assert not list(run.folder.glob(".report*"))


def test_the_source_is_only_read(whole: tuple[Run, Page]) -> None:
    run, _ = whole
    names = sorted(path.name for path in run.split.root.rglob("*"))
    stamps = {path: path.stat().st_mtime_ns for path in run.split.root.rglob("*")}
    write_report(run)
    assert sorted(path.name for path in run.split.root.rglob("*")) == names
    assert {path: path.stat().st_mtime_ns for path in run.split.root.rglob("*")} == stamps


def test_the_page_of_eight_thousand_images_of_a_hundred_classes_is_small(tmp_path: Path) -> None:
    """Noise is the worst that an image can be to JPEG; every finding and mistake has one."""
    classes = [f"class {index:03}" for index in range(100)]
    root = tmp_path / "images"
    files = write_images(root, classes, per_class=3, side=200)
    rows = []
    for index in range(8000):
        file = files[index % len(files)]
        place = ("test", "validation", "train", "train")[index % 4]
        label = file.parent.name
        rows.append(Row(f"{label}/{file.name}", "", label, place, str(index)))  # type: ignore[arg-type]
    left_out = [LeftOut(f"{classes[0]}/{index}.jpg", classes[0], "balance: trimmed") for index in range(3000)]
    options = {"seed": 0, "balance": "trim"}
    manifest = SplitManifest.of_rows(root, classes, rows=rows, left_out=left_out, options=options)
    run = fill_run(tmp_path / "run", manifest)
    findings = [
        Finding(kind, "warning", tuple(row.path for row in rows[:500]), "look", "do", ())
        for kind in ("blurry", "dark", "uniform", "odd-size", "near-duplicate")
    ]
    path = write_report(run, findings=findings, evaluation=made_up_evaluation(run, skill=2.0))
    assert path.stat().st_size < 3_000_000
    page = Page(path.read_text())
    assert page.elements["img"] > 50
    assert "and 2,800 more" in page.text
