"""A server of the small run, and images for it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import jpeg
from serve.servers import Running, running
from small_run import Tiny

if importlib.util.find_spec("fastapi") is None:  # the extra "serve" is not installed; requirements/dev.txt has it
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def server(tiny: Tiny) -> Iterator[Running]:
    """A server of the small run; tests ask it, and leave it as it is."""
    with running(tiny.run) as started:
        yield started


@pytest.fixture
def small_bundle(tiny: Tiny, tmp_path: Path) -> Path:
    """A bundle that a test may change."""
    return Path(shutil.copytree(tiny.run / "bundle", tmp_path / "pets"))


@pytest.fixture(scope="session")
def photo() -> bytes:
    """An encoded image."""
    return jpeg(60, 80, seed=7)


@pytest.fixture(scope="session")
def slow_image() -> bytes:
    """A gray PNG of 90 megapixels: decoding it takes a large part of a second."""
    import cv2
    import numpy as np

    rows = np.random.default_rng(0).integers(0, 255, (9000, 1), dtype=np.uint8)
    done, data = cv2.imencode(".png", np.broadcast_to(rows, (9000, 10000)), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return data.tobytes()
