"""Every ``--flag`` that a message, docstring, template or page names is an option of some command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from housetrain.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])")
CSS = re.compile(r"var\(--[\w-]+|--[\w-]+\s*:")
FOREIGN = {
    "--upgrade": "pip",
    "--extra": "uv",
    "--force-reinstall": "pip",
    "--no-deps": "pip",
    "--no-cache-dir": "pip",
    "--data-binary": "curl",
    "--create-home": "useradd",
    "--uid": "useradd",
    "--rm": "docker",
    "--head": "ray start",
    "--dashboard-host": "ray start",
    "--generate": "ray get-auth-token",
    "--logdir": "TensorBoard",
    "--host": "TensorBoard",
    "--version": "added by Typer to the program itself",
    "--help": "added by Typer to every command",
    "--install-completion": "added by Typer",
    "--show-completion": "added by Typer",
}


def options_of(command: object) -> Iterator[str]:
    for parameter in getattr(command, "params", ()):
        yield from (*parameter.opts, *parameter.secondary_opts)
    for child in getattr(command, "commands", {}).values():
        yield from options_of(child)


def texts() -> Iterator[tuple[Path, str]]:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
    for path in [*(ROOT / "src").rglob("*.j2"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        if path.name != "log.md":  # history names the options of its day
            yield path, path.read_text(encoding="utf-8")


def test_every_flag_in_a_text_is_an_option() -> None:
    known = {*options_of(get_command(app)), *FOREIGN}
    assert {"--image-size", "--model", "--output"} <= known
    unknown = {
        (flag, str(path.relative_to(ROOT)))
        for path, text in texts()
        for flag in FLAG.findall(CSS.sub("", text))
        if flag not in known and not path.match("studio/launch.py")  # Streamlit's own options
    }
    assert not unknown
