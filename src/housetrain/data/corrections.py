"""Label corrections: what a person decided about single images, in a CSV file beside the images.

In: ``corrections.csv``, the images of a catalog. Out: `Corrections`; the images with their corrected labels. It does
not know why an image was looked at. The folder of images is never changed.

    path,sha256,given,corrected,who,when
    Cat/7.jpg,5f2c...,Cat,Dog,ann,2026-03-01T10:20:30Z
    Cat/9.jpg,77ab...,Cat,leave out,ann,2026-03-01T10:20:41Z

A decision is about an image's content: it holds for every copy of the file, under any name. ``corrected`` is a class,
``leave out``, or the given class where a person confirmed it; an empty cell is no decision. The last row about an image
counts, so that rows are only ever appended: an interruption loses none, and the file tells the whole story.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from housetrain.data.class_map import ClassMap
from housetrain.data.image_record import ImageRecord
from housetrain.errors import DecodeError, FolderError
from housetrain.system import store
from housetrain.system.csv_rows import read_rows, write_row
from housetrain.system.regular_files import read_bytes
from housetrain.system.text import format_count, format_list, natural_key

LEAVE_OUT = "leave out"
"""Stands for a class: the image is in no split."""

COLUMNS = ("path", "sha256", "given", "corrected", "who", "when")
MOST_BYTES = 64 << 20
"""Larger files are no corrections."""

_SEPARATORS = ",;\t"
_NAMED = 3  # images that fit a one-line message


class Decision(NamedTuple):
    """One row: what a person decided about an image.

    Attributes:
        path: Relative to the folder of images, with ``/``.
        sha256: Of the file's bytes, 64 hex digits; empty where a row names the path only.
        given: Its label when that was decided.
        corrected: A class, `LEAVE_OUT`, or ``""`` for no decision.
        who: The user.
        when: UTC, ISO 8601.
    """

    path: str
    sha256: str
    given: str
    corrected: str
    who: str = ""
    when: str = ""

    @classmethod
    def now(cls, path: str, sha256: str, given: str, corrected: str) -> Decision:
        """Return a decision of this user at this moment."""
        who = ""
        with contextlib.suppress(OSError, KeyError, ImportError):  # an account without a name
            who = getpass.getuser()
        return cls(path, sha256, given, corrected, who, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


class Corrected(NamedTuple):
    """Images with corrected labels.

    Attributes:
        images: In the order that was given.
        relabeled: Path -> the label before.
        left_out: Paths of the images to leave out.
        note: What was done and what could not be, in one line.
        stale: How many rows name no image, or one whose content has changed.
    """

    images: list[ImageRecord]
    relabeled: dict[str, str]
    left_out: tuple[str, ...]
    note: str
    stale: int


@dataclass(frozen=True)
class Corrections:
    """The decisions of a file, the last one about each image.

    Attributes:
        file: Where they are kept.
        by_content: sha256 -> decision.
        by_path: Path -> decision, of rows without a sha256.
    """

    file: Path
    by_content: dict[str, Decision] = field(default_factory=dict)
    by_path: dict[str, Decision] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path | str, *, missing_ok: bool = False) -> Corrections:
        """Read a file.

        Args:
            file: CSV with a header that names the columns ``corrected`` and ``sha256`` or ``path``; more may be there.
            missing_ok: Whether a file that does not exist is one without decisions.

        Raises:
            FolderError: It cannot be read, or is no such table.
        """
        path = Path(file)
        if missing_ok and not path.exists():
            return cls(path)
        header, _, rows = _table(path)
        place = {name: header.index(name) for name in COLUMNS if name in header}
        by_content: dict[str, Decision] = {}
        by_path: dict[str, Decision] = {}
        for row in rows:
            if len(row) < len(header) or [cell.strip().lower() for cell in row] == header:
                continue  # cut off by a crash; the header again, of two processes that began the file together
            cells = {name: row[index].strip() if name != "path" else row[index] for name, index in place.items()}
            one = Decision(**{"path": "", "sha256": "", "given": "", **cells})
            if not (one.sha256 or one.path):
                continue
            kept, key = (by_content, one.sha256.lower()) if one.sha256 else (by_path, one.path)
            if one.corrected:
                kept[key] = one
            elif one.when:  # an unanswered row of a list takes nothing back
                kept.pop(key, None)
        return cls(path, by_content, by_path)

    def of(self, path: str, sha256: str) -> Decision | None:
        """Return the decision about an image."""
        return self.by_content.get(sha256) or self.by_path.get(path)

    def __len__(self) -> int:
        return len(self.by_content) + len(self.by_path)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All that are in force."""
        return (*self.by_content.values(), *self.by_path.values())

    def apply(
        self, images: Sequence[ImageRecord], classes: Iterable[str], *, class_map: ClassMap | None = None
    ) -> Corrected:
        """Return images with corrected labels.

        Args:
            images: With the labels of the folder.
            classes: The names that a label may be corrected to.
            class_map: What the classes are called now; a corrected label may have the name before.

        Raises:
            FolderError: A label is corrected to a class that there is not; all are named.
        """
        known, names = set(classes), class_map or ClassMap()
        self.check(known, names)
        done, relabeled, left_out, confirmed = [], {}, [], 0
        for image in images:
            one = self.of(image.path, image.sha256)
            label = "" if one is None else one.corrected if one.corrected in known else names(one.corrected)
            if one is not None and one.corrected == LEAVE_OUT:
                left_out.append(image.path)
            elif label and label != image.label:
                relabeled[image.path] = image.label
                image = replace(image, label=label)
            elif label:
                confirmed += 1
            done.append(image)
        note, stale = self._note(images, len(relabeled), len(left_out), confirmed)
        return Corrected(done, relabeled, tuple(left_out), note, stale)

    def check(self, known: Set[str], class_map: ClassMap | None = None) -> None:
        """Raise `FolderError` where a label is corrected to a class that there is not; all are named."""
        class_map = class_map or ClassMap()
        problems: dict[str, list[str]] = {}
        if LEAVE_OUT in known:
            problems[f"a class is named {LEAVE_OUT!r}, which leaves an image out here"] = [LEAVE_OUT]
        for one in self.decisions:
            if one.corrected not in (*known, LEAVE_OUT) and class_map(one.corrected) not in known:
                problems.setdefault(f"there is no class {one.corrected!r}", []).append(one.path or one.sha256)
        if problems:
            listed = "; ".join(
                f"{problem} ({format_list(paths, limit=_NAMED)})" for problem, paths in list(problems.items())[:10]
            )
            raise FolderError(
                f"The corrections do not fit the images: {listed}",
                expected=format_list([*sorted(known, key=natural_key)[:10], LEAVE_OUT], limit=11, last="or"),
                do="correct the column corrected",
                corrections=str(self.file),
            )

    def _note(self, images: Sequence[ImageRecord], relabeled: int, left_out: int, confirmed: int) -> tuple[str, int]:
        contents, paths = {image.sha256 for image in images}, {image.path for image in images}
        gone = [
            one
            for one in self.decisions
            if one.sha256.lower() not in contents and (one.sha256 or one.path not in paths)
        ]
        changed = [one.path for one in gone if one.path in paths]
        absent = [one.path or one.sha256 for one in gone if one.path not in paths]
        parts = [f"{format_count(relabeled, 'image')} relabeled, {left_out:,} left out, {confirmed:,} confirmed"]
        if changed:
            said = "another file lies there now" if len(changed) == 1 else "other files lie there now"
            parts.append(f"{format_count(len(changed), 'row')} not used, {said}: {format_list(changed, limit=_NAMED)}")
        if absent:
            rows = format_count(len(absent), "row")
            parts.append(f"{rows} of images that are not here: {format_list(absent, limit=_NAMED)}")
        return f"{self.file.name}: {'; '.join(parts)}", len(gone)


def record(file: Path, decision: Decision) -> None:
    """Append a decision to a file, durably; the file is made if missing.

    Raises:
        FolderError: The file is no table of corrections.
        DiskFull: It cannot be written.
    """
    columns, separator, start = list(COLUMNS), ",", [COLUMNS]
    if file.exists() and file.stat().st_size:
        columns, separator, _ = _table(file)
        start = []
    cells = [getattr(decision, name) if name in COLUMNS else "" for name in columns]
    text = io.StringIO(newline="")
    for row in (*start, cells):
        write_row(text, row, separator=separator)
    store.append_bytes(file, text.getvalue().encode("utf-8", "surrogateescape"), before=_end_line)


def take_back(file: Path, decision: Decision, before: Decision | None) -> None:
    """Undo a decision: append what was decided about the image before, or that nothing is."""
    record(file, Decision.now(decision.path, decision.sha256, decision.given, before.corrected if before else ""))


def _end_line(handle: int) -> None:
    """End the last line, of an editor that does not; half a row, of a crash, then is a row of its own."""
    size = os.lseek(handle, 0, os.SEEK_END)
    if size:
        os.lseek(handle, size - 1, os.SEEK_SET)
        if os.read(handle, 1) != b"\n":
            os.write(handle, b"\n")


def _table(path: Path) -> tuple[list[str], str, list[list[str]]]:
    """Return the names of the columns, the separator and the rows of a file."""
    try:
        data = read_bytes(path)
    except DecodeError as error:
        raise FolderError(f"The corrections cannot be read: {error.reason}", corrections=str(path)) from None
    text = data.decode("utf-8-sig", "surrogateescape")
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    rows = [row for row in read_rows(io.StringIO(text, newline=""), separator) if any(row)]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if len(data) > MOST_BYTES or "corrected" not in header or not {"path", "sha256"} & set(header):
        raise FolderError(
            "This is no table of corrections",
            expected=f"CSV with the columns {','.join(COLUMNS)}, of at most 64 MB",
            do="keep the first line, which names the columns",
            corrections=str(path),
        )
    return header, separator, rows[1:]
