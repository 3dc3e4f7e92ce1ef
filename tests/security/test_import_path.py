"""No process imports a Python file of the working folder: it may come from a stranger, like the images beside it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import HOUSETRAIN, Tiny

from housetrain.system import pool_worker


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Path]:
    """A working folder with a module of every top-level name that can be imported; none of them may run."""
    work, marks = tmp_path / "marked", tmp_path / "marks"
    work.mkdir()
    names = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
    for name in filter(str.isidentifier, names):
        code = f"import os\nos.close(os.open({str(marks / name)!r}, os.O_CREAT))\nraise SystemExit(99)\n"
        (work / f"{name}.py").write_text(code)
    marks.mkdir()
    yield work
    assert sorted(path.name for path in marks.iterdir()) == []


def call(work: Path, *words: object, command: list[str] = HOUSETRAIN) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *map(str, words)], cwd=work, capture_output=True, text=True, timeout=300)


@contextlib.contextmanager
def serving(work: Path, *words: object, port: int, path: str) -> Iterator[None]:
    """Run a server until it answers."""
    process = subprocess.Popen([*HOUSETRAIN, *map(str, words)], cwd=work, stdout=subprocess.DEVNULL, stderr=-3)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                yield
                return
            assert process.poll() is None
            time.sleep(0.2)
        raise AssertionError("no answer")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_verbs_that_decode_in_a_pool(marked: Path, tiny: Tiny) -> None:
    images, run = tiny.images, tiny.run
    assert call(marked, "check", images).returncode in (0, 1)
    assert call(marked, "prepare", images, "--image-size", 12, "--output", "out").returncode == 0
    assert call(marked, "predict", run, images, "--csv", "out.csv").returncode == 0


def test_the_package_run_as_a_module(tmp_path: Path, tiny: Tiny) -> None:
    """``python -m`` puts the working folder first; what Python itself imports before the package is its own affair."""
    for name in ("cv2", "json", "numpy", "pathlib", "psutil", "subprocess", "typer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    done = call(tmp_path, "check", tiny.images, command=[sys.executable, "-m", "housetrain"])
    assert done.returncode in (0, 1), done.stderr


def test_a_pool_of_programs(marked: Path, tiny: Tiny) -> None:
    code = (
        "import sys; sys.modules['openvino'] = None  # a library with threads: no fork\n"
        "from housetrain.data.catalog import scan; print(len(scan(sys.argv[1]).images))"
    )
    done = call(marked, tiny.images, command=[sys.executable, "-P", "-c", code])
    assert done.returncode == 0 and int(done.stdout) == 48, done.stderr


def test_children_do_not_get_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/elsewhere"])
    assert pool_worker._import_path() == ["/elsewhere"]
    monkeypatch.setattr(pool_worker, "__file__", str(tmp_path / "housetrain" / "system" / "pool_worker.py"))
    assert pool_worker._import_path() == ["", str(tmp_path), "/elsewhere"]


def test_a_sweep(marked: Path, tiny: Tiny) -> None:
    done = call(
        marked, "sweep", tiny.prepared, "--model", "mlp", "--nodes", "2,3", "--dense", 1,
        "--epochs", 1, "--workers", 2, "--output", "sweep", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_tensorboard(marked: Path, tiny: Tiny) -> None:
    port = free_port()
    with serving(marked, "board", tiny.run, "--port", port, port=port, path="/"):
        pass


def test_the_studio_and_its_jobs(marked: Path, tiny: Tiny) -> None:
    port = free_port()
    with serving(marked, "studio", "--no-browser", "--port", port, port=port, path="/_stcore/health"):
        pass
    code = (
        "import sys, time; from pathlib import Path; from housetrain.studio import jobs\n"
        "job = jobs.start(Path('jobs'), ['check', sys.argv[1]], work=Path.cwd())\n"
        "until = time.monotonic() + 100\n"
        "while not (job.folder / 'ended.json').is_file() and time.monotonic() < until: time.sleep(0.1)\n"
        "print((job.folder / 'ended.json').read_text(), (job.folder / 'err').read_text())"
    )
    done = call(marked, tiny.images, command=[sys.executable, "-P", "-c", code])
    assert done.returncode == 0 and '"code": 99' not in done.stdout, done.stderr + done.stdout
    assert os.path.isdir(marked / "jobs")  # noqa: PTH112 - `pathlib` is one of the marked names
