"""The how-to pages: every command works in the order of its page, on small images of the kind that it is about."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from noise_folders import folder_of, image
from typer.testing import CliRunner

from housetrain.cli.app import app

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")
CHEAP = {"--model": "cnn", "--conv": "1", "--nodes": "4", "--dense": "0", "--epochs": "1", "--image-size": "12"}
"""Added to `run`: as written, but small."""


def commands(page: str) -> list[str]:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def _camera_traps(root: Path) -> None:
    for number in range(96):
        place = f"{('deer', 'boar', 'empty')[number % 3]}/cam{number // 3 % 8:02}"
        image(root / "traps" / place / f"IMG_{number:04}.png", number)
    for number in range(6):
        image(root / "new_photos" / f"burst{number // 3}" / f"{number}.png", 500 + number)
        image(root / "new_site" / ("deer", "boar")[number % 2] / f"{number}.png", 600 + number)


def _defects(root: Path) -> None:
    for number in range(96):
        name = "scratch" if number % 6 == 0 else "good"
        image(root / "parts" / name / f"part{number // 2:03}_{number % 2}.png", number)
    folder_of(root / "line1", new=4)


def _x_rays(root: Path) -> None:
    rows = ["path,finding,patient"]
    random = np.random.default_rng(0)
    (root / "xrays" / "images").mkdir(parents=True)
    for number in range(60):
        pixels = random.integers(0, 4096, (40, 30), dtype=np.uint16)
        assert cv2.imwrite(str(root / "xrays" / "images" / f"{number}.png"), pixels)
        rows.append(f"images/{number}.png,{('normal', 'nodule')[number // 2 % 2]},p{number // 2:02}")
    (root / "xrays" / "labels.csv").write_text("\n".join(rows) + "\n")
    folder_of(root / "hospital2", normal=4, nodule=4)


def _few_images(root: Path) -> None:
    folder_of(root / "flowers", daisy=24, rose=24)


def _many_classes(root: Path) -> None:
    for number in range(12 * 12):
        place = f"{('songbirds', 'raptors')[number % 2]}/species{number % 12:02}"
        image(root / "birds" / place / f"{number}.png", number)
    (root / "classes.csv").write_text("from,to\nspecies00,species02\nspecies01,\n")
    folder_of(root / "new_photos", some=4)


def _phone(root: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is an extra")
    folder_of(root / "PetImages", cats=40, dogs=40)


MAKE: dict[str, Callable[[Path], None]] = {
    "camera-traps": _camera_traps,
    "defects": _defects,
    "few-images": _few_images,
    "many-classes": _many_classes,
    "phone": _phone,
    "x-rays": _x_rays,
}


def test_every_page_is_listed_and_tested() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(PAGES) == set(MAKE) == set(re.findall(r"\]\((?!\.\.)([\w-]+)\.md\)", index))
    for page in PAGES:
        assert len(commands(page)) >= 4 and "You see" in (FOLDER / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKE[page](tmp_path)
    first = next(path for path in sorted(tmp_path.rglob("*.png")))
    shutil.copy(first, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "cache"))
    for command in commands(page):
        program, *words = shlex.split(command)
        assert program == "housetrain"
        if words[0] == "run":
            words += [word for name, value in CHEAP.items() if name not in words for word in (name, value)]
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in ((0, 1) if words[0] == "check" else (0,)), f"{command}\n{result.output}"
    made = [line.split("--output ")[1].split()[0] for line in commands(page) if "--output " in line]
    assert made and all((tmp_path / name).exists() for name in made)
