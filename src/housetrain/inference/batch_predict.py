"""Batch prediction: one row per image in a CSV or JSON-lines file, resumable after a kill.

In: a `Classifier` (a `Predictor`), images, and the file to write. Out: that file, rows in the order of the images,
and a `BatchResult`. Does not know: how images are decoded or classified; it keeps none of them.

Until the file is complete, ``NAME.unfinished`` beside it records which model and options it was started with. The same
call then cuts an incomplete last row and continues with the images that have no row.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import StoreError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.counts import Counts
from housetrain.inference.inputs import Listing
from housetrain.inference.prediction import Prediction
from housetrain.inference.predictor import BATCH
from housetrain.inference.vote import predict_sequences
from housetrain.system import files, store
from housetrain.system.csv_rows import read_rows, write_row
from housetrain.system.events import Callback, Callbacks
from housetrain.system.lock import Lock
from housetrain.system.text import format_count

Kind = Literal["csv", "jsonl"]
_COLUMNS = (
    "image", "label", "probability", "margin", "unsure", "novel", "seen_in_training", "error",
    "RelativePath", "File",  # by these two Timelapse finds the image, folders with backslashes
)  # fmt: skip
_FLUSH_S = 0.5  # rows are buffered for at most this long
_SYNC_S = 5.0  # a power failure costs these seconds, a kill nothing


class Classifier(Protocol):
    """What classifies many images: a `Predictor`, or the client of a server.

    Attributes:
        spec: The model's input.
        classes: Class names.
        about: What is known of the model.
    """

    spec: InputSpec
    classes: tuple[str, ...]
    about: dict[str, Any]

    def predict_many(
        self, images: Iterable[Any], *, batch_size: int, workers: int | None, top: int | None
    ) -> Iterator[Prediction]:
        """Yield a prediction for each image, in order. See `Predictor.predict_many`."""
        ...


@dataclass(frozen=True)
class BatchResult:
    """The result of a batch prediction.

    Attributes:
        path: The file, or its address.
        rows: Rows it holds.
        kept: How many of them an earlier call wrote.
        failed: Images of this call that could not be read; their rows hold the reason.
        seconds: Duration of this call.
        counts: Class -> rows with this label, the unsure ones included, most first.
        unsure: Rows that are unsure.
        novel: Rows of images that are unlike the training images.
    """

    path: Path | str
    rows: int
    kept: int
    failed: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    unsure: int = 0
    novel: int = 0

    @property
    def images_per_s(self) -> float:
        """Images per second of this call."""
        return (self.rows - self.kept) / self.seconds if self.seconds > 0 else 0.0

    def summary(self) -> str:
        """Return one line for people."""
        kept = f", {self.kept:,} from an earlier call" if self.kept else ""
        failed = f", {self.failed:,} could not be read" if self.failed else ""
        text = f"{format_count(self.rows, 'image')} in {self.path}{kept}{failed} ({self.images_per_s:,.0f} images/s)"
        return f"{text}\n{Counts(Counter(self.counts), self.unsure, self.novel).text()}" if self.counts else text


def predict_into(
    path: Path | str,
    predictor: Classifier,
    images: Iterable[Path | str],
    *,
    kind: Kind = "csv",
    top: int = 1,
    batch_size: int = BATCH,
    workers: int | None = None,
    vote_by: str | None = None,
    each: Callable[[Prediction], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> BatchResult:
    """Classify images into a file, or resume an interrupted call.

    Memory stays flat: 8 bytes a row that an earlier call wrote. A complete file is written again.

    Args:
        path: The file.
        predictor: The model.
        images: Paths; any iterable. A repeated path gets a row each time.
        kind: ``"csv"``, or ``"jsonl"`` for one JSON object per line.
        top: Number of classes per row, 1 or more.
        batch_size: Images per batch, 1 or more.
        workers: Decoding processes; all cores by default.
        vote_by: See `housetrain.predict`. Rows are written at the end then; a resumed call classifies all images again.
        each: Called with every new prediction, in order.
        callbacks: Follow the rows so far, of the number of images, which is 0 for an iterator.

    Raises:
        StoreError: The file was started with another model or other options.
        RunLocked: Another process is writing it.
        DiskFull: It cannot be written; the rows written so far are kept.
    """
    path = Path(path)
    sets = (predictor.about.get("rules") or {}).get("set") is not None
    rows, events = _Rows(kind, top, vote=vote_by is not None, sets=sets, images=images), Callbacks(callbacks)
    countable = bool(callbacks) and iter(images) is not images
    total = sum(1 for _ in images) if countable else 0
    started = {"layout_version": 3, "kind": kind, "top": top, "vote_by": vote_by, "model": _identity(predictor)}
    begin, failed, new = time.monotonic(), 0, 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.disk_errors(path))
        file, done = stack.enter_context(_opened(path, started, rows))
        kept = len(done)
        stack.enter_context(events.stage("predict", total=total))
        writer = stack.enter_context(_Writer(file))
        predictions = _new(
            predictor, images, done, own=path, vote_by=vote_by, batch_size=batch_size, workers=workers, top=max(top, 1)
        )
        for one in stack.enter_context(contextlib.closing(predictions)):
            new += 1
            failed += one.error is not None
            rows.counts.add(one.label, unsure=one.unsure, novel=bool(one.novel))
            (each or _ignore)(one)
            if writer.add(rows.encode(one)):
                events.progress("predict", kept + new, total)
    _marker(path).unlink(missing_ok=True)
    files.fsync_folder(path.absolute().parent)
    return rows.result(path, kept + new, kept, failed, time.monotonic() - begin)


def _ignore(one: Prediction) -> None:
    """Do nothing with a prediction."""


def _new(
    predictor: Classifier,
    images: Iterable[Path | str],
    done: NDArray[np.uint64],
    *,
    own: Path,
    vote_by: str | None,
    **options: Any,
) -> Generator[Prediction, None, None]:
    """Yield the predictions that have no row yet. A vote needs all images, also those that have one."""
    if vote_by is None:
        predictions = predictor.predict_many(_without(images, done, own=own), **options)
    else:
        every = predict_sequences(predictor, _without(images, done[:0], own=own), vote_by=vote_by, **options)
        predictions = (one for one in every if not _has(done, one.image))
    with contextlib.closing(cast("Any", predictions)):
        yield from predictions


class _Writer:
    """Appends rows to a file in blocks. On leaving, also after Ctrl-C, everything is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._waiting = file, bytearray()
        self._flushed = self._synced = time.monotonic()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()
        os.fsync(self._file.fileno())

    def add(self, row: bytes) -> bool:
        """Add a row; return whether rows were written to the file."""
        self._waiting += row
        now = time.monotonic()
        if now - self._flushed <= _FLUSH_S and len(self._waiting) <= 1 << 20:
            return False
        self._write()
        self._flushed = now
        if now - self._synced > _SYNC_S:
            os.fsync(self._file.fileno())
            self._synced = now
        return True

    def _write(self) -> None:
        while self._waiting:
            del self._waiting[: self._file.write(self._waiting)]


class _Rows:
    """How predictions are written, and read back to find the images that have one.

    Args:
        kind: See `predict_into`.
        top: See `predict_into`.
        vote: Whether predictions are votes of sequences.
        sets: Whether they have prediction sets.
        images: A `Listing` gives the folders of images relative to what was asked for.

    Attributes:
        counts: Of the rows, read back or new.
    """

    def __init__(
        self, kind: Kind, top: int, *, vote: bool = False, sets: bool = False, images: Iterable[Path | str] = ()
    ) -> None:
        self.kind, self.top, self.vote, self.sets = kind, top, vote, sets
        folder_of = images.folder_of if isinstance(images, Listing) else lambda image: PurePath()

        @functools.lru_cache(16)  # the images of a folder follow each other
        def relative(folder: str) -> str:
            return "\\".join(folder_of(os.path.join(folder, "image")).parts)  # noqa: PTH118 - also an address

        self._relative = relative
        self.counts = Counts()

    def result(self, path: Path, rows: int, kept: int, failed: int, seconds: float) -> BatchResult:
        """Return the result with the counts."""
        labels = dict(self.counts.labels.most_common())
        return BatchResult(path, rows, kept, failed, seconds, labels, self.counts.unsure, self.counts.novel)

    @property
    def header(self) -> bytes:
        if self.kind == "jsonl":
            return b""
        more = [f"{name}_{place}" for place in range(2, self.top + 1) for name in ("label", "probability")]
        vote = ["sequence", "own_label"] if self.vote else []
        return self._line([*_COLUMNS, *vote, *(["prediction_set"] if self.sets else []), *more])

    def encode(self, one: Prediction) -> bytes:
        if self.kind == "jsonl":
            return (json.dumps(one.to_json()) + "\n").encode("ascii")
        known = one.error is None
        folder, name = os.path.split(one.image)
        cells = [
            one.image,
            one.label,
            f"{one.probability:.6f}" if known else "",
            f"{one.margin:.6f}" if known else "",
            ("yes" if one.unsure else "no") if known else "",
            "" if one.novel is None else "yes" if one.novel else "no",
            one.seen or "",
            one.error or "",
            self._relative(folder),
            name,
        ]
        if self.vote:
            cells += [one.sequence, one.own_label]
        if self.sets:
            cells.append("|".join(one.prediction_set))
        for place in range(1, self.top):
            listed = one.top[place : place + 1]
            cells += [listed[0][0], f"{listed[0][1]:.6f}"] if listed else ["", ""]
        return self._line(cells)

    def images(self, rows: Iterator[bytes]) -> Iterator[str]:
        """Yield the image of each complete row, without the header, and count its label."""
        if self.kind == "jsonl":
            for row in rows:
                value = json.loads(row)
                self.counts.add(value["label"] or "", unsure=bool(value["unsure"]), novel=bool(value["novel"]))
                yield str(value["image"])
            return
        next(rows, None)
        for row in rows:
            cells = next(read_rows(io.StringIO(row.decode("utf-8", "surrogateescape"), newline="")))
            self.counts.add(cells[1], unsure=cells[4] == "yes", novel=cells[5] == "yes")
            yield cells[0]

    def _line(self, cells: list[str]) -> bytes:
        text = io.StringIO()
        write_row(text, cells)
        return text.getvalue().encode("utf-8", "surrogateescape")


def _identity(predictor: Classifier) -> str:
    about = predictor.about
    known = [
        about.get("run"),
        about.get("model_sha256"),
        about.get("engine"),
        list(predictor.classes),
        predictor.spec.to_json(),
        about.get("class_map"),
        about.get("rules"),
    ]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished")


@contextlib.contextmanager
def _opened(path: Path, started: dict[str, Any], rows: _Rows) -> Iterator[tuple[BinaryIO, NDArray[np.uint64]]]:
    """Yield the file, ready to be appended to, and the sorted keys of the images that have a row."""
    if path.is_dir():
        raise StoreError("The output is a folder", expected="a file to write", path=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    marker = _marker(path)
    with Lock(path.parent, file=path.name), path.open("a+b", buffering=0) as raw:
        file = cast("BinaryIO", raw)
        if not marker.exists():  # no table, or a complete one: start over
            file.truncate(0)
            store.write_json_atomic(marker, started)
        elif store.read_json(marker) != started:
            raise StoreError(
                "This file was started with another model or other options",
                do=f"use the same ones to resume, or remove {marker.name} to start over",
                path=str(path),
            )
        keys = np.fromiter((_key(name) for name in rows.images(_whole_rows(file))), np.uint64)
        if file.seek(0, os.SEEK_END) == 0:
            file.write(rows.header)
        keys.sort()
        yield file, keys


def _whole_rows(file: BinaryIO) -> Iterator[bytes]:
    """Yield every complete row, and cut off an incomplete last one. A quoted name may hold line breaks."""
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


def _without(images: Iterable[Path | str], done: NDArray[np.uint64], *, own: Path) -> Iterator[str]:
    """Yield the images that have no row, without the table itself, which may be in the same folder."""
    tables = {os.path.realpath(own), os.path.realpath(_marker(own))}
    for image in images:
        name = str(image)
        if own.name in name and os.path.realpath(name) in tables:
            continue
        if not _has(done, name):
            yield name


def _has(done: NDArray[np.uint64], name: str) -> bool:
    """Return whether the sorted keys hold that of a name."""
    key = np.uint64(_key(name))
    place = int(np.searchsorted(done, key)) if len(done) else 0
    return place < len(done) and bool(done[place] == key)


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
