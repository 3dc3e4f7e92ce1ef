"""The pages of the documentation's site: complete, linked and locked. `make docs` builds them, strictly."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import housetrain

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Markdown pages of the site."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    runpy.run_path(str(ROOT / "tools" / "build_site.py"))["write"](folder)
    return folder


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page(site: Path) -> None:
    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for one in (entry if isinstance(entry, list) else entry.values()) for page in pages(one)]

    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = pages(config["nav"])
    assert sorted(listed) == sorted(path.relative_to(site).as_posix() for path in site.rglob("*.md"))
    assert config["theme"]["font"] is False, "a font of another site would be loaded"


def test_every_link_leads_to_a_page_of_the_site(site: Path) -> None:
    links = 0
    for page in site.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            links += 1
            assert (page.parent / target).is_file(), f"{page.relative_to(site)} links to {target}"
    assert links > 80


def test_the_reference_has_every_public_name(site: Path) -> None:
    named = re.findall(r"^::: housetrain\.[\w.]+\.(\w+)$", (site / "reference.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(set(housetrain.__all__) - {"__version__"})


def test_the_words_of_the_glossary_are_in_order_and_once() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("| --- | --- |\n")[1].splitlines()
    words = [row.split("|")[1].strip().casefold() for row in rows]
    assert len(words) > 30 and words == sorted(words) and len(set(words)) == len(words)


def test_the_lock_of_the_site_has_what_is_declared_and_its_hashes() -> None:
    lock = (ROOT / "requirements" / "docs.txt").read_text(encoding="utf-8")
    locked = {one.name: one for line in lock.splitlines() if "==" in line and (one := Requirement(line.rstrip(" \\")))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for line in project["dependency-groups"]["docs"]:
        (pin,) = locked[Requirement(line).name].specifier
        assert pin.version in Requirement(line).specifier
    assert lock.count("--hash=sha256:") > len(locked) and "://" not in lock
