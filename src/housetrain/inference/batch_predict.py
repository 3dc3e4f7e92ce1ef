"""Names for very many images, into a file that survives a kill.

In: a `Predictor`, images, and a ``.csv`` or ``.jsonl`` file to write. Out: that file, one row an image, in the order
of the images, and a `Tally`. It does not know how images are decoded or named, and keeps none of them.

While rows are missing, a small file ``NAME.unfinished`` lies beside the output. It says with which model the work was
begun; the same call then cuts a torn last row, keeps the others, and goes on with the images that have none.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import RunLocked, StoreError
from housetrain.inference.predictor import BATCH, Prediction, Predictor
from housetrain.system import files, store

Kind = Literal["csv", "jsonl"]
_FLUSH_S = 0.5  # rows wait for company at most so long
_SYNC_S = 5.0  # and for the disk: a power cut costs these seconds, a kill nothing


@dataclass(frozen=True)
class Tally:
    """What came of a call.

    Attributes:
        path: The file.
        rows: Rows in it now.
        kept: How many of them were there before.
        failed: Images of this call that could not be read; their rows say why.
        seconds: What this call took.
    """

    path: Path
    rows: int
    kept: int
    failed: int
    seconds: float

    @property
    def images_per_s(self) -> float:
        """Images named a second by this call."""
        return (self.rows - self.kept) / self.seconds if self.seconds > 0 else 0.0

    def in_words(self) -> str:
        """Return one line for a person."""
        kept = f", {self.kept:,} of them before" if self.kept else ""
        failed = f", {self.failed:,} could not be read" if self.failed else ""
        return f"{self.rows:,} images in {self.path}{kept}{failed} ({self.images_per_s:,.0f} images/s)"


def predict_into(
    path: Path,
    predictor: Predictor,
    sources: Iterable[Path | str],
    *,
    kind: Kind = "csv",
    top: int = 1,
    batch_size: int = BATCH,
    workers: int | None = None,
    each: Callable[[Prediction], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Name images into a file, or go on with a call that was interrupted.

    Memory stays flat: 8 bytes are kept for each row that was there before, and nothing for a new one. A file that was
    finished is written anew.

    Args:
        path: The file.
        predictor: Names the images.
        sources: Paths; any iterable. A path that comes twice is named twice.
        kind: ``"csv"``, or ``"jsonl"`` for one JSON object a line.
        top: List this many classes a row, 1 or more.
        batch_size: Images a step, 1 or more.
        workers: Decoding processes; all cores by default.
        each: Called with every new prediction, in order.
        progress: Called with the number of rows so far.

    Raises:
        StoreError: The file was begun with another model or other columns.
        RunLocked: Another process is writing it.
        DiskFull: It cannot be written; the rows written so far are kept.
    """
    form = _Rows(kind, top)
    begun = {"format": 1, "kind": form.kind, "top": top, "model": _identity(predictor)}
    begin = synced = flushed = time.monotonic()
    failed = new = 0
    with store.disk_errors(path), _opened(path, begun, form) as (file, done):
        waiting = bytearray()
        kept = len(done)
        try:
            answers = predictor.predict_many(
                _without(sources, done, own=path), batch_size=batch_size, workers=workers, top=max(top, 1)
            )
            with contextlib.closing(cast("Any", answers)):
                for one in answers:
                    waiting += form.encode(one)
                    new += 1
                    failed += one.error is not None
                    if each is not None:
                        each(one)
                    now = time.monotonic()
                    if now - flushed > _FLUSH_S or len(waiting) > 1 << 20:
                        _append(file, waiting)
                        flushed = now
                        if progress is not None:
                            progress(kept + new)
                        if now - synced > _SYNC_S:
                            os.fsync(file.fileno())
                            synced = now
        finally:  # also after Ctrl-C: what is named is kept
            _append(file, waiting)
        os.fsync(file.fileno())
    _marker(path).unlink(missing_ok=True)
    files.fsync_folder(path.absolute().parent)
    return Tally(path, kept + new, kept, failed, time.monotonic() - begin)


class _Rows:
    """How predictions are written, and read back to see which images have one."""

    def __init__(self, kind: Kind, top: int) -> None:
        self.kind, self.top = kind, top

    @property
    def header(self) -> bytes:
        if self.kind == "jsonl":
            return b""
        more = [f"{name}_{place}" for place in range(2, self.top + 1) for name in ("label", "probability")]
        return self._line(["image", "label", "probability", "margin", "unsure", "seen_in_training", "error", *more])

    def encode(self, one: Prediction) -> bytes:
        if self.kind == "jsonl":
            return (json.dumps(one.to_json()) + "\n").encode("ascii")
        known = one.error is None
        cells = [
            one.source,
            one.label,
            f"{one.probability:.6f}" if known else "",
            f"{one.margin:.6f}" if known else "",
            ("yes" if one.unsure else "no") if known else "",
            one.seen or "",
            one.error or "",
        ]
        for place in range(1, self.top):
            listed = one.top[place : place + 1]
            cells += [listed[0][0], f"{listed[0][1]:.6f}"] if listed else ["", ""]
        return self._line(cells)

    def sources(self, rows: Iterator[bytes]) -> Iterator[str]:
        """Yield the image of each whole row; the header is none."""
        if self.kind == "jsonl":
            for row in rows:
                yield str(json.loads(row)["source"])
            return
        next(rows, None)
        for row in rows:
            yield next(csv.reader(io.StringIO(row.decode("utf-8", "surrogateescape"), newline="")))[0]

    def _line(self, cells: list[str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode("utf-8", "surrogateescape")


def _identity(predictor: Predictor) -> str:
    about = predictor.about
    known = [
        about.get("run"),
        about.get("weights"),
        about.get("engine"),
        list(predictor.classes),
        predictor.spec.to_json(),
    ]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished")


@contextlib.contextmanager
def _opened(path: Path, begun: dict[str, Any], form: _Rows) -> Iterator[tuple[BinaryIO, NDArray[np.uint64]]]:
    """Yield the file, ready to be appended to, and the sorted keys of the images that have a row."""
    if path.is_dir():
        raise StoreError("This is a folder", expected="a file to write", path=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    marker = _marker(path)
    with path.open("a+b", buffering=0) as raw:
        file = cast("BinaryIO", raw)
        _lock(file, path)
        if not marker.exists():  # nothing there, or a finished table: begin
            file.truncate(0)
            store.write_json_atomic(marker, begun)
        elif store.read_json(marker) != begun:
            raise StoreError(
                "This file was begun with another model or other options",
                do=f"use the same ones to go on, or remove {marker.name} to begin anew",
                path=str(path),
            )
        keys = np.fromiter((_key(name) for name in form.sources(_whole_rows(file))), np.uint64)
        if file.seek(0, os.SEEK_END) == 0:
            file.write(form.header)
        keys.sort()
        yield file, keys


def _whole_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield every whole row; what a kill left of the last one is cut off. A quoted name may hold line ends."""
    file.seek(0)
    end, quotes, row = 0, 0, bytearray()
    reader = io.BufferedReader(cast("io.RawIOBase", file), 1 << 20)
    try:
        for line in reader:
            row += line
            quotes += line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:
                end += len(row)
                yield bytes(row)
                quotes = 0
                row.clear()
    finally:
        reader.detach()
    if row:
        file.truncate(end)


def _without(sources: Iterable[Path | str], done: NDArray[np.uint64], *, own: Path) -> Iterator[str]:
    """Yield the images without a row; the table itself, where it lies among them, is none."""
    tables = {os.path.realpath(own), os.path.realpath(_marker(own))}
    for source in sources:
        name = str(source)
        if own.name in name and os.path.realpath(name) in tables:
            continue
        if len(done):
            key = np.uint64(_key(name))
            place = int(np.searchsorted(done, key))
            if place < len(done) and done[place] == key:
                continue
        yield name


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _append(file: BinaryIO, rows: bytearray) -> None:
    while rows:
        del rows[: file.write(rows)]


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system; two processes at once would mix their rows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunLocked(
            "Another process is writing into this file", do="wait for it, or choose another file", path=str(path)
        ) from error
