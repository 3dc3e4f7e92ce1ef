"""The options for the source of labels, shared by every verb that reads a folder of images.

In: what was typed. Out: a folder and the keyword arguments of `housetrain.scan`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from housetrain.cli.options import with_options
from housetrain.data.label_source import LabelOptions, parse_class_level
from housetrain.errors import FolderError

ClassMapOption = Annotated[
    Path | None,
    typer.Option(
        "--map",
        help="Rename, merge or drop classes: CSV or JSON of from,to; an empty to drops the class.",
        metavar="FILE",
    ),
]

CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        "--corrections",
        help="Corrected labels and images to leave out: CSV of path,sha256,given,corrected, such as the studio writes.",
        metavar="FILE",
    ),
]

LABEL_OPTIONS: dict[str, Any] = {
    "labels": Annotated[
        str | None,
        typer.Option(
            help="Table of labels: CSV, TSV, JSON, JSON lines, MATLAB or NumPy. FILE:order: one label an image, in the "
            "order of their names.",
            metavar="FILE[:PATH_COLUMN,LABEL_COLUMN]",
        ),
    ],
    "label_from_name": Annotated[
        str | None,
        typer.Option(
            help="Class from each file name: an expression with one group, '^(.+?)[._-]' for cat.0.jpg.",
            metavar="REGEX",
        ),
    ],
    "threshold": Annotated[
        float | None, typer.Option(help="Two classes of a numeric label column: above this value, and up to it.")
    ],
    "class_level": Annotated[
        str | None,
        typer.Option(
            help="Level of nested class folders that is the class; by default 1. leaf: each folder of images; name: "
            "likewise, folders of one name together.",
            metavar="1|2|...|leaf|name",
        ),
    ],
    "train_dir": Annotated[Path | None, typer.Option(help="Folder of training images, instead of FOLDER.")],
    "validation_dir": Annotated[Path | None, typer.Option(help="Separate folder of class folders for validation.")],
    "test_dir": Annotated[Path | None, typer.Option(help="Separate folder of class folders for the test.")],
    "keep_companions": Annotated[
        bool | None,
        typer.Option("--keep-masks", help="Also use files that look like masks or thumbnails of other images."),
    ],
    "class_map": ClassMapOption,
    "corrections": CorrectionsOption,
}
"""Keyword argument of `housetrain.scan` (and ``train_dir``) -> its option."""

Folder = Annotated[
    Path | None,
    typer.Argument(help="A folder with one subfolder of images per class.", metavar="FOLDER"),
]
with_label_options = with_options("label_options", LABEL_OPTIONS)
"""Replaces a verb's parameter ``label_options`` by the options of `LABEL_OPTIONS`."""


def source_of(folder: Path | None, given: dict[str, Any]) -> tuple[Path, LabelOptions]:
    """Return the folder of images and the keyword arguments of `housetrain.scan`."""
    options = dict(given)
    train = options.pop("train_dir", None)
    if folder is None and train is None:
        raise FolderError("No folder of images is given", expected="FOLDER, such as PetImages, or --train-dir")
    if folder is not None and train is not None:
        raise FolderError(
            "FOLDER and --train-dir are both given", expected="one of them", FOLDER=str(folder), train_dir=str(train)
        )
    return folder or train, parsed(options)


def parsed(given: dict[str, Any]) -> LabelOptions:
    """Return the keyword arguments of `housetrain.scan`."""
    options = dict(given)
    if "class_level" in options:
        options["class_level"] = parse_class_level(options["class_level"])
    return cast(LabelOptions, options)
