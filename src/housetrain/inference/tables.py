"""Tables of predictions in other places and kinds than a local CSV or JSON-lines file: Parquet, and any address.

In: the name of the table. Out: where its rows are collected until it is complete, and the finished table. Does not
know: how predictions are made; `housetrain.inference.batch_predict` writes the rows, resumes and counts them.

A Parquet file cannot be appended to and an object in a bucket cannot be changed, so rows are collected in a local file:
beside a local table, else in the user's cache folder. The same command resumes from it on the same machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from housetrain.data.catalog import cache_folder
from housetrain.errors import MissingExtra, RecipeError
from housetrain.inference.addresses import is_address, writing
from housetrain.system import store

KINDS = (".csv", ".jsonl", ".parquet")
_ROWS = 16_384  # of one row group


class Table(NamedTuple):
    """Where predictions go.

    Attributes:
        name: The path or address that was given.
        rows: The local file that collects the rows.
        kind: Of that file.
    """

    name: str
    rows: Path
    kind: Literal["csv", "jsonl"]

    @classmethod
    def of(cls, name: str) -> Table:
        """Return the table of a path or address that ends in one of `KINDS`.

        Raises:
            RecipeError: It ends otherwise.
            MissingExtra: The library that writes it is not installed.
        """
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - it may be an address
        if suffix not in KINDS:
            raise RecipeError("The kind of the table is not known", expected=f"a name ending in {', '.join(KINDS)}",
                              output=name)  # fmt: skip
        if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra("cluster", need="Writing Parquet")
        kind: Literal["csv", "jsonl"] = "csv" if suffix == ".csv" else "jsonl"
        if is_address(name):
            digest = hashlib.sha256(name.encode()).hexdigest()[:32]
            return cls(name, cache_folder() / "predictions" / f"{digest}.{kind}", kind)
        path = Path(name)
        return cls(name, path.with_name(f".{path.name}.rows.jsonl") if suffix == ".parquet" else path, kind)

    @property
    def is_local_rows(self) -> bool:
        """Whether the file that collects the rows is the table itself."""
        return not is_address(self.name) and Path(self.name) == self.rows

    def finish(self) -> None:
        """Write the table from its complete rows, and remove those.

        Raises:
            HousetrainError: It cannot be written.
        """
        if self.is_local_rows:
            return
        with self._target() as file:
            if self.name.lower().endswith(".parquet"):
                _write_parquet(self.rows, file)
            else:
                with self.rows.open("rb") as rows:
                    shutil.copyfileobj(rows, file, 1 << 20)
        self.rows.unlink()

    @contextmanager
    def _target(self) -> Iterator[IO[bytes]]:
        if is_address(self.name):
            with writing(self.name) as file:
                yield file
            return
        path = Path(self.name)
        with store.disk_errors(path), store.replacing(path) as temporary, temporary.open("wb") as file:
            yield file


def _write_parquet(rows: Path, file: IO[bytes]) -> None:
    """Write JSON lines as Parquet: the columns of `Prediction.to_json`."""
    import pyarrow
    from pyarrow import parquet

    text, number = pyarrow.string(), pyarrow.float64()
    top = pyarrow.list_(pyarrow.struct([("label", text), ("probability", number)]))
    texts = ("image", "label", "seen", "error", "sequence", "own_label")
    columns = {**dict.fromkeys(texts, text), "probability": number, "margin": number, "top": top}
    marks = dict.fromkeys(("unsure", "novel"), pyarrow.bool_())
    schema = pyarrow.schema({**columns, **marks, "prediction_set": pyarrow.list_(text)})
    with parquet.ParquetWriter(file, schema) as writer, rows.open("rb") as lines:
        group: list[dict[str, Any]] = []
        for line in lines:
            group.append(_encodable(json.loads(line)))
            if len(group) == _ROWS:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with a name that UTF-8 can hold: file names are bytes."""
    return {**row, "image": row["image"].encode("utf-8", "backslashreplace").decode()}
