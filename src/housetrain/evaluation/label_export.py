"""A corrected copy of a folder: its images by hard links, each in the folder of its corrected class.

In: prepared images, decisions about them. Out: ``FOLDER/<class>/<image>``, with ``train``, ``validation`` and ``test``
above the classes where the folder was split that way. The source folder stays as it is. A link is the file itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from housetrain.data.corrections import LEAVE_OUT, Corrections
from housetrain.data.output import refuse_inside
from housetrain.data.prepared import Prepared
from housetrain.errors import FolderError
from housetrain.inference.sort_into import Sorter
from housetrain.system.events import Callback, Callbacks


class ExportedCopy(NamedTuple):
    """What an export made.

    Attributes:
        folder: The new folder.
        linked: Hard links.
        copied: Copies, where a link is not possible.
        relabeled: Images in the folder of another class than before.
        left_out: Images that a decision leaves out.
    """

    folder: Path
    linked: int
    copied: int
    relabeled: int
    left_out: int


def export_corrected(
    prepared: Prepared, corrections: Path | str, folder: Path | str, *, callbacks: Sequence[Callback] = ()
) -> ExportedCopy:
    """Write a corrected copy of the images of a split. Those that the split leaves out (broken, copies) are not in it.

    Args:
        prepared: The images, of a folder.
        corrections: The file of decisions.
        folder: Where to write: new or empty, or a copy that is completed.
        callbacks: Receive the progress of the stage ``export``.

    Raises:
        FolderError: The images came from arrays, are not where they were, or the corrections do not fit them.
        StoreError: Something is in the way.
    """
    split, target = prepared.split, Path(folder)
    if split.options.get("arrays") or not split.root.is_dir():
        raise FolderError(
            "The folder of images is not there, so there is nothing to link", expected="the folder that was prepared",
            folder=str(split.root),
        )  # fmt: skip
    for source in split.source_folders:
        refuse_inside(source, target)
    known = Corrections.read(corrections)
    known.check(set(prepared.classes))
    ready_made = bool(split.options.get("ready_made"))
    sorters = {
        name: Sorter(target / name if ready_made else target, prepared.classes)
        for name in ("train", "validation", "test")
    }
    relabeled = left_out = 0
    events = Callbacks(callbacks)
    with events.stage("export", total=len(split.rows)):
        for number, row in enumerate(split.rows, 1):
            one = known.of(row.path, row.sha256)
            label = row.label if one is None else one.corrected
            if label == LEAVE_OUT:
                left_out += 1
            else:
                relabeled += label != row.label
                sorters[row.split].put(split.root / row.path, label)
            events.count("export", number, len(split.rows))
    made = sorters.values()
    return ExportedCopy(target, sum(one.linked for one in made), sum(one.copied for one in made), relabeled, left_out)
