"""No file of a run, bundle, sweep or prepared folder, however it was changed, has an effect outside of its folder.

Each variant ends in an answer or one clear error, in less than 500 MB and 5 s. `tampered` makes the variants, and
`tampered_readers` names the readers; both run in one process for each kind of folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from security import tampered_readers
from small_run import Tiny

HERE = Path(__file__).parent
MEGABYTES = 500
SHARES = {"run": 0.025, "bundle": 0.07, "sweep": 0.025, "prepared": 0.11, "jobs": 0.25}
"""Kind of folder -> the share of its variants that each test run tries, about 380 in all; see the slow test."""


@pytest.fixture(scope="module")
def work(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tampered")
    tampered_readers.make(folder, run=tiny.run, prepared=tiny.prepared)
    return folder


def tried(kind: str, work: Path, share: float) -> list[dict[str, Any]]:
    """Return the outcome of each variant."""
    (work / "cache").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, HERE / "tampered.py", kind, work, str(share)],
        env={**os.environ, "HOUSETRAIN_CACHE": str(work / "cache"), "TMPDIR": str(work / "cache")},
        cwd=work / "cache",
        capture_output=True,
        text=True,
        timeout=3000,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    return [line for line in lines if "name" in line]


def check(found: list[dict[str, Any]]) -> None:
    assert {line["name"]: line["problems"] for line in found if line["problems"]} == {}
    assert max(line["MB"] for line in found) < MEGABYTES


@pytest.mark.parametrize("kind", SHARES)
def test_no_tampered_file_does_harm(kind: str, work: Path) -> None:
    found = tried(kind, work, SHARES[kind])
    check(found)
    assert len(found) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARES)
def test_no_variant_at_all_does_harm(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    """Every variant: about 8,500, half an hour."""
    tampered_readers.make(tmp_path / "work", run=tiny.run, prepared=tiny.prepared)
    check(tried(kind, tmp_path / "work", 1.0))
