"""The course: its pages run as they are, its docs are current, and no item of the tutorials is forgotten."""

from __future__ import annotations

import dataclasses
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from noise_folders import folder_of

from housetrain.course.parts import PARTS, Block, Step, part
from housetrain.course.run import _ran, commands, run_part
from housetrain.errors import HousetrainError, RecipeError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tool() -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return runpy.run_path(str(ROOT / "tools" / "write_course_docs.py"))
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_the_docs_are_those_of_the_pages(tool: dict[str, Any]) -> None:
    made = tool["files"]()
    assert made.keys() == {path.name for path in (ROOT / "docs" / "course").iterdir()}
    for name, text in made.items():
        assert (ROOT / "docs" / "course" / name).read_text(encoding="utf-8") == text, f"run make docs: {name}"


def test_every_item_is_covered_by_a_command_or_listed_as_missing(tool: dict[str, Any]) -> None:
    blocks = [block for name in PARTS for step in part(name).steps for block in step.blocks]
    covered = {item for block in blocks for item, _ in block.items}
    assert set(tool["ITEMS"]) == set(range(1, 85))
    kinds = [covered, set(tool["ELSEWHERE"]), set(tool["MISSING"])]
    assert set.union(*kinds) == set(tool["ITEMS"]) and sum(map(len, kinds)) == 84, "each in one of them"
    for line, test in tool["ELSEWHERE"].values():
        assert (ROOT / test).is_file()
        assert test != tool["TROUBLES"] or line in (ROOT / "docs" / "troubles.md").read_text(encoding="utf-8")


def test_every_command_of_the_pages_has_the_flags_it_uses() -> None:
    from typer.main import get_command

    from housetrain.cli.app import app

    verbs: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for name in PARTS for line in commands(part(name))]
    assert len(lines) > 25
    for line in lines:
        program, verb, *words = shlex.split(line)
        known = {flag for option in verbs[verb].params for flag in option.opts}
        assert program == "housetrain" and {word for word in words if word.startswith("--")} <= known, line


def test_a_part_runs_on_images_of_ones_own_and_leaves_a_page(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "my images", Bird=24, Fish=24)
    before = sorted(images.rglob("*"))
    said: list[str] = []
    page = run_part("s1-2", images, tmp_path / "out", say=said.append).read_text(encoding="utf-8")
    assert sorted(images.rglob("*")) == before
    assert any("Fish,Bird" in line for line in said) and any("(48, 48, 3)" in line for line in said)
    for words in ("train (Fish 1", "What to see:", "data:image/png;base64,", "memmap", "-1, 50, 50, 1"):
        assert words in page, words
    assert "PetImages" not in "\n".join(said) and not re.search(r"# \[\d+\]|<script src", page)


def test_a_step_that_fails_is_shown_and_ends_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = folder_of(tmp_path / "images", Bird=8, Fish=8)
    whole = part("s1-2")
    wrong = Step("Wrong", "", (Block("sh", "housetrain check PetImages --label-from-name x", ()),), "")
    broken = dataclasses.replace(whole, steps=(wrong, whole.steps[0]))
    monkeypatch.setattr("housetrain.course.run.part", lambda name: broken)
    with pytest.raises(HousetrainError, match="A step of the course failed"):
        run_part("s1-2", images, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Failed with exit code 2" in page and whole.steps[0].title not in page


def test_parts_are_listed_and_others_refused(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("course")
    assert code == 0 and [line.split()[0] for line in out.splitlines()[:-1]] == list(PARTS)
    assert call("course", "s1-1")[0] == 2
    with pytest.raises(RecipeError, match="Expected: s0, s1-1"):
        part("s9")


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_every_part_runs(name: str, tmp_path: Path, photos: Path) -> None:
    """On 60 photos, in a folder named as the pages say, by the command of a person."""
    for label, kind in (("Cat", "cats"), ("Dog", "dogs")):
        (tmp_path / "PetImages" / label).mkdir(parents=True)
        for photo in sorted((photos / kind).iterdir())[:30]:
            shutil.copy(photo, tmp_path / "PetImages" / label / photo.name)
    command = [sys.executable, "-P", "-m", "housetrain", "course", name, "PetImages"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "course" / name / "index.html").stat().st_size > 10_000


def test_what_a_step_prints_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    said: list[str] = []
    _ran("width", ["-c", "import os; print('x' * int(os.environ['COLUMNS']))"], tmp_path, said.append)
    assert 60 <= max(map(len, said)) <= 80
