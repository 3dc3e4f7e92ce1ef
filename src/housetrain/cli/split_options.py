"""The options of the train/validation/test split, shared by every verb that splits a folder of images.

In: what was typed. Out: the keyword arguments of `housetrain.split`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from housetrain.cli.options import one_of, with_options

KEEPS = ("near", "exact", "none")
GROUP_BY = Annotated[
    str | None,
    typer.Option(
        help="Images that belong together, such as those of one animal, patient, plate or burst, stay in one of train, "
        "validation and test: by their folder, by a part of their path, by a column of a table, by time.",
        metavar="parent|REGEX|CSV:COLUMN|exif-burst[:SECONDS]|near-duplicates",
    ),
]
SPLIT_OPTIONS: dict[str, Any] = {
    "split_seed": Annotated[
        int | None, typer.Option(help="Random seed of the train/validation/test split; by default 0.")
    ],
    "validation_split": Annotated[
        float | None, typer.Option(help="Fraction of the images used for validation; by default 0.15.", min=0, max=0.9)
    ],
    "test_split": Annotated[
        float | None,
        typer.Option(
            help="Fraction of the images held out for the test; by default 0.15. 0: validation only.", min=0, max=0.9
        ),
    ],
    "test_per_class": Annotated[
        int | None, typer.Option(help="Hold out exactly this many test images per class instead.", min=1)
    ],
    "keep_duplicates_together": Annotated[
        str | None,
        typer.Option(
            help="Which images are never divided between train, validation and test: near-duplicates (the default), "
            "exact ones, or none.",
            metavar="near|exact|none",
        ),
    ],
    "group_by": GROUP_BY,
    "classes": Annotated[
        str | None,
        typer.Option(
            help="All classes in the order of their numbers: Dog,Cat makes Dog 0 and Cat 1. By default alphabetical.",
            metavar="NAME,NAME,...",
        ),
    ],
}
"""Keyword argument of `housetrain.split` (``split_seed`` is ``seed``, ``group_by`` is ``groups``) -> its option."""
with_split_options = with_options("split_options", SPLIT_OPTIONS)
"""Replaces a verb's parameter ``split_options`` by the options of `SPLIT_OPTIONS`."""


def split_options_from(given: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of `housetrain.split` that were typed."""
    names = {"split_seed": "seed", "group_by": "groups"}
    options = {names.get(name, name): value for name, value in given.items()}
    if "keep_duplicates_together" in options:
        one_of("keep_duplicates_together", options["keep_duplicates_together"], KEEPS)
    if "classes" in options:
        options["classes"] = [name.strip() for name in options["classes"].split(",")]
    return options
