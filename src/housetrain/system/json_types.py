"""Whether a value out of a JSON file is of the kind that its reader expects.

In: a value and a type, as a `TypedDict`, a dataclass or an annotation says it. Out: yes, or one `CorruptError`. It does
not know files, nor what the values mean.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from housetrain.errors import CorruptError

Scalar = str | int | float | bool | None
_LARGEST = 2**63  # what numpy and a column of a table can hold


def must_fit(value: Any, kind: Any, path: Path | str) -> Any:
    """Return a value that was read from the file ``path``.

    Args:
        value: What `json.loads` gave.
        kind: A type: built-in, ``list[int]``, ``dict[str, float]``, ``tuple[int, int]``, a union, a ``Literal``, a
            `TypedDict`, a dataclass or a `NamedTuple` kept as an object. Further keys of an object are allowed.
        path: Named in the error.

    Raises:
        CorruptError: The value is of another kind; numbers that are infinite or beyond 64 bits are, too.
    """
    if fits(value, kind):
        return value
    raise CorruptError(
        f"{Path(path).name} is not what housetrain writes",
        do="restore it, or create the folder again",
        path=str(path),
        wrong=", ".join(_wrong(value, kind)) or type(value).__name__,
    )


def fits(value: Any, kind: Any) -> bool:
    """Return whether a JSON value is of a kind; see `must_fit`."""
    if kind is str:
        return isinstance(value, str)
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and abs(value) < _LARGEST
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin is tuple and parts[-1:] != (Ellipsis,):
        return isinstance(value, list) and len(value) == len(parts) and all(map(fits, value, parts))
    if origin in (list, tuple, Sequence):
        return isinstance(value, list) and all(fits(item, parts[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_key(key, parts[0]) and fits(value[key], parts[1]) for key in value)
    if _fields(kind) is not None:
        return isinstance(value, dict) and not _wrong(value, kind)
    if kind in (None, types.NoneType):
        return value is None
    return isinstance(value, kind)


def _key(key: str, kind: Any) -> bool:
    return kind is str or (key.isdecimal() and len(key) < 10)


def _wrong(value: Any, kind: Any) -> list[str]:
    """Return the keys of an object that are missing or of another kind."""
    fields = _fields(kind)
    if fields is None or not isinstance(value, dict):
        return []
    return [
        name
        for name, (own, required) in fields.items()
        if (name not in value and required) or (name in value and not fits(value[name], own))
    ]


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]] | None:
    """Return the names of an object's keys, their types, and whether they must be there."""
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return {name: (hints[name], name in kind.__required_keys__) for name in hints}
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_field_defaults"):
        hints = get_type_hints(kind)
        return {name: (hints[name], name not in kind._field_defaults) for name in hints}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)
        return {one.name: (hints[one.name], one.default is dataclasses.MISSING) for one in fields}
    return None
