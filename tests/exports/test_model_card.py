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
import yaml

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


@pytest.mark.parametrize(("name", "novelty", "tells"), [("keras", True, True), ("keras", False, False),
                                                       ("litert", True, False)])  # fmt: skip
def test_the_card_says_whether_the_model_tells_other_images(name: str, novelty: bool, tells: bool) -> None:
    card = model_card.write("pets", {**about_pets(), "models": [{"format": name}], "novelty": novelty})
    assert ("marks an image that is unlike the training images as novel. About 5 %" in card) == tells
    assert ("The model cannot tell that an image is unlike its training images" in card) != tells


def about_pets(color_mode: str = "rgb") -> dict[str, Any]:
    return {
        "models": [{"format": "keras"}],
        "spec": InputSpec(height=24, width=32, color_mode=color_mode, resize="pad").to_json(),
        "classes": ["Cat", "Dog"],
        "metrics": {"test": None},
        "counts": {"test": {"Cat": 3, "Dog": 4}},
        "housetrain": "1",
        "keras": "3",
        "run": {"name": "pets"},
    }


def metadata_of(card: str) -> Any:
    """Return what a reader of the first block of YAML finds."""
    before, block, _ = card.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(block)


@pytest.mark.parametrize(("color_mode", "converted"), [("grayscale", 'convert("L")'), ("rgb", 'convert("RGB")')])
def test_the_card_names_classes_quality_and_input(color_mode: str, converted: str) -> None:
    about = about_pets(color_mode)
    card = model_card.write("pets", about)
    assert "temperature" not in card and "1 / 1.5" in model_card.write(
        "pets", {**about, "decision": {"temperature": 1.5}}
    )
    assert "Classes: Cat, Dog." in card and "Not tested yet" in card and "24x32" in card
    assert "corrected" not in card
    corrected = model_card.write("pets", about | {"corrections": "a person corrected 2 labels"})
    assert "A person corrected 2 labels before training.\n" in corrected
    assert converted in card and "ImageOps.pad(photo, (32, 24)" in card and "1 - probabilities[0]" in card
    tested = {**about, "metrics": TESTED}
    assert "Test accuracy 90.0 % on 300 unseen images (95 % interval 86.0–93.0 %)." in model_card.write("pets", tested)


TESTED = {"test": {"accuracy": 0.9, "n": 300, "accuracy_interval": (0.86, 0.93)}}
HOSTILE = ["a: b", "#x", '"', "\\ud83d", "l\n---\nlicense: mit", "- no", "é\u2028\x85\x7f\ufeff\0", "😀", "{a}", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_metadata_is_what_hugging_face_reads_whatever_the_folders_are_called(name: str) -> None:
    found = metadata_of(model_card.write(name, about_pets() | {"metrics": TESTED, "run": {"name": name}}))
    assert set(found) == {"library_name", "pipeline_tag", "tags", "model-index"}, "no license is invented"
    assert (found["library_name"], found["pipeline_tag"]) == ("housetrain", "image-classification")
    assert found["tags"] == ["housetrain", "keras"]
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert model["name"] == name and result["dataset"]["name"] == f"Images of {name}"
    assert result["dataset"]["type"] == "custom" and result["dataset"]["split"] == "test"
    assert result["task"]["type"] == "image-classification"
    assert result["metrics"] == [
        {"type": "accuracy", "value": 0.9, "name": "Accuracy (95 % interval 86.0–93.0 %)"},
    ]


def test_the_metadata_states_no_result_that_was_not_measured_and_no_library_that_cannot_load_it() -> None:
    assert "model-index" not in metadata_of(model_card.write("pets", about_pets()))
    saved = metadata_of(model_card.write("pets", about_pets() | {"models": [{"format": "saved-model"}]}))
    assert "library_name" not in saved and saved["tags"] == ["housetrain", "saved-model"]
    rare = about_pets() | {"metrics": {"test": {"accuracy": 1e-5, "n": 100_000, "accuracy_interval": (0.0, 1e-4)}}}
    assert metadata_of(model_card.write("pets", rare))["model-index"][0]["results"][0]["metrics"][0]["value"] == 1e-5
    model_card.write("pets", about_pets() | {"metrics": TESTED, "run": {"name": "\udcff"}}).encode("utf-8")
