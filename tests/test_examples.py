"""The examples run as they are, on the data that needs no download."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("source", ["digits", pytest.param("mnist", marks=pytest.mark.slow)])
def test_the_mnist_quickstart(
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    script = EXAMPLES / "mnist_quickstart.py"
    assert len(script.read_text().splitlines()) < 40
    arguments = [str(request.getfixturevalue("mnist_t10k"))] if source == "mnist" else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    out = capsys.readouterr().out
    drawn = [line for line in out.splitlines() if set(line[:56]) <= set(" .:-=+*#%@") and len(line) >= 56]
    assert len(drawn) == 28 and any("@" in line for line in drawn)
    accuracy = float(out.split("test accuracy ")[1].split("%")[0])
    assert accuracy > (92 if source == "mnist" else 90)
    said = out.strip().splitlines()[-1].split(" -> ")
    assert said[0].endswith(".png") and said[1] in "0123456789"
