"""Size limits: a file, function or class that outgrows them has a second job, which belongs elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "housetrain").rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES, MOST_ATTRIBUTES, MOST_METHODS = 400, 60, 12, 20
TESTED_FROM = 100
MANY_FIELDS = {
    "Recipe": "the flat configuration of a training: one field per setting, no behavior",
}
"""Classes that may have more attributes, with the reason."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Return the fields that a class declares and the attributes that its methods set on self."""
    declared = {
        one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    stored = {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
    }
    return declared | stored


def methods_of(node: ast.ClassDef) -> list[ast.AST]:
    return [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_file_is_too_long() -> None:
    long = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {path: lines for path, lines in long.items() if lines > MOST_LINES} == {}


def test_no_function_is_too_long() -> None:
    long = {
        f"{path}:{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in long.items() if lines > MOST_FUNCTION_LINES} == {}


def test_no_class_has_too_many_attributes_or_methods() -> None:
    large = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                attributes, methods = len(attributes_of(node)), len(methods_of(node))
                if methods > MOST_METHODS or (attributes > MOST_ATTRIBUTES and node.name not in MANY_FIELDS):
                    large[f"{path}:{node.name}"] = (attributes, methods)
    assert large == {}


def test_every_exception_to_the_limits_is_needed() -> None:
    large = {
        node.name
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and len(attributes_of(node)) > MOST_ATTRIBUTES
    }
    assert set(MANY_FIELDS) <= large


def test_every_module_of_some_size_has_a_test_of_its_name() -> None:
    package = ROOT / "src" / "housetrain"
    missing = []
    for path in SOURCES:
        if path.read_text(encoding="utf-8").count("\n") >= TESTED_FROM and path.name != "__init__.py":
            relative = path.relative_to(package)
            if not (ROOT / "tests" / relative.parent / f"test_{path.name}").is_file():
                missing.append(str(relative))
    assert missing == []
