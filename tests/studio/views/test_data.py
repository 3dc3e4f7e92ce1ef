"""The Data page: it checks a folder in another process, shows the findings, prepares, and opens nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from studio.conftest import Page, texts

from housetrain.studio import jobs, looking
from housetrain.studio.settings import Settings


def wait(job: jobs.Job | None, seconds: float = 60) -> jobs.Job:
    assert job is not None
    until = time.monotonic() + seconds
    while job.active:
        assert time.monotonic() < until, "it never ends"
        time.sleep(0.05)
    return job


def test_data_looks_at_a_folder_in_a_process_and_shows_what_it_found(page: Page, pets: Path) -> None:
    (pets / "cats" / "broken.jpg").write_bytes(b"")
    test = page("data", state={"folder": "pets"})
    assert not test.exception
    wait(looking.job_of(pets))
    test.run()
    assert not test.exception
    said = texts(test)
    assert "images 61" in said and "classes 2" in said
    assert any("empty file" in one.label.replace("\\", "") for one in test.expander)
    assert any(button.label == "Prepare" for button in test.button)


def test_data_prepares_what_the_form_says(page: Page, pets: Path, work: Path) -> None:
    page("data", state={"folder": "pets"})
    wait(looking.job_of(pets))
    test = page("data", state={"folder": "pets", "size": 28, "balance": "trim", "validation": 20})
    [button] = [one for one in test.button if one.label == "Prepare"]
    button.click().run()
    job = wait(jobs.newest(Settings.of().jobs, verb="prepare"))
    assert job.state == "done", job.error
    [manifest] = (work / "prepared").glob("*/prepared.json")
    made = json.loads(manifest.read_text())
    assert (made["spec"]["height"], made["spec"]["color_mode"]) == (28, "grayscale")
    from housetrain.data.prepare import Prepared

    prepared = Prepared.open(manifest.parent)
    assert prepared.balance == "trim" and prepared.split.options["validation_split"] == 0.2
    test = page("data", state={"folder": "pets", "size": 28, "balance": "trim", "validation": 20})
    assert "Ready:" in texts(test)


@pytest.mark.parametrize("typed", ["..", "/etc", "../..", "pets/../..", "\0"])
def test_data_opens_nothing_outside_the_data_root(typed: str, page: Page, pets: Path) -> None:
    test = page("data", state={"folder": typed})
    assert not test.exception
    assert len(test.error) == 1 and "The studio may not open" in test.error[0].value
    assert not list(Settings.of().jobs.glob("*")), "a process was started"


def test_data_says_why_a_folder_cannot_be_used(page: Page, work: Path) -> None:
    (work / "odd" / "only").mkdir(parents=True)
    test = page("data", state={"folder": "odd"})
    assert not test.exception
    wait(looking.job_of(work / "odd"))
    test = page("data", state={"folder": "odd"})
    assert len(test.error) == 1 and "There are no images" in test.error[0].value.replace("\\", "")
    assert any(button.label == "Check again" for button in test.button)
