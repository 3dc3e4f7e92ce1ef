"""What a folder of images holds, as a value: its files with their labels and splits, and what is to be said about it.

In: what `housetrain.data.class_folders` finds. Out: a `Tree`, with classes renamed where a map or a terminal asks for
it. It lists no folder.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from housetrain.data.class_map import ClassMap
from housetrain.data.image_record import FileStamp
from housetrain.system.text import format_list, natural_key, without_controls

DROPPED = "images of dropped classes"


class Entry(NamedTuple):
    """One file: its path relative to the root, class and ready-made split. ``problem`` is ``""`` for a regular file."""

    path: str
    label: str
    split: str | None
    stamp: FileStamp = FileStamp()
    problem: str = ""


class LayoutNote(NamedTuple):
    """What is to be said about the layout of a folder: the kind of finding, one line, and what to do."""

    kind: str
    message: str
    do: str


@dataclass
class Tree:
    """What a folder holds.

    Args:
        entries: One per file, sorted by path.
        classes: Names of all class folders, sorted, empty ones included.
        ignored: What was passed over, by name or pattern, and how often.
        ready_made: Whether the top folders are splits.
        notes: What is to be said about the layout.
    """

    entries: list[Entry] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)
    ready_made: bool = False
    notes: list[LayoutNote] = field(default_factory=list)

    def name_classes(self) -> None:
        """Give every class a name that a terminal and a UTF-8 file can hold; paths stay what they are."""
        named = {label: without_controls(label) for label in {*self.classes, *(entry.label for entry in self.entries)}}
        if any(label != name for label, name in named.items()):
            self.entries = [entry._replace(label=named[entry.label]) for entry in self.entries]
            self.classes = tuple(sorted({named[label] for label in self.classes}, key=natural_key))

    def map_classes(self, names: ClassMap) -> None:
        """Rename, merge or drop classes, and note what that means here."""
        before = Counter(entry.label for entry in self.entries)
        self.entries = [entry._replace(label=to) for entry in self.entries if (to := names(entry.label))]
        if dropped := before.total() - len(self.entries):
            self.ignored[DROPPED] += dropped
        classes = {*self.classes, *before}
        self.classes = names.apply(classes)
        said = names.summary(sorted(classes & names.names.keys(), key=natural_key)) or "changes no class"
        absent = sorted(names.names.keys() - classes, key=natural_key)
        also = f"; it names {format_list(absent)}, which {'is' if len(absent) == 1 else 'are'} not here" * bool(absent)
        do = "check the spelling of the names that are not here" if absent else "nothing needs doing if that is meant"
        self.notes.append(LayoutNote("class-map", f"the map of classes: {said} ({dropped:,} images dropped){also}", do))
