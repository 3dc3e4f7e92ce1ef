"""The options ``--verbose`` and ``--log-file`` of every verb that reports its progress.

In: a verb. Out: the same verb with the two options; its log is kept while it works. It does not know what a log holds:
see `housetrain.cli.event_log`, which is imported only where one of the options is given.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Also show when each stage begins and ends; every message with its time."),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        help="Append every event to this text file, one line with its time each; also with --quiet.", metavar="FILE"
    ),
]
_IMAGES = ("folder", "train_dir", "validation_dir", "test_dir", "images")


def with_log(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of a log. The log is open before the work starts and closed when it has ended."""

    @functools.wraps(verb)
    def called(**values: Any) -> None:
        verbose, file = values.pop("verbose"), values.pop("log_file")
        if not verbose and file is None:
            verb(**values)
            return
        from housetrain.cli.event_log import logged
        from housetrain.data.output import refuse_inside
        from housetrain.errors import RecipeError

        if verbose and values.get("quiet"):
            raise RecipeError("The options --quiet and --verbose contradict each other", do="omit one of them")
        for folder in _folders(values) if file is not None else ():
            refuse_inside(folder, file)
        with logged(file, verbose=verbose):
            verb(**values)

    own = list(inspect.signature(verb, eval_str=True).parameters.values())
    for name, option, default in (("verbose", Verbose, False), ("log_file", LogFile, None)):
        own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option))
    called.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in own}
    return called


def _folders(values: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders of images that a verb was given."""
    labels = values.get("label_options", {})  # --train-dir and others
    for name in _IMAGES:
        given = values.get(name, labels.get(name))
        for one in given if isinstance(given, list) else [given]:
            if one is not None and Path(one).is_dir():
                yield Path(one)
