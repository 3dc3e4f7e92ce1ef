"""The documentation runs: the tutorial's commands in order, and the Python of every page."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COURSE = sorted((ROOT / "docs" / "course").glob("*.md"))  # tests/course runs them
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))  # tests/test_how_to.py runs them


def python_of(page: Path) -> list[str]:
    return [code for language, code in BLOCK.findall(page.read_text()) if language == "python"]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Make what the pages take for granted: a folder of images (bright or dark), a photo, and arrays of digits."""
    import cv2
    from sklearn.datasets import load_digits

    chance = np.random.default_rng(0)
    for name, low in (("Cat", 120), ("Dog", 0)):
        (tmp_path / "PetImages" / name).mkdir(parents=True)
        for number in range(40):
            image = cv2.resize(chance.integers(low, low + 130, (6, 6, 3), dtype=np.uint8), (60, 60))
            cv2.imwrite(str(tmp_path / "PetImages" / name / f"{number}.jpg"), image)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((70, 90, 3), 200, np.uint8))
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    arrays = {"x_train": images[:600], "x_test": images[600:800]}
    np.savez(tmp_path / "given.npz", **arrays, y_train=digits.target[:600], y_test=digits.target[600:800])
    return tmp_path


def test_the_python_of_the_readme_works_as_written(pets: Path) -> None:
    blocks = python_of(ROOT / "README.md")
    assert len(blocks) >= 2
    given = 'import numpy\nglobals().update(numpy.load("given.npz"))\n'
    code = given + "\n".join(blocks) + "\nprint(model.count_params(), len(batches))"
    done = subprocess.run([sys.executable, "-c", code], cwd=pets, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"Test loss \d\.\d+, accuracy \d+\.\d%", lines[0]) and lines[1] in ("Cat", "Dog")
    assert (pets / "runs").is_dir() and (pets / "prepared").is_dir()


def test_no_python_is_left_untested() -> None:
    """The README's and the tutorial's blocks run here; a page that gets a block needs a test of its own."""
    assert {page.name for page in PAGES if python_of(page)} <= {"README.md", "tutorial.md", "log.md"}


def test_the_quickstart_passes_mypy_strict(tmp_path: Path) -> None:
    """A user's type checker sees the package's types (py.typed), and no error in what the README and examples do."""
    scripts = [ROOT / "examples" / "mnist_quickstart.py", tmp_path / "readme.py"]
    scripts[1].write_text(python_of(ROOT / "README.md")[0] + "reveal_type(run)\nreveal_type(result.accuracy)\n")
    assert (ROOT / "src" / "housetrain" / "py.typed").exists()
    options = ["--strict", "--follow-imports=silent", "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, *map(str, scripts)]
    cache = os.environ.get("MYPY_CACHE_DIR", str(tmp_path / "cache"))
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src"), "MYPY_CACHE_DIR": cache}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    revealed = re.findall(r'Revealed type is "(?:builtins.)?(.*)"', done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert revealed == ["housetrain.training.run.Run", "float"]


def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())
    assert len(blocks) >= 8
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for language, code in blocks:
        command = [sys.executable, "-c", code] if language == "python" else ["sh", "-ec", code]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    sevens = (tmp_path / "sevens.csv").read_text().splitlines()[1:]
    assert sum(",7," in row for row in sevens) > 0.9 * len(sevens)
    assert len((tmp_path / "threes.jsonl").read_text().splitlines()) > 100
    assert (tmp_path / "runs" / "all" / "report.html").exists()


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*PAGES, *COURSE, *HOW_TO):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_name_in_the_concepts_exists() -> None:
    names = re.findall(r"`(housetrain(?:\.\w+)+)`", (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8"))
    assert len(names) >= 15
    for name in names:
        assert pkgutil.resolve_name(name) is not None


def test_the_walk_of_one_image_is_short() -> None:
    """Three record types at most until an image is a row of an array, in a map of about twenty lines."""
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    walk = page.split("## One image")[1].split("\n## ")[0]
    rows = [line for line in walk.splitlines() if line.startswith("| ")][2:]
    before = rows[: next(i for i, row in enumerate(rows) if "Prepared" in row)]
    assert len(rows) <= 20
    assert {"Entry", "ImageRecord", "Row"} <= {name for row in before for name in re.findall(r"`(\w+)`", row)}
