"""The verbs about images: check, show, prepare, sample. See `housetrain.cli`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from housetrain.cli.label_options import Folder, source_of, with_label_options
from housetrain.cli.log_options import with_log
from housetrain.cli.options import (
    BALANCES,
    COLOR_MODES,
    RESIZES,
    Balance,
    ColorMode,
    ImageSize,
    Json,
    Quiet,
    Resize,
    Workers,
    one_of,
)
from housetrain.cli.progress_bar import callbacks_for
from housetrain.cli.split_options import GROUP_BY, split_options_from, with_split_options
from housetrain.system.events import Callbacks
from housetrain.system.text import file_name

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.prepared import Prepared
    from housetrain.data.split_manifest import LeftOut

app = typer.Typer()
_LISTED = 3  # images of a kind that are left out, by name


@app.command(
    epilog="Exit code:  0 no findings, 1 findings, 2 unusable.  Example:  housetrain check PetImages --csv findings.csv"
)
@with_label_options
@with_log
def check(
    folder: Folder = None,
    *,
    csv: Annotated[Path | None, typer.Option(help="Write one row per finding and image to this file.")] = None,
    catalog_: Annotated[
        Path | None,
        typer.Option("--catalog", help="Write the catalog of all images to this file (JSON)."),
    ] = None,
    group_by: GROUP_BY = None,
    label_options: dict[str, Any],
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find problems in the images: broken, duplicate, mislabeled or imbalanced. Changes nothing.

    Each finding comes with a recommendation.
    """
    import housetrain as ht
    from housetrain.cli import terminal
    from housetrain.data.findings import write_findings
    from housetrain.data.output import refuse_inside
    from housetrain.system import store

    folder, source = source_of(folder, label_options)
    for output in (csv, catalog_):
        if output is not None:
            refuse_inside(folder, output)
    catalog = ht.scan(folder, workers=workers, callbacks=callbacks_for(quiet=quiet), **source)
    findings, groups = _findings(catalog, group_by)
    if csv is not None:
        write_findings(findings, csv)
    if catalog_ is not None:
        store.write_json_atomic(catalog_, catalog.to_json())
    if json_:
        terminal.print_json(
            {
                "folder": str(catalog.root),
                "images": len(catalog.images),
                "usable": catalog.counts(),
                "ignored": catalog.ignored,
                "fingerprint": catalog.fingerprint,
                "findings": [asdict(finding) for finding in findings],
                "groups": groups,
            }
        )
    else:
        terminal.findings(catalog, findings)
        for line in groups:
            terminal.out(line)
    if findings:
        raise typer.Exit(1)


def _findings(catalog: Catalog, group_by: str | None) -> tuple[tuple[Finding, ...], list[str]]:
    """Return the findings, and what is to be said about groups, given or proposed."""
    import housetrain as ht
    from housetrain.data.group_proposals import without_proposals
    from housetrain.data.groups import groups_of
    from housetrain.data.split_findings import split_findings

    named = groups_of(catalog, group_by)
    findings, lines = without_proposals(ht.check(catalog), group_by), []
    if named is not None:
        manifest = ht.split(catalog, findings=findings, groups=named)
        findings = (*findings, *split_findings(manifest))
        lines.append(f"Groups: {named.describe(len(catalog.usable))}")
    asked = [named] if named else [] if group_by else [proposal.groups for proposal in catalog.group_proposals]
    for groups in asked:
        from housetrain.training.group_effect import group_effect

        if effect := group_effect(catalog, groups):
            lines.append(f"{effect.describe()} (--group-by {shlex.quote(groups.rule)})")
    return findings, lines


@app.command(
    epilog="Examples:  housetrain show PetImages --output sheet.png  ·  housetrain show PetImages/Cat/0.jpg  ·  "
    "housetrain show PetImages --augmented --model best"
)
@with_label_options
@with_log
def show(
    folder: Folder = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; by default FOLDER-sheet.png in the current folder.")
    ] = None,
    per_class: Annotated[int, typer.Option(help="Samples per class.", min=1, max=100)] = 8,
    sizes: Annotated[str, typer.Option(help="Model input sizes to show, in pixels.")] = "50,100",
    color_mode: ColorMode = "grayscale",
    seed: Annotated[int, typer.Option(help="Random seed of the samples.")] = 0,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Show samples as the augmentation of --model changes them.")
    ] = False,
    model: Annotated[str, typer.Option(help="With --augmented: the preset or pretrained model.")] = "best",
    label_options: dict[str, Any],
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Draw a contact sheet: samples of each class, as the original and as the model input.

    Of one image it also prints the shape and the pixels.
    """
    import housetrain as ht
    from housetrain.cli import terminal
    from housetrain.data.one_image import is_image, show_image
    from housetrain.data.output import refuse_inside
    from housetrain.errors import RecipeError

    folder, source = source_of(folder, label_options)
    mode: Any = one_of("color_mode", color_mode, COLOR_MODES)
    try:
        pixels = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise RecipeError("The sizes are not numbers", expected="pixels, such as 50,100", sizes=sizes) from None
    target = output or Path(f"{file_name(Path(os.path.realpath(folder)).name)}-sheet.png")
    if is_image(folder):
        for line in (*show_image(folder, target, sizes=pixels, color_mode=mode), str(target)):
            terminal.out(line)
        return
    refuse_inside(folder, target)
    catalog = ht.scan(folder, workers=workers, callbacks=callbacks_for(quiet=quiet), **source)
    if augmented:
        from housetrain.report.augmented_sheet import show_augmented

        drawn = show_augmented(catalog, target, ht.Recipe.of(model), per_class=min(per_class, 2), seed=seed)
    else:
        drawn = ht.show(catalog, target, per_class=per_class, sizes=pixels, color_mode=mode, seed=seed)
    terminal.out(str(drawn))


@app.command(epilog="Example:  housetrain prepare PetImages --image-size 50 --color-mode grayscale")
@with_label_options
@with_split_options
@with_log
def prepare(
    folder: Folder = None,
    *,
    image_size: ImageSize = 50,
    color_mode: ColorMode = "grayscale",
    resize: Resize = "stretch",
    output: Annotated[Path | None, typer.Option(help="Folder of the arrays; by default one in prepared/.")] = None,
    balance: Balance = "weights",
    split_options: dict[str, Any],
    label_options: dict[str, Any],
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode and resize all images once, into arrays split into train, validation and test.

    FOLDER may also be a .npz file of arrays, such as Keras' mnist.npz: x_train, y_train, x_test, y_test; or x and y.
    """
    import housetrain as ht
    from housetrain import workflow
    from housetrain.cli import terminal
    from housetrain.data.array_file import is_array_file
    from housetrain.data.output import refuse_inside
    from housetrain.data.prepare import default_prepared_folder

    folder, source = source_of(folder, label_options)
    if output is not None:
        refuse_inside(folder, output)
    spec = ht.InputSpec(
        height=image_size or 50,
        width=image_size or 50,
        color_mode=one_of("color_mode", color_mode, COLOR_MODES),
        resize=one_of("resize", resize, RESIZES),
    )
    callbacks = callbacks_for(quiet=quiet)
    if is_array_file(folder):
        prepared = arrays_from(folder, output, split_options_from(split_options))
        left_out = prepared.split.left_out
    else:
        _, _, manifest = workflow.look(
            folder, balance=one_of("balance", balance, BALANCES), workers=workers, callbacks=callbacks, prepared=output,
            label_options=source, **split_options_from(split_options),
        )  # fmt: skip
        target = output or default_prepared_folder(manifest.root, spec, manifest)
        prepared = ht.prepare(manifest, target, spec=spec, workers=workers, callbacks=callbacks)
        left_out = manifest.left_out  # arrays that are used again may be older than files that are left out
    if json_:
        terminal.print_json(
            {
                "prepared": str(prepared.folder),
                "fingerprint": prepared.fingerprint,
                "counts": prepared.split.counts(),
                "left_out": [asdict(row) for row in left_out],
            }
        )
    else:
        _note_left_out(left_out, Callbacks(callbacks))
        terminal.prepared(prepared)


def _note_left_out(left_out: Sequence[LeftOut], notes: Callbacks) -> None:
    """Note the images in no split: a few of a kind by name and reason, more in one line."""
    kinds: dict[str, list[LeftOut]] = {}
    for row in left_out:
        kinds.setdefault(row.reason.partition(":")[0], []).append(row)
    for kind, rows in kinds.items():
        if len(rows) <= _LISTED:
            for row in rows:
                notes.note(f"Left out: {row.path} ({row.reason})")
            continue
        named = ", ".join(row.path for row in rows[:_LISTED])
        notes.note(
            f"Left out: {len(rows):,} images ({kind}): {named} and {len(rows) - _LISTED:,} more; --json lists all"
        )


def arrays_from(file: Path, output: Path | None, options: dict[str, Any]) -> Prepared:
    """Return the prepared images of a ``.npz`` file."""
    from housetrain.data.array_file import arrays_of
    from housetrain.data.prepared import Prepared
    from housetrain.errors import RecipeError

    known = ("seed", "validation_split", "test_split", "classes")
    if other := [name for name in options if name not in known]:
        raise RecipeError("Arrays take no such option", expected=", ".join(known), options=", ".join(other))
    given: dict[str, Any] = arrays_of(file)
    train, test = given.pop("train"), given.pop("test", None)
    return Prepared.from_arrays(train, test, folder=output, **given, **options)


@app.command(epilog="Examples:  housetrain sample digits  ·  housetrain sample mnist --arrays")
@with_log
def sample(
    name: Annotated[str, typer.Argument(help="digits, fashion-mnist, mnist or cats-vs-dogs.", metavar="NAME")],
    dest: Annotated[
        Path | None,
        typer.Argument(
            help="Folder to create, or .npz file with --arrays; by default one of that name.",
            metavar="[DEST]",
            show_default=False,
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A folder that contains the files of the data set.")] = None,
    arrays: Annotated[
        bool, typer.Option("--arrays", help="One file of arrays, as keras.datasets gives them, and no image files.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Create a sample data set as class folders of images, or as arrays."""
    import housetrain as ht
    from housetrain.cli import terminal
    from housetrain.data.samples import FASHION_CLASSES

    target = dest or Path(f"{name}.npz" if arrays else name)
    made = ht.sample(name, target, source=source, arrays=arrays, callbacks=callbacks_for(quiet=quiet))
    if arrays:
        names = f" --classes {','.join(FASHION_CLASSES)}" if name == "fashion-mnist" else ""
        terminal.out(f"Arrays   {made}")
        terminal.out(f"Next     housetrain prepare {terminal.quoted(made)}{names}")
    else:
        terminal.out(f"Images   {made}")
        terminal.out(f"Next     housetrain run {terminal.quoted(made)}")
