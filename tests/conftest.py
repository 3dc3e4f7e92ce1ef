"""Fixtures of all tests: where the shared real images lie, and a cache that is the test's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in a background job; what the tests start would be deaf, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["fake_ray", "folders", "handmade_runs", "small_run", "trained_models"]

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared images are not here: ../shared/{'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def petimages() -> Path:
    """About 8,000 cats and dogs with planted faults. Never written."""
    return _shared("data", "PetImages")


@pytest.fixture(scope="session")
def photos() -> Path:
    """600 cats and dogs at their original sizes. Never written."""
    return _shared("data", "photos")


@pytest.fixture(scope="session")
def mnist_t10k() -> Path:
    """The 10,000 MNIST test digits as IDX files. Never written."""
    return _shared("data", "mnist-t10k")


@pytest.fixture(scope="session")
def xception_weights() -> Path:
    """ImageNet's weights of Xception without its top. Never written."""
    return _shared("weights", "xception_notop.weights.h5")


@pytest.fixture(scope="session")
def class_index() -> Path:
    """The names of ImageNet's classes, as Keras downloads them. Never written."""
    return _shared("weights", "imagenet_class_index.json")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the catalog cache of the person running the tests out of it."""
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line in an empty folder: words -> (exit code, stdout, stderr)."""
    from housetrain import cli

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["housetrain", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        code = left.value.code
        said = capsys.readouterr()
        return (int(code) if isinstance(code, int) else 0 if code is None else 1), said.out, said.err

    return run
