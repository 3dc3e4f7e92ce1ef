"""The options for the source of labels, shared by every verb that reads a folder of images.

In: a verb with the parameters ``folder`` and ``label_options``. Out: the same verb with the options of `LABEL_OPTIONS`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from housetrain.data.label_source import LabelOptions, parse_class_level

LABEL_OPTIONS: dict[str, Any] = {
    "labels": Annotated[
        str | None,
        typer.Option(help="Table of labels: CSV, TSV, JSON or JSON lines.", metavar="FILE[:PATH_COLUMN,LABEL_COLUMN]"),
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
        typer.Option(help="Level of nested class folders that is the class; by default 1.", metavar="1|2|...|leaf"),
    ],
    "train_dir": Annotated[Path | None, typer.Option(help="Folder of training images, instead of FOLDER.")],
    "validation_dir": Annotated[Path | None, typer.Option(help="Separate folder of class folders for validation.")],
    "keep_companions": Annotated[
        bool, typer.Option("--keep-masks", help="Use files that look like masks or thumbnails of other images.")
    ],
    "test_dir": Annotated[Path | None, typer.Option(help="Separate folder of class folders for the test.")],
}
"""Keyword argument of `housetrain.scan` (and ``train_dir``) -> its option."""

_FOLDER = Annotated[
    Path | None,
    typer.Argument(help="A folder with one subfolder of images per class. Never changed.", metavar="FOLDER"),
]


def with_label_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace a verb's parameters ``folder`` and ``label_options`` by FOLDER and the options of `LABEL_OPTIONS`."""

    @functools.wraps(verb)
    def called(**values: Any) -> None:
        folder, given = values.pop("folder"), {name: values.pop(name) for name in LABEL_OPTIONS}
        train = given.pop("train_dir")
        if (folder is None) == (train is None):
            raise typer.BadParameter("Give either FOLDER or --train-dir.")
        given["class_level"] = parse_class_level(given["class_level"])
        verb(folder=folder or train, label_options=cast(LabelOptions, given), **values)

    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(verb, eval_str=True).parameters.values():
        if own.name == "folder":
            parameters.append(
                own.replace(annotation=_FOLDER, default=None, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
            )
        elif own.name != "label_options":
            parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if name == "keep_companions" else None,
            annotation=option,
        )
        for name, option in LABEL_OPTIONS.items()
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called
