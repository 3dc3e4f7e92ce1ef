"""Tensors of a `.pth` file in torch's legacy format, read without torch and without running what is inside.

In: the bytes of a file. Out: tensor name -> array. Does not know: where the file came from, which model it belongs to.

The legacy format (torch before 1.6) is five pickles, then the raw numbers: a magic number, a version, facts about the
machine, the tensors as views (storage, offset, size, stride), the order of the storages. A pickle is a program, so
none is run here. This module steps through the opcodes itself. It knows the 30 opcodes that a table of tensors needs
and four names: ``OrderedDict``, ``_rebuild_tensor_v2``, ``FloatStorage`` and ``LongStorage``. It calls nothing that a
file names, and every number that a file gives is checked before it is used.
"""

from __future__ import annotations

import io
import math
import pickletools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import ModelError

MAX_BYTES = 256 << 20
"""Largest file that is read. EfficientNet-Lite4, the largest of its family, has 53 MB."""
_MAX_OPCODES = 200_000  # EfficientNet-Lite2 has 14,000
_MAX_DIMENSIONS = 8
_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


class _Storage(NamedTuple):
    """A block of numbers that tensors are views of."""

    key: str
    dtype: np.dtype[Any]
    length: int


class _View(NamedTuple):
    """A tensor: a view of a storage, all numbers in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_DTYPES: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}


class _Name(NamedTuple):
    """One of the four names that a file may give, as ``module name``."""

    text: str


_LITERALS = frozenset(["NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"])
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_torch_file(data: bytes, *, source: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file in torch's legacy format.

    Args:
        data: The whole file, at most `MAX_BYTES`.
        source: Where it came from, for errors.

    Returns:
        Tensor name -> contiguous array, float32 or int64, in the order of the file.

    Raises:
        ModelError: The file is damaged, or holds anything but tensors. Nothing that it names was called.
    """
    if len(data) > MAX_BYTES:
        raise _refused("it is too large", source, bytes=len(data), max_bytes=MAX_BYTES)
    file = io.BytesIO(data)
    try:
        if _pickle(file) != _MAGIC or _pickle(file) != _VERSION:
            raise _Refusal("it is not in torch's legacy format")
        facts = _pickle(file)
        if not isinstance(facts, dict) or facts.get("little_endian") is not True:
            raise _Refusal("its numbers are not little-endian")
        tensors = _pickle(file)
        if not isinstance(tensors, dict) or not all(isinstance(view, _View) for view in tensors.values()):
            raise _Refusal("it holds something other than tensors")
        offsets = _offsets(file, tensors, _pickle(file))
        if sum(_bytes(view) for view in tensors.values()) > len(data):
            raise _Refusal("its tensors are larger than the file")
        return {name: _array(data, view, offsets[view.storage.key]) for name, view in tensors.items()}
    except _Refusal as refusal:
        raise _refused(str(refusal), source, bytes=len(data)) from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise _refused("it is damaged or incomplete", source, bytes=len(data)) from error


class _Refusal(Exception):
    """Why a file is refused, without its name."""


def _refused(why: str, source: str, **received: object) -> ModelError:
    return ModelError(
        f"The weights file is refused: {why}",
        expected="tensors of float32 or int64 in torch's legacy format and nothing else",
        do="reinstall the package that contains the file",
        file=source,
        **received,
    )


# ------------------------------------------------------------------------------------------------- opcodes
def _pickle(file: io.BytesIO) -> Any:
    """Return the value of the pickle at the file's position, and move behind it."""
    machine = _Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number > _MAX_OPCODES:
            raise _Refusal("its table of tensors is too long")
        machine.step(opcode.name, argument)
    (value,) = machine.stack
    return value


class _Machine:
    """The part of the pickle machine that tables of tensors need. ``stack`` ends with one value."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode.

        Raises:
            _Refusal: The opcode is not one that a table of tensors needs.
        """
        stack = self.stack
        if name in _LITERALS:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(_name(argument))
        elif name == "MARK":
            self._below.append(stack)
            self.stack = []
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "SETITEMS", "APPENDS"):
            self.stack = self._below.pop()
            self._collect(name, stack)
        elif name in ("SETITEM", "APPEND", "REDUCE", "BUILD"):
            count = 2 if name == "SETITEM" else 1
            items = [stack.pop() for _ in range(count)][::-1]
            self._collect(name, items)
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name not in ("PROTO", "STOP"):
            raise _Refusal(f"it holds the pickle opcode {name}")

    def _collect(self, name: str, items: list[Any]) -> None:
        """Carry out an opcode that takes ``items`` from the stack and changes or replaces what is below them."""
        if name == "TUPLE":
            self.stack.append(tuple(items))
        elif name in ("SETITEM", "SETITEMS"):
            keys = items[::2]
            if type(self.stack[-1]) is not dict or not all(isinstance(key, str) for key in keys):
                raise _Refusal("it holds a table whose keys are not names")
            self.stack[-1].update(zip(keys, items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            if type(self.stack[-1]) is not list:
                raise _Refusal("it appends to something that is not a list")
            self.stack[-1].extend(items)
        elif name == "REDUCE":
            self.stack.append(_reduced(self.stack.pop(), items[0]))
        elif type(self.stack[-1]) is not dict:  # BUILD: the attributes of a dict (versions of layers) are not needed
            raise _Refusal("it sets attributes")


def _name(argument: str) -> _Name:
    if argument not in (_DICT, _TENSOR, *_DTYPES):
        raise _Refusal(f"it names {'.'.join(argument.split())[:80]}")
    return _Name(argument)


def _reduced(name: Any, arguments: Any) -> Any:
    """Return what a call stands for. Two calls are known, and neither is carried out."""
    if name == _Name(_DICT) and arguments == ():
        return {}
    if name != _Name(_TENSOR) or not isinstance(arguments, tuple):
        raise _Refusal("it holds a call that does not make a tensor")
    storage, offset, size, stride, *_ = arguments
    if not isinstance(storage, _Storage):
        raise _Refusal("it holds a tensor without storage")
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _MAX_DIMENSIONS):
        raise _Refusal("it holds a tensor without a valid shape")
    if not all(_is_count(number) for number in (offset, *size, *stride)):
        raise _Refusal("it holds a tensor with an invalid size, stride or offset")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 in size or last >= storage.length:
        raise _Refusal("it holds a tensor that reaches outside its storage")
    return _View(storage, offset, size, stride)


def _storage(reference: Any) -> _Storage:
    if not isinstance(reference, tuple) or len(reference) != 6:
        raise _Refusal("it holds a reference to something other than a storage")
    kind, dtype, key, _, count, view = reference
    if kind != "storage" or not isinstance(dtype, _Name) or not isinstance(key, str) or view is not None:
        raise _Refusal("it holds a reference to something other than a storage")
    if dtype.text not in _DTYPES or not _is_count(count):
        raise _Refusal("it holds a storage of unknown type or size")
    return _Storage(key, _DTYPES[dtype.text], count)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_BYTES


# ------------------------------------------------------------------------------------------------- numbers
def _offsets(file: io.BytesIO, tensors: dict[str, _View], keys: Any) -> dict[str, int]:
    """Return where each storage begins in the file. They follow each other, each after its length."""
    storages = {view.storage.key: view.storage for view in tensors.values()}
    if any(view.storage != storages[view.storage.key] for view in tensors.values()):
        raise _Refusal("it gives two sizes for one storage")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise _Refusal("it does not list the storages of its tensors")
    at, end = file.tell(), len(file.getbuffer())
    found: dict[str, int] = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(file.getbuffer()[at : at + 8], "little")
        found[key] = at + 8
        at += 8 + storage.length * storage.dtype.itemsize
        if count != storage.length or at > end:
            raise _Refusal("its numbers are incomplete")
    if at != end:
        raise _Refusal("it holds more than its tensors")
    return found


def _bytes(view: _View) -> int:
    return math.prod(view.size) * view.storage.dtype.itemsize


def _array(data: bytes, view: _View, offset: int) -> NDArray[Any]:
    """Return a contiguous copy of the tensor, for any strides in the file."""
    flat = np.frombuffer(data, view.storage.dtype, view.storage.length, offset)[view.offset :]
    steps = [step * flat.itemsize for step in view.stride]
    return np.lib.stride_tricks.as_strided(flat, view.size, steps, writeable=False).copy(order="C")
