"""The verbs that open something on this machine, or look at it: board, studio, doctor. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.options import (
    Json,
)

app = typer.Typer()


@app.command(epilog="Example:  housetrain board runs")
def board(
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs.", metavar="RUNS")],
    port: Annotated[int, typer.Option(help="Port on this machine.", min=0, max=65535)] = 6006,
) -> None:
    """Open TensorBoard on this machine only (127.0.0.1)."""
    from housetrain.training.tensorboard import board as open_board

    open_board(runs, port=port)


@app.command(epilog="Examples:  housetrain studio PetImages  ·  housetrain studio --data-root ~/Images --no-browser")
def studio(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of class folders to begin with.", metavar="[FOLDER]")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="Folders are chosen below this one, and nowhere else; by default the current folder.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Another than this machine's own needs HOUSETRAIN_STUDIO_PASSWORD.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Open the studio: the whole job on a web page, on this machine only.

    It works in the current folder, as the other commands do, and shows what they do. Closing it stops no training.
    """
    from housetrain.studio.launch import launch

    launch(folder, data_root=data_root, address=address, port=port, browser=not no_browser)


@app.command(epilog="Example:  housetrain doctor --json")
def doctor(json_: Json = False) -> None:
    """Say what on this machine will be slow or fail."""
    from housetrain.cli import terminal
    from housetrain.diagnosis import diagnose

    diagnosis = diagnose()
    if json_:
        terminal.print_json(diagnosis.to_json())
    else:
        terminal.diagnosis(diagnosis)
    if any(remark.severity == "error" for remark in diagnosis.remarks):
        raise typer.Exit(1)
