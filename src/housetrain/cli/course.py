"""The verbs to learn with: course (the tutorials, step by step) and lr-find. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from housetrain.cli.log_options import with_log
from housetrain.cli.options import Json, Model, Quiet, RecipeFile, Set, recipe_from, recipe_options, settings_from
from housetrain.errors import FolderError

app = typer.Typer()


@app.command(epilog="Examples:  housetrain course  ·  housetrain course s1-2 PetImages")
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
        raise FolderError("No folder of images is given", do=f"`housetrain course {chosen} PetImages`")
    page = run_part(
        chosen, folder, output or Path("course") / chosen, say=(lambda line: None) if quiet else terminal.out
    )
    terminal.out(f"Page     {page}")


_UNUSED = ("epochs", "learning_rate", "patience", "time_limit_s", "image_size", "color_mode", "resize", "balance")


@app.command("lr-find", epilog="Example:  housetrain lr-find prepared/PetImages-50x50-grayscale --model cnn --nodes 64")
@recipe_options(*_UNUSED, "views")
@with_log
def lr_find(
    prepared: Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")],
    *,
    model: Model = "cnn",
    flags: dict[str, Any],
    set_: Set = None,
    recipe: RecipeFile = None,
    output: Annotated[Path | None, typer.Option(help="The page; by default lr-find-MODEL.html.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find a learning rate: train a new model for up to 100 steps while the rate rises, and draw the loss."""
    import shlex
    from dataclasses import asdict

    from housetrain.cli import terminal
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.data.prepared import Prepared
    from housetrain.report.lr_page import write_lr_page
    from housetrain.report.plots.frame import short
    from housetrain.training.lr_find import lr_find as find

    chosen = recipe_from(recipe, model, {**flags, **settings_from(set_)})
    curve = find(Prepared.open(prepared), chosen, callbacks=callbacks_for(quiet=quiet))
    rate = short(f"{curve.suggested:.2g}")
    command = f"housetrain train {shlex.quote(str(prepared))} --model {chosen.model} --learning-rate {rate}"
    page = write_lr_page(output or Path(f"lr-find-{chosen.model}.html"), curve, title=chosen.name, command=command)
    if json_:
        terminal.print_json({"suggested": curve.suggested, "lowest": curve.lowest, "page": str(page), **asdict(curve)})
        return
    terminal.out(f"Learning rate {rate}; at {short(f'{curve.lowest:.2g}')} the loss is lowest, which is too high")
    terminal.out(f"Page     {page}")
    terminal.out(f"Next     {command}")
