"""The public API: the names that `import housetrain` offers, what they accept, and what importing them costs."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import housetrain as ht
from housetrain.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "keras", "jax", "torch")
NAMES = set(
    """
    BatchResult Benchmark Callback Catalog Comparison Diagnosis Embedded Evaluation Explained Exported Finding Grid
    History HousetrainError InputSpec LabelIssues Leaderboard LrCurve Outcome Prediction Predictor Prepared
    ProgressBar Recipe Reproduction Run RunRow SplitArrays SplitManifest benchmark board check classify compare
    cross_validate doctor embed evaluate explain export finetune labels leaderboard load_image lr_find predict
    predict_into prepare reproduce run runs sample scan show split sweep train write_report
    """.split()  # noqa: SIM905 - a page of quotes is harder to read
)
# The packages `housetrain.studio` and `housetrain.serve` have the names of their commands; see docs/log.md.
COMMANDS_ONLY = {"serve", "studio", "course"}


def test_the_public_names_are_these() -> None:
    assert ht.__all__ == sorted(NAMES)
    assert set(dir(ht)) == {*NAMES, "__version__"}


def test_every_command_is_a_function_of_its_name() -> None:
    commands = {name.replace("-", "_") for name in typer.main.get_command(app).commands}  # type: ignore[attr-defined]
    assert commands - COMMANDS_ONLY <= set(ht.__all__)
    assert all(callable(getattr(ht, name)) for name in commands - COMMANDS_ONLY)


def test_no_module_shadows_a_public_name() -> None:
    """Importing the submodule `housetrain.x` sets the attribute `x` of the package."""
    code = """
import housetrain as ht, importlib, pkgutil
before = {name: getattr(ht, name) for name in ht.__all__}
for found in pkgutil.iter_modules(ht.__path__):
    if found.name != "__main__":
        importlib.import_module(f"housetrain.{found.name}")
changed = [name for name, value in before.items() if getattr(ht, name) is not value]
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not {found.name for found in pkgutil.iter_modules(ht.__path__)} & NAMES


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every function that a user calls: overloads, methods and hand-written constructors included."""
    for name in ht.__all__:
        value = getattr(ht, name)
        if not inspect.isclass(value):
            yield from ((name, one) for one in (value, *typing.get_overloads(value)))
            continue
        for attribute, member in vars(value).items():
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            own = not attribute.startswith("_") or (attribute == "__init__" and not is_dataclass(value))
            if own and inspect.isfunction(function):
                yield f"{name}.{attribute}", function


def test_where_a_path_goes_text_goes() -> None:
    seen, refused = 0, []
    for name, function in public_functions():
        for parameter in inspect.signature(function).parameters.values():
            words = set(re.findall(r"\w+", str(parameter.annotation)))
            seen += "Path" in words
            if "Path" in words and "str" not in words:
                refused.append(f"{name}({parameter.name})")
    assert seen > 30
    assert refused == []


def test_every_public_function_is_annotated() -> None:
    for name, function in public_functions():
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in list(signature.parameters.values()):
            assert parameter.name in ("self", "cls") or parameter.annotation is not inspect.Parameter.empty, name


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
    ht.show(catalog, Path({str(tmp_path)!r}) / "sheet.png")
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
        assert "://" not in lock and "index-url" not in lock


def test_readme_names_only_verbs_and_makes_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"^(?:\.venv/bin/)?housetrain ([a-z]+)", readme, re.MULTILINE))
    assert verbs and verbs <= set(typer.main.get_command(app).commands)
    targets = set(re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets >= {"run", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_a_grid_is_enough_to_run_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import numpy as np

    monkeypatch.chdir(tmp_path)
    chance = np.random.default_rng(0)
    for name, low in (("bright", 120), ("dark", 0)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            image = cv2.resize(chance.integers(low, low + 130, (6, 6, 3), dtype=np.uint8), (40, 40))
            cv2.imwrite(str(tmp_path / "images" / name / f"{number}.png"), image)
    grid = ht.Grid(conv=(1, 2), nodes=(4,), dense=(0,), epochs=2)
    outcome = ht.run("images", "sweep", sweep=grid, workers=1)
    assert outcome.leaderboard is not None and {row.name for row in outcome.leaderboard.rows} == set(grid.recipes())
    assert outcome.run == outcome.leaderboard.best_run and outcome.evaluation.opening.count == 1
    assert outcome.report.is_file() and (tmp_path / "sweep" / "sweep.json").is_file()
