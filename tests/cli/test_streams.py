"""Output that the terminal, pipe or disk cannot take never ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from noise_folders import folder_of

CHECK = [sys.executable, "-m", "housetrain", "check"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("images"), **{"猫": 6, "Hündin": 6})


def check(images: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*CHECK, str(images), *words], env={**os.environ, **environment}, capture_output=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "cp932", "utf-8"])
def test_any_encoding_can_show_any_class_name(encoding: str, images: Path) -> None:
    done = check(images, PYTHONIOENCODING=encoding)
    text = done.stdout.decode(encoding)
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    for name in ("猫", "Hündin"):
        shown = {name, name.encode("ascii", "backslashreplace").decode()}
        shown.add("".join(one if one.encode(encoding, "ignore") else f"\\x{ord(one):02x}" for one in name))
        assert any(one in text for one in shown), text


def test_typography_becomes_ascii() -> None:
    code = "from housetrain.cli import streams; streams.prepare(); print('37.1–58.2 × 3 · ± 猫')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True
    )
    assert done.stdout == "37.1-58.2 x 3 | +- \\u732b\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line_and_exit_2(images: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*CHECK, str(images)], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"Standard output cannot be written" in done.stderr and b"Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(images: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*CHECK, str(images)], stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == 0
    assert done.stderr == b""


def test_closed_output_keeps_the_exit_code(images: Path) -> None:
    done = subprocess.run(["sh", "-c", '"$0" "$@" >&-', *CHECK, str(images)], stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b""


def test_without_a_home_folder(images: Path) -> None:
    keep = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    done = subprocess.run([*CHECK, str(images)], env=keep, capture_output=True, cwd="/")
    assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr


def test_no_color_where_it_is_not_wanted(images: Path) -> None:
    done = check(images / "missing", NO_COLOR="1", FORCE_COLOR="1")
    assert done.returncode == 2
    assert b"\x1b[1;31m" not in done.stderr and b"\x1b[31m" not in done.stderr
