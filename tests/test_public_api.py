"""The front door: what `import housetrain` offers, what it costs, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import housetrain as ht

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "keras", "jax", "torch")


@pytest.mark.parametrize("name", ht.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(ht, name)
    assert value.__doc__, f"housetrain.{name} has no docstring"
    assert name in dir(ht)


def test_the_type_checkers_list_is_the_lazy_list() -> None:
    source = (ROOT / "src/housetrain/__init__.py").read_text()
    static = {
        line.rsplit(" as ", 1)[1].strip() for line in source.splitlines() if line.startswith("    from housetrain")
    }
    assert static == set(ht.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        ht.no_such_thing  # noqa: B018


def modules_after(code: str) -> set[str]:
    """Return the names in sys.modules after running ``code`` in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_housetrain_imports_no_heavy_library() -> None:
    loaded = modules_after("import housetrain; housetrain.__version__")
    assert not loaded & {*HEAVY, "numpy", "cv2", "PIL", "sklearn", "matplotlib", "pydantic", "rich"}


def test_looking_at_images_imports_no_tensorflow(tmp_path: Path) -> None:
    code = f"""
import housetrain as ht
from pathlib import Path
if __name__ == "__main__":
    folder = ht.sample("digits", Path({str(tmp_path)!r}) / "digits")
    catalog = ht.scan(folder, cache=False)
    ht.check(catalog)
    division = ht.split(catalog)
    ht.prepare(division, Path({str(tmp_path)!r}) / "prepared", image_size=32)
    ht.contact_sheet(catalog, Path({str(tmp_path)!r}) / "sheet.png")
    from housetrain.inference.predictor import Predictor
"""
    assert not modules_after(code) & set(HEAVY)
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_the_command_line_docs_are_what_help_says_now() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from write_cli_docs import PAGE, text
    finally:
        sys.path.pop(0)
    assert PAGE.read_text() == text(), "run `make docs`"


def test_the_locks_carry_hashes_and_no_address() -> None:
    for name in ("run", "dev"):
        lock = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert "--hash=sha256:" in lock
        assert "http" not in lock and "index" not in lock


def test_readme_names_only_verbs_and_makes_that_exist() -> None:
    import re

    import typer

    from housetrain.cli import app

    readme = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"^(?:\.venv/bin/)?housetrain ([a-z]+)", readme, re.MULTILINE))
    assert verbs and verbs <= set(typer.main.get_command(app).commands)
    targets = set(re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets >= {"run", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
