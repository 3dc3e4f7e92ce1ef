"""Every command of docs/troubles.md works, on tiny images, in this process."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from noise_folders import folder_of, image
from small_run import Tiny
from typer.testing import CliRunner

from housetrain.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs" / "troubles.md").read_text(encoding="utf-8")
COMMANDS = list(dict.fromkeys(re.findall(r"^```sh\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)))

CHEAP = {"--model": "mlp", "--nodes": "4", "--epochs": "1", "--image-size": "12"}
"""Added to commands that train: they run as written, but small."""


class Replaced(Exception):
    """The process would be another one now: the server of the page."""


@pytest.fixture
def place(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that the page names: folders of images, a table, a run and its arrays."""
    folder_of(tmp_path / "PetImages", cats=24, dogs=24)
    (tmp_path / "classes.csv").write_text("from,to\ncats,cat\n")
    (tmp_path / "corrections.csv").write_text("path,corrected\ncats/1.png,dogs\ncats/2.png,leave out\n")
    for name in ("new_photos", "My Images", "training_set", "shop/animals"):
        shutil.copytree(tiny.images, tmp_path / name)
    for number in range(10):
        image(tmp_path / "test_set" / ("cats", "dogs")[number % 2] / f"{number}.png", 1000 + number)
    images = sorted(tiny.images.rglob("*.*"))
    (tmp_path / "dogs-vs-cats").mkdir()
    (tmp_path / "cells/images").mkdir(parents=True)
    rows = ["path,kind,probability"]
    for number, path in enumerate(images):
        shutil.copy(path, tmp_path / "dogs-vs-cats" / f"{path.parent.name}.{number}{path.suffix}")
        shutil.copy(path, tmp_path / "cells/images" / f"{number}{path.suffix}")
        rows.append(f"images/{number}{path.suffix},{path.parent.name},{0.9 if path.parent.name == 'cats' else 0.1}")
    (tmp_path / "cells/labels.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(images[0], tmp_path / "photo.jpg")
    shutil.make_archive(str(tmp_path / "PetImages"), "zip", tmp_path, "PetImages")
    shutil.copytree(tiny.prepared, tmp_path / "prepared/PetImages")
    for name in ("PetImages", "second"):
        shutil.copytree(tiny.run, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_page_has_what_people_meet() -> None:
    assert 30 <= len(COMMANDS) <= 60 and len(re.findall(r"^\*\*", PAGE, re.MULTILINE)) >= len(COMMANDS)
    assert not re.findall(r"^```(?!sh\n|$)", PAGE, re.MULTILINE), "every block is a command that runs here"


def _is_slow(command: str) -> bool:
    """Return whether a command trains; two that do are quick tests, too."""
    trains = [one for one in COMMANDS if one.startswith(("housetrain run", "housetrain train", "housetrain sweep"))]
    return command in trains[2:]


@pytest.mark.parametrize(
    "command", [pytest.param(one, marks=pytest.mark.slow) if _is_slow(one) else one for one in COMMANDS]
)
@pytest.mark.usefixtures("place")
def test_the_command_works(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    assert words.pop(0) == "housetrain"
    if words[0] == "run":
        if "--output" not in words:
            words += ["--output", "runs/new"]
        if "--recipe" not in words:
            words += [word for name, value in CHEAP.items() if name not in words for word in (name, value)]

    def replace(*_: Any) -> None:
        raise Replaced

    monkeypatch.setattr(os, "execve", replace)
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, Replaced):
        assert words[0] == "studio"
        return
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in ((0, 1) if words[0] == "check" else (0,)), result.output
