"""One small trained run for whole tests of the command line, made in a process of its own, and copies of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from noise_folders import folder_of

HOUSETRAIN = [sys.executable, "-P", "-m", "housetrain"]
"""What the installed command does: it imports nothing from the working folder."""


@dataclass(frozen=True)
class Tiny:
    """A small run with what it was made from."""

    images: Path
    prepared: Path
    run: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Two classes of noise, 12x12, a small MLP; never to be changed by a test."""
    root = tmp_path_factory.mktemp("tiny")
    images = folder_of(root / "images", cats=24, dogs=24)
    done = subprocess.run(
        [
            *HOUSETRAIN, "run", "images", "--model", "mlp", "--nodes", "4", "--epochs", "1", "--image-size", "12",
            "--output", "run", "--prepared", "prepared", "--quiet",
        ],
        cwd=root,
        env={**os.environ, "HOUSETRAIN_CACHE": str(root / "cache")},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Tiny(images, root / "prepared", root / "run")


@pytest.fixture
def received(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the run that a test may change, as if somebody else had sent it."""
    return Path(shutil.copytree(tiny.run, tmp_path / "received"))


Housetrain = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def housetrain(tmp_path: Path) -> Housetrain:
    """Return a function that runs the command in a process of its own, in a folder below ``tmp_path``."""
    work = tmp_path / "work"
    work.mkdir()

    def call(*words: object, environment: Mapping[str, str | None] | None = None) -> subprocess.CompletedProcess[str]:
        changed = {**os.environ, **(environment or {})}
        return subprocess.run(
            [*HOUSETRAIN, *map(str, words)],
            cwd=work,
            env={name: value for name, value in changed.items() if value is not None},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
        )

    return call
