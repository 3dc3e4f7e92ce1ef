"""The verb `labels`: labels that are probably wrong, and a corrected copy. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housetrain.cli.label_options import CorrectionsOption
from housetrain.cli.log_options import with_log
from housetrain.cli.options import Json, Quiet, Workers
from housetrain.cli.waiting import waiting

app = typer.Typer()


@app.command(
    epilog="Examples:  housetrain labels runs/PetImages --csv issues.csv  ·  housetrain labels runs/PetImages "
    "--corrections corrections.csv --export PetImages-corrected"
)
@with_log
def labels(
    source: Annotated[
        Path, typer.Argument(help="A run folder, or a folder that `housetrain prepare` made.", metavar="RUN|PREPARED")
    ],
    *,
    corrections: CorrectionsOption = None,
    most: Annotated[int, typer.Option(help="Number of images to list here; files hold all.", min=1)] = 20,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write one row per image to this file; filled in, it is a file for --corrections."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Draw the images as a contact sheet into this PNG file.")] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="With --corrections: write a corrected copy of the images into this folder, by hard links where "
            "possible; nothing else is done.",
            metavar="FOLDER",
        ),
    ] = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find labels that are probably wrong, and rank them. Changes nothing, and never looks at the test images.

    Confident learning on pretrained features, out of fold. The studio shows one after another, to keep, relabel or
    leave out; `prepare` and `run` respect the decisions with --corrections.
    """
    import housetrain as ht
    from housetrain.cli import terminal
    from housetrain.cli.progress_bar import callbacks_for
    from housetrain.errors import RecipeError
    from housetrain.evaluation.label_issues import opened
    from housetrain.report.labels_page import write_label_sheet, write_labels_page

    callbacks = callbacks_for(quiet=quiet)
    prepared, run = opened(source)
    if export is not None:
        if corrections is None:
            raise RecipeError(
                "There is nothing to correct in the copy", do="add --corrections FILE", export=str(export)
            )
        from housetrain.evaluation.label_export import export_corrected

        made = export_corrected(prepared, corrections, export, callbacks=callbacks)
        return terminal.exported_copy(made, as_json=json_)
    with waiting("Comparing the labels with features of the images", quiet=quiet):
        found = ht.labels(run or prepared, corrections=corrections, workers=workers, callbacks=callbacks)
    page = write_labels_page(found, prepared)
    if csv is not None:
        found.write_csv(csv)
    if sheet is not None and found.issues:
        write_label_sheet(found, sheet)
    if json_:
        return terminal.print_json({**found.to_json(), "page": str(page)})
    terminal.label_issues(found, most)
    terminal.out(f"Page     {terminal.here(page)}")
    return terminal.out(f"Next     housetrain studio {terminal.quoted(terminal.here(found.root))}")
