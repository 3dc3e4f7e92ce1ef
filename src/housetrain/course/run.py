"""Run a part of the course on a folder of images, and write a page of what came out.

In: the name of a part, a folder of images, an output folder. Out: ``OUTPUT/index.html`` with each step, its command and
its output. The commands run one by one in the output folder, as a person would type them; run again, they resume. It
makes no decisions about images or models.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from housetrain.course.parts import Block, Part, Step, part
from housetrain.errors import HousetrainError

NAME = "index.html"
_LONGEST = 200  # lines of output that the page shows
_WIDTH = "76"  # columns of what the steps print; indented, it fits a terminal of 80


@dataclass(frozen=True)
class Ran:
    """One command or block of code that was run.

    Attributes:
        shown: What was run, as a person would type it.
        output: What it printed.
        code: Exit code.
        seconds: How long it took.
        pictures: PNG files it made, below the output folder.
    """

    shown: str
    output: str
    code: int
    seconds: float
    pictures: tuple[Path, ...] = ()


def run_part(name: str, folder: Path, output: Path, *, say: Callable[[str], None] = lambda line: None) -> Path:
    """Run every step of a part and write its page.

    Args:
        name: One of `housetrain.course.parts.PARTS`.
        folder: Class folders of images. Only read.
        output: Where runs, arrays and the page are written.
        say: Receives each step's title, command and output, line by line.

    Returns:
        The page.

    Raises:
        RecipeError: There is no such part.
        FolderError: The folder cannot be used.
        HousetrainError: A step failed; the page shows it.
    """
    from housetrain.data.catalog import scan
    from housetrain.data.output import refuse_inside
    from housetrain.report.course_page import write_course_page

    chosen = part(name)
    refuse_inside(folder, output)
    catalog = scan(folder)
    words = {
        "PetImages": str(catalog.root),
        "photo.jpg": str(catalog.root / catalog.usable[0].path),
        "Dog,Cat": ",".join(reversed(catalog.classes)),
    }
    output.mkdir(parents=True, exist_ok=True)
    done: list[tuple[Step, list[Ran]]] = []
    failed: Ran | None = None
    for step in chosen.steps:
        say(f"\n{step.title}")
        done.append((step, []))
        for block in step.blocks:
            for one in _runs(block, words, output, say):
                done[-1][1].append(one)
                failed = failed or (one if one.code else None)
        if failed:
            break
    page = write_course_page(output / NAME, chosen, done)
    if failed:
        raise HousetrainError(
            "A step of the course failed", do="see its message above, then run the same command again",
            step=done[-1][0].title, command=failed.shown, page=str(page),
        )  # fmt: skip
    return page


def commands(chosen: Part) -> list[str]:
    """Return the command lines of a part, in order."""
    return [line for step in chosen.steps for block in step.blocks if block.language == "sh" for line in _lines(block)]


def _lines(block: Block) -> list[str]:
    return block.code.splitlines() if block.language == "sh" else [block.code]


def _runs(block: Block, words: Mapping[str, str], output: Path, say: Callable[[str], None]) -> list[Ran]:
    """Run a block, up to the first command that fails."""
    found = []
    for line in _lines(block):
        if block.language == "sh":
            typed = [words.get(word, word) for word in shlex.split(line)]
            shown, arguments = shlex.join(typed), ["-m", *typed]
        else:
            shown = line.replace('"photo.jpg"', repr(words["photo.jpg"]))
            arguments = ["-c", shown]
        say("\n".join(f"$ {one}" if block.language == "sh" else f">>> {one}" for one in shown.splitlines()))
        found.append(_ran(shown, arguments, output, say))
        if found[-1].code:
            break
    return found


def _ran(shown: str, arguments: list[str], output: Path, say: Callable[[str], None]) -> Ran:
    began, start = time.time(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        cwd=output,
        env={**os.environ, "COLUMNS": _WIDTH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines = []
    try:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            say(f"    {lines[-1]}")
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    code = 0 if code == 1 and arguments[1:3] == ["housetrain", "check"] else code  # it found something
    made = [path for path in output.glob("*.png") if path.stat().st_mtime >= began - 1]
    cut = [f"... {len(lines) - _LONGEST:,} more lines"] if len(lines) > _LONGEST else []
    return Ran(shown, "\n".join([*lines[:_LONGEST], *cut]), code, time.monotonic() - start, tuple(sorted(made)))
