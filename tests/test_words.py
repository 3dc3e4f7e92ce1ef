"""Words: texts use the field's standard terms, and errors start with a capital."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BANNED = re.compile(
    r"\b(eats?|eaten|anew|shall|goes on|go on|went on|reckon\w*|mend(?:s|ed|ing)?|whoever|nobody|somebody|under way"
    r"|colour\w*|grey)\b"
    r"|it is not shown|what was taken for what|who (?:learns|steers|judges)",
    re.IGNORECASE,
)
TEXTS = sorted(
    path
    for path in (
        *(ROOT / "src").rglob("*"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*.py"),
        *(ROOT / "tools").glob("*.py"),
        *(ROOT / "benchmarks").glob("*"),
        *ROOT.glob("*.md"),
    )
    if path.suffix in {".py", ".md", ".j2", ".css", ".js"}
)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text): all of a page; the strings and comments of a module."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
            for number, line in enumerate(token.string.splitlines()):
                yield token.start[0] + number, line


def test_every_text_uses_standard_terms() -> None:
    assert len(TEXTS) > 150
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in TEXTS
        for line, text in texts_of(path)
        if (match := BANNED.search(text))
    ]
    assert found == []


def error_classes() -> set[str]:
    """Return the names of the exception tree whose first argument is a sentence."""
    tree = ast.parse((ROOT / "src" / "housetrain" / "errors.py").read_text(encoding="utf-8"))
    reasons = {"DecodeError"}  # its first argument is a short phrase, shown after a file name
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - reasons


def first_text(node: ast.Call) -> str | None:
    """Return the text that the first argument starts with; ``None`` if it starts with a value."""
    first = node.args[0] if node.args else None
    while isinstance(first, ast.JoinedStr | ast.BinOp):
        first = first.values[0] if isinstance(first, ast.JoinedStr) else first.left
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def test_every_error_starts_with_a_capital() -> None:
    names = error_classes()
    assert {"HousetrainError", "RecipeError", "MissingExtra"} <= names
    seen, wrong = 0, []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names):
                continue
            text = first_text(node)
            if text is not None and getattr(node.func, "id", "") != "MissingExtra":
                seen += 1
                if text[:1].islower() and not text.startswith("housetrain"):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text}")
    assert seen > 100
    assert wrong == []
