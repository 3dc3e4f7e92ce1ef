"""The whole job in a real browser, as a person would do it who never opens a terminal. On real cats and dogs."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from studio.browser import Server, browser, ends

from housetrain.studio import jobs
from housetrain.system.lock import Lock
from housetrain.training.run import Run

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("playwright", reason="the browser's driver is not installed")
SLOW = 120_000  # ms; a machine that does other things as well


def until(true: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=ends(name)).first.click(timeout=SLOW)


def words(page: Page) -> str:
    return page.inner_text("body")


@pytest.mark.timeout(900)
def test_from_a_folder_to_right_names(tmp_path: Path, petimages: Path) -> None:
    server = Server(tmp_path, str(petimages))
    with browser() as chromium:
        page = chromium.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        try:
            _prepare(page, server)
            run = _train(page, server)
            _reload_and_second_tab(page, run)
            _killed_server(page, server, run)
            _finished(page, run)
            _test(page, run)
            _predict(page, server, run, petimages)
            _explain(page)
            assert not problems
            assert "Traceback" not in server.said(), server.said()[-3000:]
        except Exception as error:
            found = [(job.verb, job.state, job.error) for job in jobs.all_of(server.work / ".studio" / "jobs")]
            error.add_note(f"{page.url}\n{words(page)}\nJobs: {found}\nServer: {server.said()[-3000:]}")
            raise
        finally:
            server.kill()


def _prepare(page: Page, server: Server) -> None:
    page.goto(server.at())
    page.get_by_text("Findings").wait_for(timeout=SLOW)  # every image has been decoded once
    page.get_by_text("8,004").first.wait_for(timeout=SLOW)  # images of the table
    page.get_by_text("Corrupt or unreadable images: 3").click()
    page.get_by_text("not an image (HTML)").first.wait_for(timeout=SLOW)
    press(page, "Prepare")
    page.get_by_text("Ready:").wait_for(timeout=SLOW)
    [manifest] = (server.work / "prepared").glob("*/prepared.json")
    trained_on = sum(json.loads(manifest.read_text())["counts"]["train"].values())
    page.get_by_text(f"{trained_on:,} training images").first.wait_for(timeout=SLOW)
    press(page, "Continue to training")


def _train(page: Page, server: Server) -> Run:
    epochs = page.get_by_label("Epochs", exact=True)
    epochs.wait_for(timeout=SLOW)
    epochs.fill("2")
    epochs.press("Enter")
    page.wait_for_timeout(1500)
    press(page, "Train")
    until(lambda: bool(list((server.work / "runs").glob("*/progress.json"))), "a training begins")
    [folder] = (server.work / "runs").iterdir()
    run = Run(folder)
    assert (run.recipe_json["model"], run.recipe_json["epochs"]) == ("cnn", 2)
    page.get_by_text(re.compile(r"Epoch 1 of 2, batch")).wait_for(timeout=SLOW)
    first = words(page)
    until(lambda: words(page) != first, "the batches move on the page")
    return run


def _reload_and_second_tab(page: Page, run: Run) -> None:
    assert run.state == "running", "it was over before the page could be reloaded"
    pid = Lock.holder(run.folder)
    page.reload()
    page.get_by_text(re.compile(r"Epoch \d of 2")).wait_for(timeout=SLOW)
    other = page.context.new_page()
    other.goto(f"{page.url.split('?')[0]}")
    other.get_by_text(re.compile(r"Epoch \d of 2|Finished: 2 of 2")).first.wait_for(timeout=SLOW)
    other.close()
    assert Lock.holder(run.folder) == pid, "another process took over"


def _killed_server(page: Page, server: Server, run: Run) -> None:
    """The page's server dies; training does not notice, and the next server finds it."""
    holder = Lock.holder(run.folder)
    server.kill()
    assert holder is not None and (run.complete or _alive(int(holder["pid"])))
    server.start()
    page.goto(server.at("train?view=watch"))
    page.get_by_text(re.compile(r"Epoch \d of 2|Finished: 2 of 2")).first.wait_for(timeout=SLOW)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _finished(page: Page, run: Run) -> None:
    page.get_by_text("Finished: 2 of 2 epochs").wait_for(timeout=SLOW)
    page.locator(".drawing svg").first.wait_for(timeout=SLOW)
    best = min(run.history, key=lambda row: row["val_loss"])
    shown = words(page)
    assert len(run.history) == 2
    assert f"{best['val_accuracy'] * 100:.1f} %" in shown and f"{best['val_loss']:.4f}" in shown
    press(page, "Test")


def _test(page: Page, run: Run) -> None:
    press(page, "Open the test split …")
    assert not (run.folder / "evaluations.jsonl").exists(), "it was opened before anybody agreed"
    press(page, "Open it")
    page.get_by_text("Most confident mistakes").wait_for(timeout=SLOW)
    kept = json.loads((run.folder / "evaluation" / "evaluation.json").read_text())
    assert kept["accuracy"] > kept["baseline"]["accuracy"] + 0.05, "two epochs taught it nothing"
    shown = words(page)
    assert f"{kept['accuracy'] * 100:.1f} %" in shown and "1 ×" in shown
    assert kept["opening"]["count"] == 1
    matrix = page.locator(".drawing svg").filter(has=page.locator("[data-key]")).first
    matrix.locator('[data-key="1,0"]').hover()
    mistaken = kept["confusion"][1][0]
    assert f"Dog, predicted as Cat: {mistaken:,}" in page.locator(".tip:visible").inner_text(), "no tooltip"
    matrix.locator('[data-key="1,0"]').click()
    page.get_by_text(f"Dog, predicted as Cat: {mistaken:,}", exact=True).wait_for(timeout=SLOW)
    matrix.locator('[data-key="0,0"]').press("Enter")
    page.get_by_text(f"Cat, correct: {kept['confusion'][0][0]:,}", exact=True).wait_for(timeout=SLOW)


def _predict(page: Page, server: Server, run: Run, petimages: Path) -> None:
    """Upload the cat and the dog of the test that it was surest of and right about: the page must say the same.

    Two epochs make no expert, so not any photo will do; these two it never saw while it learned.
    """
    with (run.folder / "evaluation" / "predictions.csv").open() as file:
        right = [row for row in csv.DictReader(file) if row["label"] == row["predicted"]]
    right.sort(key=lambda row: -float(row["probability"]))
    chosen = [next(row for row in right if row["label"] == label) for label in ("Cat", "Dog")]
    page.goto(server.at("predict"))
    page.locator("input[type=file]").set_input_files([petimages / row["path"] for row in chosen], timeout=SLOW)
    page.get_by_text("Download as CSV").wait_for(timeout=SLOW)
    names = page.locator("h3").all_inner_texts()
    assert names == ["Cat", "Dog"]
    shown = words(page)
    for row in chosen:
        assert f"{float(row['probability']) * 100:.1f} % ·" in shown
    assert "This image was in the test split" in shown and "in the training split" not in shown
    [seen] = [row for row in run.split.of("train") if row.label == "Dog"][:1]
    page.locator("input[type=file]").set_input_files([petimages / seen.path], timeout=SLOW)
    page.get_by_text("This image was in the training split").first.wait_for(timeout=SLOW)


def _explain(page: Page) -> None:
    """The first convolution slides over the uploaded dog: another place of the window is another sum."""
    press(page, "Explain")
    page.locator("#layers").wait_for(timeout=SLOW)
    shown = words(page)
    assert "Grad-CAM" in shown and "parameters." in shown
    before = page.locator("#sum").inner_text()
    page.locator("#row").fill("0")
    assert page.locator("#row").input_value() == "0" and page.locator("#sum").inner_text() != before
