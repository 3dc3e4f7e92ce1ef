"""The option ``--track`` of the verbs that train.

In: what was typed. Out: the callbacks of a command, the tracker among them. It does not know what is tracked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from housetrain.cli.progress_bar import callbacks_for
from housetrain.system.events import Callback, Callbacks

if TYPE_CHECKING:
    from housetrain.report.mlflow_tracker import MlflowTracker

Track = Annotated[
    str | None,
    typer.Option(
        help="Also log settings, metrics and results to MLflow: a server, or by default $MLFLOW_TRACKING_URI, else "
        "the folder mlruns.",
        metavar="mlflow[:URI]",
    ),
]


@contextmanager
def followed(track: str | None, *, quiet: bool) -> Iterator[tuple[list[Callback], MlflowTracker | None]]:
    """Yield the callbacks of a command, and the tracker if one was asked for.

    Raises:
        RecipeError: Another kind of tracker.
        MissingExtra: Its library is not installed.
    """
    callbacks = callbacks_for(quiet=quiet)
    if track is None:
        yield callbacks, None
        return
    from housetrain.report.mlflow_tracker import tracker_of

    with tracker_of(track, note=Callbacks(callbacks).note) as tracker:
        yield [*callbacks, tracker], tracker
