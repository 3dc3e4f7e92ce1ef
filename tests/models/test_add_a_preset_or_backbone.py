"""A preset and a backbone are each one block of code in one file: those of CONTRIBUTING.md are added and used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import housetrain as ht

ROOT = Path(__file__).resolve().parents[2]
USED = """
import sys
import numpy as np
from housetrain.images.input_spec import InputSpec
from housetrain.models.build import build
from housetrain.models.cost import cost
from housetrain.models.nets import infeasible, layers_of
from housetrain.models.recipe import Recipe
from housetrain.report.plots.diagram import draw_model, slab_table

prepared, output, name, settings = sys.argv[1], sys.argv[2], sys.argv[3], dict(w.split("=") for w in sys.argv[4:])
recipe, spec = Recipe.of(name, **settings), InputSpec(32, 32, "{color}")
model = build(recipe, spec=spec, classes=("cat", "dog"))
assert cost(recipe, spec, 2).parameters == model.count_params()
assert model.predict(np.zeros((1, *spec.shape), np.uint8), verbose=0).shape == (1, 1)
assert "needs images of at least" in infeasible(recipe, InputSpec(2, 2, spec.color_mode))
assert "cat" in draw_model(slab_table(layers_of(recipe, spec, 2)), ("cat", "dog"))

from housetrain.cli import main

words = [f"--set={{name}}={{value}}" for name, value in settings.items()]
sys.argv = ["housetrain", "train", prepared, "--model", name, "--epochs", "1", "--output", output, "--quiet", *words]
main()
"""


def section(title: str) -> str:
    """A section of CONTRIBUTING.md."""
    parts = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"{title}\n"))


@pytest.mark.parametrize(
    ("title", "file", "name", "color", "side", "settings"),
    [
        ("Add a preset", "nets.py", "tiny", "grayscale", 16, ["nodes=4"]),
        ("Add a backbone", "backbones.py", "mobilenetv3-small", "rgb", 16, ["weights=none"]),
    ],
)
def test_one_block_in_one_file_is_all_it_needs(
    title: str, file: str, name: str, color: str, side: int, settings: list[str], tmp_path: Path
) -> None:
    text = section(title)
    assert len([line for line in text.splitlines() if line]) < 15, "the section stays short"
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert f"src/housetrain/models/{file}" in text
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src" / "housetrain", source / "housetrain", ignore=shutil.ignore_patterns("__pycache__"))
    with (source / "housetrain" / "models" / file).open("a", encoding="utf-8") as changed:
        changed.write(f"\n\n{block}")
    channels = 3 if color == "rgb" else 1
    images = np.random.default_rng(0).integers(0, 256, (40, side, side, channels), dtype=np.uint8)
    labels = np.arange(40) % 2
    train, test = (images[:32], labels[:32]), (images[32:], labels[32:])
    prepared = ht.Prepared.from_arrays(train, test, folder=tmp_path / "prepared")
    code = USED.format(color=color)
    done = subprocess.run(
        [sys.executable, "-c", code, str(prepared.folder), str(tmp_path / "run"), name, *settings],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    if name == "mobilenetv3-small":  # quicker than to train it, and the command line knows it
        assert done.returncode == 2 and "needs images of at least 32x32 pixels, not 16x16" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    run = ht.Run.open(tmp_path / "run")
    assert run.recipe_json["model"] == name and len(run.history) == 1
