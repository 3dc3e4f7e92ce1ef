"""Files in torch's legacy format, written opcode by opcode."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

FLOATS = np.arange(24, dtype=np.float32)
WHOLE = (0, (2, 3, 4), (12, 4, 1))
PERMUTED = (0, (4, 3, 2), (1, 4, 12))  # the axes the other way round, as the published files have them
PART = (5, (3, 2), (6, 2))


def value(plain: Any) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(plain, 2)[2:-1]


def name(text: str) -> bytes:
    return b"c" + text.replace(" ", "\n").encode() + b"\n"


def storage(key: str = "7", count: Any = 24, kind: str = "torch FloatStorage", view: Any = None) -> bytes:
    return b"(" + value("storage") + name(kind) + b"".join(map(value, (key, "cpu", count, view))) + b"tQ"


def tensor(offset: Any, size: Any, stride: Any, *, at: bytes | None = None) -> bytes:
    hooks = name("collections OrderedDict") + b")R"
    parts = (storage() if at is None else at, value(offset), value(size), value(stride), value(False), hooks)
    return name("torch._utils _rebuild_tensor_v2") + b"(" + b"".join(parts) + b"tR"


def table(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a state dict, with the attributes that torch writes after it."""
    pairs = b"".join(value(key) + body for key, body in tensors.items())
    attributes = value({"_metadata": {"": {"version": 1}}})
    return b"\x80\x02" + name("collections OrderedDict") + b")R(" + pairs + b"u" + attributes + b"b."


def torch_file(state: bytes, storages: Mapping[str, np.ndarray] | None = None, *, keys: Any = None) -> bytes:
    """A file in torch's legacy format."""
    storages = {"7": FLOATS} if storages is None else storages
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, facts))
    order = pickle.dumps(list(storages) if keys is None else keys, 2)
    return head + state + order + b"".join(len(v).to_bytes(8, "little") + v.tobytes() for v in storages.values())


GOOD = torch_file(
    table(
        {
            "whole": tensor(*WHOLE),
            "steps": tensor(0, (), (), at=storage("8", 1, "torch LongStorage")),
        }
    ),
    {"7": FLOATS, "8": np.array([9], np.int64)},
)


def calling(function: str, argument: str) -> bytes:
    return b"\x80\x02" + name(function) + value((argument,)) + b"R."
