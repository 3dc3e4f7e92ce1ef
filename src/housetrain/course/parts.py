"""The parts of the course: pages of text, commands and code, one for each part of a tutorial.

In: the Markdown files in ``pages/``. Out: `Part` values. A block is a fenced ``sh`` or ``python`` block; ``# [8]`` at
the end of its lines names the items of the tutorials that it covers (see docs/course/COVERAGE.md). It runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from housetrain.errors import RecipeError

PAGES = Path(__file__).with_name("pages")
PARTS = ("s0", "s1-1", "s1-2", "s1-3", "s2", "s3", "s4")
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"\s+#((?: \[\d+\])+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands, one a line, or Python code.

    Attributes:
        language: ``"sh"`` or ``"python"``.
        code: Without the marks of the items.
        items: (item, the line that covers it).
    """

    language: Literal["sh", "python"]
    code: str
    items: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Step:
    """One section of a page: what it is about, what is run, and what is to be seen."""

    title: str
    text: str
    blocks: tuple[Block, ...]
    see: str


@dataclass(frozen=True)
class Part:
    """One page. ``name`` is one of `PARTS`; ``text`` is what stands before the first step."""

    name: str
    title: str
    text: str
    steps: tuple[Step, ...]


def part(name: str) -> Part:
    """Return a part of the course.

    Raises:
        RecipeError: There is no such part.
    """
    if name not in PARTS:
        raise RecipeError("There is no such part of the course", expected=", ".join(PARTS), part=name)
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    head, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    title, _, text = head.removeprefix("# ").partition("\n")
    return Part(name, title, text.strip(), tuple(map(_step, sections)))


def _step(section: str) -> Step:
    title, _, body = section.partition("\n")
    text, _, see = _BLOCK.sub("", body).partition("You see:")
    return Step(title, text.strip(), tuple(_block(*found) for found in _BLOCK.findall(body)), see.strip())


def _block(language: str, code: str) -> Block:
    items = [
        (int(number), line[: found.start()].strip())
        for line in code.splitlines()
        if (found := _MARK.search(line))
        for number in re.findall(r"\d+", found[1])
    ]
    return Block(cast(Literal["sh", "python"], language), _MARK.sub("", code).strip(), tuple(items))
