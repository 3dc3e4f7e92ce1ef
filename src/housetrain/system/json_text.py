"""Values <-> JSON text.

In: values, or text that was read from a file. Out: ASCII JSON, or values. It does not know files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from housetrain.errors import CorruptError


def plain(value: Any) -> Any:
    """Return ``value`` as JSON-plain: numpy scalars unpacked, paths as text, NaN and infinity as ``None``.

    ``NaN`` is not JSON: a browser refuses a whole file because of one.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        return plain(value.tolist())
    return str(value)


def encode(value: Any, *, indent: int | None = 2) -> bytes:
    """Return ``value`` as ASCII JSON with a final newline."""
    return (json.dumps(plain(value), indent=indent, allow_nan=False) + "\n").encode("ascii")


def parse_json(data: bytes | str, path: Path | str) -> Any:
    """Return the value of JSON text that was read from the file ``path``.

    Raises:
        CorruptError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        raise CorruptError(
            f"{Path(path).name} is {'nested too deeply' if deep else 'not JSON'}",
            do="restore it, or create the folder again",
            path=str(path),
        ) from error
