"""The user's environment is not ours: check, run and predict give the same results in each, without a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_run import HOUSETRAIN, Housetrain, Tiny

# fmt: off
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "no HOME": {"HOME": None, "HOUSETRAIN_CACHE": None, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    "HOME read-only": {"HOME": "ROOT/read-only", "HOUSETRAIN_CACHE": None},
    "HOME cannot be made, TMPDIR missing": {"HOME": "/proc/none", "HOUSETRAIN_CACHE": None, "TMPDIR": "ROOT/none"},
    "warnings are errors, C locale": {
        "PYTHONWARNINGS": "error", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    },
}
"""Name -> variables, ``None`` for one that is not set. ROOT is a folder of the test."""
# fmt: on


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str | None]:
    """The variables of one environment, with the folders that they name."""
    (tmp_path / "read-only").mkdir(mode=0o500)
    chosen = ENVIRONMENTS[request.param]
    return {name: value and value.replace("ROOT", str(tmp_path)) for name, value in chosen.items()}


def results(tiny: Tiny, housetrain: Housetrain, environment: dict[str, str | None]) -> list[object]:
    """Return the findings, the test accuracy of a new run, and the predictions of an old one."""
    checked = housetrain("check", tiny.images, "--json", environment=environment)
    ran = housetrain(
        "run", tiny.images, "--model", "mlp", "--nodes", 4, "--epochs", 1, "--image-size", 12, "--output", "run",
        "--prepared", "prepared", "--json", "--deterministic", environment=environment,
    )  # fmt: skip
    predicted = housetrain("predict", tiny.run, tiny.images, "--json", environment=environment)
    for done in (checked, ran, predicted):
        assert "Traceback" not in done.stderr and done.returncode in (0, 1), done.stderr
    rows = [json.loads(line) for line in predicted.stdout.splitlines()]
    outcome = json.loads(ran.stdout)
    return [
        json.loads(checked.stdout)["findings"],
        {key: outcome["evaluation"][key] for key in ("accuracy", "n") if key in outcome.get("evaluation", {})},
        [(row["image"], row["label"], round(row["probability"], 4), row["error"]) for row in rows],
    ]


@pytest.fixture(scope="module")
def expected() -> list[list[object]]:
    """The results in the plain environment, computed by the first test."""
    return []


@pytest.mark.parametrize("environment", ENVIRONMENTS, indirect=True)
def test_the_environment_changes_no_result(
    environment: dict[str, str | None], tiny: Tiny, housetrain: Housetrain, expected: list[list[object]], tmp_path: Path
) -> None:
    if not expected:
        expected.append(results(tiny, housetrain, {}))
        for made in ("run", "prepared"):
            (tmp_path / "work" / made).rename(tmp_path / "work" / f"{made}-before")
    assert results(tiny, housetrain, environment) == expected[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_its_own_code(number: int, code: int, tiny: Tiny, tmp_path: Path) -> None:
    words = ["train", tiny.prepared, "--model", "mlp", "--epochs", 100_000, "--patience", 0, "--output", "out"]
    process = subprocess.Popen(
        [*HOUSETRAIN, *map(str, words)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 100
    history = tmp_path / "out" / "history.jsonl"
    while not history.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err and "rerun the same command" in err
