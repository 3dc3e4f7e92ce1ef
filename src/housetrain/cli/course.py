"""The verb `course`: the tutorials, step by step, on one's own images. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.options import Quiet

app = typer.Typer()


@app.command(
    epilog="Examples:  housetrain course  ·  housetrain course s1-2 PetImages  (s0, s1-1, s1-2, s1-3, s2, s3 or s4)"
)
def course(
    part: Annotated[
        str | None, typer.Argument(help="A part; without one, they are listed.", metavar="[PART]", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(help="A folder with one subfolder of images per class.", metavar="[FOLDER]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where runs and the page are written; by default course/PART.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run a part of the course on your images: the tutorials, step by step, with a page of what came out.

    Rerun the same command to resume.
    """
    from housetrain.cli import terminal
    from housetrain.course.parts import PARTS
    from housetrain.course.parts import part as read_part
    from housetrain.course.run import run_part

    if part is None:
        for name in PARTS:
            terminal.out(f"{name:<6} {read_part(name).title}")
        terminal.out("Next     housetrain course s1-1 PetImages")
        return
    chosen = read_part(part).name
    if folder is None:
        raise typer.BadParameter("Name a folder of images, such as: housetrain course s1-1 PetImages")
    page = run_part(
        chosen, folder, output or Path("course") / chosen, say=(lambda line: None) if quiet else terminal.out
    )
    terminal.out(f"Page     {page}")
