"""Fixtures of the data room: folders that cannot be written, and a scan without processes that tells what it read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from housetrain.errors import DecodeError
from housetrain.system import process_pool


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Any]:
    """Make a folder read-only, also for root."""
    mounted: list[Path] = []

    def make(folder: Path) -> None:
        if os.geteuid() != 0:
            folder.chmod(0o555)
            return
        commands = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder])
        if any(subprocess.run(command, capture_output=True).returncode for command in commands):
            pytest.skip("this needs the right to mount")
        mounted.append(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decode in this process, quicker than starting workers for ten files; returns the paths that were read."""
    seen: list[str] = []

    def here(function: Any, items: Any, **_: Any) -> Iterator[tuple[int, Any]]:
        for place, entry in enumerate(items):
            seen.append(getattr(entry, "path", entry))  # small images are read by path
            try:
                yield place, function(entry)
            except DecodeError as error:
                yield place, process_pool.Failed(error.reason)

    monkeypatch.setattr(process_pool, "map_in_workers", here)
    return seen
