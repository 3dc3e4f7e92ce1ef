"""Write the pages of the documentation's site and build it: ``make docs``.

In: docs/, README.md and the other pages of the project, and the public names of the package. Out: build/docs, Markdown
in one folder with a page of the Python reference, and build/site, from the command that follows ``--``. A warning of
that command fails the build.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "benchmarks/RECORDS.md": "RECORDS.md",
}
"""Pages outside docs/ -> their names on the site."""
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")
_LAST = {"workflow": 0, "cli": 2, "errors": 2, "system": 2}
"""Part of the package -> where its names stand in the reference; the others are in between, in the package's order."""
REFERENCE = """\
# Python

Every name is an attribute of `housetrain`: `import housetrain as ht`, then `ht.scan`.
"""


def main() -> None:
    """Write the pages, then run the command in the arguments."""
    write(TARGET)
    if sys.argv[1:]:
        sys.exit(subprocess.run(sys.argv[1:], cwd=ROOT, check=False).returncode)


def write(target: Path) -> None:
    """Write all pages into a new folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target)
    for source, name in PAGES.items():
        shutil.copy(ROOT / source, target / name)
    (target / "reference.md").write_text(reference(), encoding="utf-8")
    places = {ROOT / source: target / name for source, name in PAGES.items()}
    places |= {path: target / path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*") if path.is_file()}
    for source, page in places.items():
        if page.suffix == ".md":
            page.write_text(linked(source, page, places), encoding="utf-8")


def linked(source: Path, page: Path, places: dict[Path, Path]) -> str:
    """Return a page whose links lead to the pages of the site; files that are not on it become their names.

    Args:
        source: The page in the project.
        page: Where it is on the site.
        places: File of the project -> file of the site.
    """

    def lead(found: re.Match[str]) -> str:
        there = (source.parent / found[2]).resolve()
        there = there / "README.md" if there.is_dir() else there
        if there in places:
            address = Path(os.path.relpath(places[there], page.parent)).as_posix()
            return f"[{found[1]}]({address}{found[3] or ''})"
        return f"`{there.relative_to(ROOT).as_posix()}`" if there.is_relative_to(ROOT) and there.exists() else found[0]

    return LINK.sub(lead, source.read_text(encoding="utf-8"))


def reference() -> str:
    """Return the page of the Python reference: a directive for each public name, by module."""
    parts = [REFERENCE]
    for module, names in sorted(public_names().items(), key=lambda item: _LAST.get(item[0].partition(".")[0], 1)):
        parts.append(f"## {module.replace('_', ' ').rpartition('.')[2].capitalize()}")
        parts += [f"::: housetrain.{module}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def public_names() -> dict[str, tuple[str, ...]]:
    """Return module -> public names, read from the package without importing it."""
    tree = ast.parse((ROOT / "src" / "housetrain" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Dict) and any(getattr(key, "value", "") == "data.catalog" for key in value.keys):
            return ast.literal_eval(value)
    raise LookupError("housetrain/__init__.py has no table of public names")


if __name__ == "__main__":
    main()
