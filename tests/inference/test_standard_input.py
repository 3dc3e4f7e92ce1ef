"""One image from standard input, over a real pipe: the limits and words of a file."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from noise_folders import image
from trained_models import Trained

from housetrain.errors import DecodeError, RecipeError
from housetrain.inference import standard_input
from housetrain.inference.standard_input import StandardInput, read_image

Call = Callable[..., tuple[int, str, str]]


def piped(data: bytes, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command with `cat` before it."""
    command = [sys.executable, "-m", "housetrain", *map(str, words)]
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        process = subprocess.Popen(
            command, stdin=cat.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        cat.stdin.write(data)
        cat.stdin.close()
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_a_photo_through_a_pipe_gets_the_prediction_of_its_file(digits: Trained, call: Call, tmp_path: Path) -> None:
    photo = tmp_path / "one.png"
    image(photo, 1)
    _, by_path, _ = call("predict", digits.run.folder, photo, "--json")
    done = piped(photo.read_bytes(), "predict", digits.run.folder, "-", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**json.loads(by_path), "image": "-"}
    plain = piped(photo.read_bytes(), "predict", digits.run.folder, "-")
    assert plain.returncode == 0 and plain.stdout.startswith("-\t") and "%" in plain.stdout


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"<html>no</html>", "HTML")])
def test_what_is_no_image_fails_as_a_file_does(
    digits: Trained, call: Call, data: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(data)
    code, by_path, _ = call("predict", digits.run.folder, tmp_path / "file", "--json")
    done = piped(data, "predict", digits.run.folder, "-", "--json")
    assert done.returncode == code == 1
    found = json.loads(done.stdout)
    assert found["error"] == json.loads(by_path)["error"] and reason in found["error"]
    assert "Traceback" not in done.stderr


def test_more_than_a_file_may_have_is_refused_before_it_is_all_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_input, "MAX_BYTES", 3 << 20)
    assert read_image(io.BytesIO(b"x" * (3 << 20))) == b"x" * (3 << 20)

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 1 << 20
            self.given += size
            return bytes(size)

    endless = Endless()
    with pytest.raises(DecodeError, match="too large"):
        read_image(endless)  # type: ignore[arg-type]
    assert endless.given <= (3 << 20) + 1


def test_a_terminal_and_a_closed_stream_say_what_to_do() -> None:
    with pytest.raises(RecipeError, match="closed"):
        StandardInput(None)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal, pytest.raises(RecipeError, match=r"terminal.*cat photo\.jpg"):
        StandardInput(terminal)
    os.close(ours)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-", "photo.jpg"), "stands alone"),
        (("-", "--csv", "x.csv"), "--output"),
        (("-", "--sort-into", "x"), "--sort-into"),
        (("-", "--vote-by", "parent"), "--vote-by"),
    ],
)
def test_what_needs_a_path_is_refused(call: Call, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, _, err = call("predict", tmp_path, *words)
    assert code == 2 and said in err
