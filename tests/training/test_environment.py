"""What a run keeps of its environment: a command that can be pasted, and every package."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from housetrain.sweeps.executors import worker_environment
from housetrain.training import environment


@pytest.mark.parametrize(
    ("argv", "original", "command"),
    [
        (["/venv/bin/housetrain", "run", "my pets"], [], "housetrain run 'my pets'"),
        (["/lib/housetrain/__main__.py", "train", "x"], [], "housetrain train x"),
        (["train.py", "--fast"], ["/usr/bin/python3", "work/train.py", "--fast"], "python work/train.py --fast"),
        (["-c"], ["/usr/bin/python3", "-c", "import this"], "python -c 'import this'"),
    ],
)
def test_the_command_can_be_pasted(
    argv: list[str], original: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert environment.command_line() == command and shlex.split(command)


def test_a_worker_of_a_sweep_records_the_command_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/housetrain", "sweep", "prepared"])
    own = worker_environment({})
    monkeypatch.setattr(sys, "argv", ["-c", "job"])
    monkeypatch.setenv(environment.COMMAND, own[environment.COMMAND])
    assert environment.command_line() == "housetrain sweep prepared"


def test_every_package_is_kept_as_pip_reads_it() -> None:
    lines = environment.frozen().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names)) and all(line.count("==") == 1 for line in lines)
    assert {"numpy", "keras", "tensorflow", "openvino", "scikit-learn"} <= set(names) - {"housetrain"}


def test_a_missing_or_damaged_file_is_an_empty_environment(tmp_path: Path) -> None:
    assert environment.read_environment(tmp_path) == {}
    (tmp_path / "env.json").write_text("{")
    assert environment.read_environment(tmp_path) == {}
