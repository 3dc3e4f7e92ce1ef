"""A run -> the prepared images it was trained on, wherever they are now.

In: a `Run`. Out: a `Prepared` with the fingerprint that the run recorded. It does not know models.

A project folder is renamed, copied to a laptop, mounted elsewhere. So the recorded folder is only the first place to
look: arrays are recognized by their fingerprint, and searched for beside the run and below the working folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from housetrain.errors import IncompleteError

if TYPE_CHECKING:
    from housetrain.data.prepared import Prepared
    from housetrain.training.run import Run

_LEVELS = 4  # folders above the run in which arrays are searched for


def prepared_of(run: Run) -> Prepared:
    """Return the prepared images that a run was trained on.

    Raises:
        IncompleteError: They are neither where the run recorded them, nor beside it, nor in ``prepared/``.
        CorruptError: They were changed.
    """
    from housetrain.data.prepared import Prepared
    from housetrain.data.prepared_folder import read_manifest

    recorded, fingerprint = run.input_json.get("prepared"), run.input_json.get("data")
    for folder in _places(run, recorded):
        try:
            if fingerprint in (None, read_manifest(folder)["fingerprint"]):
                return Prepared.open(folder)
        except IncompleteError:
            continue  # none here: the next place
    raise IncompleteError(
        "The prepared images of the run are not found",
        expected=f"the folder {recorded}, or one with the same images beside the run or in prepared/",
        do="prepare the same folder with the same settings here, or name it: --prepared FOLDER",
        run=str(run.folder),
    )


def _places(run: Run, recorded: str | None) -> Iterator[Path]:
    """Yield folders that may hold the arrays, the likeliest first."""
    folder = run.folder.absolute()
    tops = [*folder.parents[:_LEVELS], Path.cwd()]
    if recorded:
        yield Path(recorded)
        parts = Path(recorded).parts
        yield from (top.joinpath(*parts[-count:]) for top in tops for count in (2, 1))
    for top in tops:
        try:
            yield from sorted(path.parent for path in (top / "prepared").glob("*/prepared.json"))
        except OSError:  # a folder that may not be listed
            continue
