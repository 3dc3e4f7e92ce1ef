"""predict, export, benchmark, explain: exit codes, JSON lines, and the path without options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from noise_folders import image
from trained_models import Trained

Call = Callable[..., tuple[int, str, str]]


def test_predict_with_and_without_options_agree(digits: Trained, call: Call, tmp_path: Path) -> None:
    image(tmp_path / "one.png", 1)
    code, plain, _ = call("predict", digits.run.folder, tmp_path / "one.png")  # skips Typer
    assert code == 0
    code, lines, _ = call("predict", digits.run.folder, tmp_path / "one.png", "--json")
    row = json.loads(lines)
    assert code == 0 and row["label"] in plain


def test_an_unreadable_image_is_exit_1(digits: Trained, call: Call, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    code, out, _ = call("predict", digits.run.folder, tmp_path / "broken.png")
    assert code == 1 and "could not be read" in out


def test_two_output_files_are_refused(digits: Trained, call: Call, tmp_path: Path) -> None:
    image(tmp_path / "one.png", 1)
    code, _, err = call("predict", digits.run.folder, tmp_path / "one.png", "--csv", "a.csv", "--jsonl", "b.jsonl")
    assert code == 2 and "choose --csv, --jsonl or --output" in err
