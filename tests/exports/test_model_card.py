"""The README of a bundle: its commands and its Python run as they are."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import housetrain as ht
from housetrain.exports import model_card
from housetrain.images.input_spec import InputSpec


def test_the_snippets_in_the_readme_run_as_they_stand(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the folder is called."""
    bundle = ht.export(digits.run, tmp_path / "it's mine").folder
    photo = next(digits.images.rglob("*.png"))
    shutil.copyfile(photo, tmp_path / "photo.jpg")
    blocks = dict(reversed(re.findall(r"```(sh|python)\n(.*?)```", (bundle / "README.md").read_text(), re.DOTALL)))
    expected = ht.Predictor.load(bundle).predict(photo)
    said = f"{expected.label} {expected.probability:.1%}"
    done = subprocess.run(
        [sys.executable, "-c", blocks["python"]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{said}\n"

    from housetrain import cli

    install, command = blocks["sh"].strip().splitlines()
    assert install.startswith('pip install "openvino>=')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with contextlib.suppress(SystemExit):
        cli.main()
    assert sys.argv[0] == "housetrain"
    line = capsys.readouterr().out
    assert line.startswith("photo.jpg") and said.replace("%", " %") in line


@pytest.mark.parametrize(("color_mode", "converted"), [("grayscale", 'convert("L")'), ("rgb", 'convert("RGB")')])
def test_the_card_names_classes_quality_and_input(color_mode: str, converted: str) -> None:
    about = {
        "models": [{"format": "keras"}],
        "spec": InputSpec(height=24, width=32, color_mode=color_mode, resize="pad").to_json(),
        "classes": ["Cat", "Dog"],
        "metrics": {"test": None},
        "counts": {"test": {"Cat": 3, "Dog": 4}},
        "housetrain": "1",
        "keras": "3",
    }
    card = model_card.write("pets", about)
    assert "temperature" not in card and "1 / 1.5" in model_card.write(
        "pets", {**about, "decision": {"temperature": 1.5}}
    )
    assert "Classes: Cat, Dog." in card and "Not tested yet" in card and "24x32" in card
    assert "corrected" not in card
    corrected = model_card.write("pets", about | {"corrections": "a person corrected 2 labels"})
    assert "A person corrected 2 labels before training.\n" in corrected
    assert converted in card and "ImageOps.pad(photo, (32, 24)" in card and "1 - probabilities[0]" in card
    tested = {**about, "metrics": {"test": {"accuracy": 0.9, "n": 300, "accuracy_interval": (0.86, 0.93)}}}
    assert "Test accuracy 90.0 % on 300 unseen images (95 % interval 86.0–93.0 %)." in model_card.write("pets", tested)
