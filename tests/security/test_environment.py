"""The user's environment is not ours: check, run and predict give the same results in each, without a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
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
    "settings of an older Keras, ASCII, narrow": {
        "HOME": "ROOT/old", "HOUSETRAIN_CACHE": None, "KERAS_HOME": None, "PYTHONIOENCODING": "ascii", "COLUMNS": "20",
        "TF_USE_LEGACY_KERAS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "0", "TERM": "dumb",
    },
    "no name, no home, TMPDIR full, no docstrings": {
        "HOME": None, "HOUSETRAIN_CACHE": None, "PYTHONIOENCODING": "latin-1", "PYTHONOPTIMIZE": "2",
        "TMPDIR": "ROOT/full", "PYTHONPATH": f"ROOT/nameless:ROOT/none:{os.environ.get('PYTHONPATH', '')}",
    },
}
"""Name -> variables, ``None`` for one that is not set. ROOT is a folder of the test."""

OLD_KERAS = {"backend": "theano", "image_dim_ordering": "th", "floatx": "float16", "epsilon": 1e-7}

# What an account without an entry in /etc/passwd gets.
NAMELESS = """
import pwd
def none(uid): raise KeyError("uid not found")
pwd.getpwuid = none
"""
# fmt: on


QUICK = ("no HOME", "no name, no home, TMPDIR full, no docstrings")
"""The environments of the quick tests; the others are tried with the slow ones."""


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str | None]]:
    """The variables of one environment, with the folders that they name."""
    (tmp_path / "read-only").mkdir(mode=0o500)
    for name, file, content in (
        ("old/.keras", "keras.json", json.dumps(OLD_KERAS)),
        ("nameless", "sitecustomize.py", NAMELESS),
        ("full", "", ""),
    ):
        (tmp_path / name).mkdir(parents=True)
        if file:
            (tmp_path / name / file).write_text(content)
    chosen = ENVIRONMENTS[request.param]
    with full_file_system(tmp_path / "full") if "ROOT/full" in chosen.values() else contextlib.nullcontext():
        yield {name: value and value.replace("ROOT", str(tmp_path)) for name, value in chosen.items()}


@contextlib.contextmanager
def full_file_system(folder: Path) -> Iterator[None]:
    """Put a file system of one page on a folder and fill it; without the right to, remove the folder."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        yield
        return
    try:
        (folder / "filling").write_bytes(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def results(tiny: Tiny, housetrain: Housetrain, environment: dict[str, str | None]) -> list[object]:
    """Return the findings, the test accuracy of a new run, and the predictions of an old one."""
    checked = housetrain("check", tiny.images, "--json", environment=environment)
    ran = housetrain(
        "run", tiny.images, "--model", "mlp", "--nodes", 4, "--epochs", 1, "--image-size", 12, "--output", "run",
        "--prepared", "prepared", "--json", "--deterministic", environment=environment,
    )  # fmt: skip
    predicted = housetrain("predict", tiny.run, tiny.images, "--json", environment=environment)
    table = housetrain("check", tiny.images, environment=environment)
    interval = housetrain("evaluate", "run", environment=environment)  # its result has characters beyond ASCII
    assert interval.returncode == 0 and "interval" in " ".join(interval.stdout.split()), interval.stderr
    for done in (checked, ran, predicted, table, interval):
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


@pytest.mark.parametrize(
    "environment",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ENVIRONMENTS],
    indirect=True,
)
def test_the_environment_changes_no_result(
    environment: dict[str, str | None], tiny: Tiny, housetrain: Housetrain, expected: list[list[object]], tmp_path: Path
) -> None:
    if not expected:
        expected.append(results(tiny, housetrain, {}))
        for made in ("run", "prepared"):
            (tmp_path / "work" / made).rename(tmp_path / "work" / f"{made}-before")
    assert results(tiny, housetrain, environment) == expected[0]


@pytest.mark.parametrize(
    "environment", ["HOME read-only", "no name, no home, TMPDIR full, no docstrings"], indirect=True
)
def test_the_studio_starts(environment: dict[str, str | None], tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("streamlit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [*HOUSETRAIN, "studio", str(tiny.images), "--no-browser", "--port", str(port)],
            cwd=tmp_path, env=variables, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            assert _healthy(port, process), (tmp_path / "log").read_text(errors="replace")
        finally:
            process.terminate()
            process.wait(timeout=30)
        assert "Traceback" not in (tmp_path / "log").read_text(errors="replace")


def _healthy(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer,
        ):
            return bool(answer.status == 200)
        time.sleep(0.2)
    return False


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
