"""The verbs about this machine: board, studio, doctor. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.options import Json

app = typer.Typer()


@app.command(epilog="Example:  housetrain board runs")
def board(
    runs: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs.", metavar="RUNS")],
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 6006,
) -> None:
    """Start TensorBoard on this machine only (127.0.0.1)."""
    from housetrain.training.board import board as open_board

    open_board(runs, port=port)


@app.command(epilog="Examples:  housetrain studio PetImages  ·  housetrain studio --data-root ~/Images --no-browser")
def studio(
    folder: Annotated[Path | None, typer.Argument(help="The folder of images to open.", metavar="[FOLDER]")] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Root of the folders that the page may open; by default the current folder."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on. Any other than 127.0.0.1 requires HOUSETRAIN_STUDIO_PASSWORD.")
    ] = "127.0.0.1",
    origin: Annotated[
        str | None, typer.Option(help="URL of the page behind a proxy, such as https://hub.example/studio.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Start the studio: the whole workflow on a web page, on this machine only.

    Uses the current folder, like the other commands, and shows their results. Closing it does not stop a training.
    """
    from housetrain.studio.launch import launch

    launch(folder, data_root=data_root, address=address, port=port, browser=not no_browser, origin=origin)


@app.command(epilog="Example:  housetrain doctor --json")
def doctor(json_: Json = False) -> None:
    """Check this machine: versions, hardware, and anything that will be slow or fail. Exit code 1 on errors."""
    from housetrain.cli import terminal
    from housetrain.diagnosis import doctor as diagnose

    diagnosis = diagnose()
    if json_:
        terminal.print_json(diagnosis.to_json())
    else:
        terminal.diagnosis(diagnosis)
    if any(remark.severity == "error" for remark in diagnosis.remarks):
        raise typer.Exit(1)
