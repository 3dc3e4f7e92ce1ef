"""A `.pth` file is read without running anything that it names."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models.torch_files import (
    FLOATS,
    GOOD,
    PART,
    PERMUTED,
    WHOLE,
    calling,
    name,
    storage,
    table,
    tensor,
    torch_file,
    value,
)

from housetrain.errors import ModelError
from housetrain.models.torch_file import read_torch_file


def read(data: bytes) -> dict[str, np.ndarray]:
    return read_torch_file(data, source="weights.pth")


def test_values_and_types_are_read() -> None:
    found = read(GOOD)
    assert list(found) == ["whole", "steps"]
    assert np.array_equal(found["whole"], FLOATS.reshape(2, 3, 4)) and found["whole"].dtype == np.float32
    assert found["steps"].shape == () and found["steps"] == 9 and found["steps"].dtype == np.int64


@pytest.mark.parametrize("view", [WHOLE, PERMUTED, PART, (23, (1, 1), (500, 700))])
def test_strides_and_offsets_are_honored(view: tuple[int, tuple[int, ...], tuple[int, ...]]) -> None:
    found = read(torch_file(table({"x": tensor(*view)})))["x"]
    offset, size, stride = view
    for place in np.ndindex(*size):
        assert found[place] == FLOATS[offset + sum(i * step for i, step in zip(place, stride, strict=True))]
    assert found.flags.c_contiguous and found.flags.owndata


HOSTILE: dict[str, Callable[[str], bytes]] = {
    "a call of os.system": lambda command: torch_file(calling("os system", command)),
    "a call of posix.system inside": lambda command: torch_file(
        table({"x": name("posix system") + value((command,)) + b"R"})
    ),
    "a call of eval": lambda command: torch_file(calling("builtins eval", f"__import__('os').system({command!r})")),
    "a call in the first pickle": lambda command: calling("os system", command) + GOOD,
    "a call in the list of storages": lambda command: GOOD[: GOOD.rindex(b"\x80\x02")] + calling("os system", command),
    "an old instance": lambda command: torch_file(b"\x80\x02(" + value(command) + b"ios\nsystem\n."),
    "an object": lambda command: torch_file(b"\x80\x02(" + name("os system") + value(command) + b"o."),
    "a new object": lambda command: torch_file(b"\x80\x02" + name("os system") + value((command,)) + b"\x81."),
    "a name from the stack": lambda command: torch_file(
        b"\x80\x04" + value("os") + value("system") + b"\x93" + value((command,)) + b"R."
    ),
    "an extension": lambda command: torch_file(b"\x80\x02\x82\x01" + value((command,)) + b"R."),
    "pickle by protocol 4": lambda command: torch_file(pickle.dumps({"x": command}, 4)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_file_names_is_never_called(kind: str, tmp_path: Path) -> None:
    data = HOSTILE[kind](f"touch {tmp_path / 'called'}")
    with pytest.raises(ModelError, match="refused") as caught:
        read(data)
    assert not (tmp_path / "called").exists()
    message = str(caught.value)
    assert "Expected: " in message and "Do: " in message and "Received: file='weights.pth'" in message


def test_the_hostile_file_would_do_harm_in_a_plain_unpickler(tmp_path: Path) -> None:
    """The check of the checks: a plain unpickler runs the command."""
    data = calling("os system", f"touch {tmp_path / 'called'}")
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({data!r})"], check=True)
    assert (tmp_path / "called").exists()


HUGE = 1 << 40
BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no pickle": b"no torch file",
    "a zip": b"PK\x03\x04" + bytes(100),
    "another magic number": pickle.dumps(5, 2) + GOOD,
    "big-endian": GOOD.replace(value(True), value(False)),
    "a tensor past the end": torch_file(table({"x": tensor(1, (24,), (1,))})),
    "a stride past the end": torch_file(table({"x": tensor(0, (2, 2), (24, 1))})),
    "a huge stride": torch_file(table({"x": tensor(0, (2,), (HUGE,))})),
    "a huge size": torch_file(table({"x": tensor(0, (HUGE,), (0,))})),
    "a repeated element": torch_file(table({"x": tensor(0, (10_000_000,), (0,))})),
    "many dimensions": torch_file(table({"x": tensor(0, (1,) * 9, (1,) * 9)})),
    "an empty tensor": torch_file(table({"x": tensor(0, (0,), (1,))})),
    "a negative stride": torch_file(table({"x": tensor(3, (2,), (-1,))})),
    "a negative offset": torch_file(table({"x": tensor(-1, (2,), (1,))})),
    "a size that is a truth value": torch_file(table({"x": tensor(0, (True,), (1,))})),
    "a size that is text": torch_file(table({"x": tensor(0, ("2",), (1,))})),
    "sizes in a list": torch_file(table({"x": tensor(0, [2], [1])})),
    "fewer strides than sizes": torch_file(table({"x": tensor(0, (2, 2), (1,))})),
    "a storage longer than the file": torch_file(table({"x": tensor(0, (2,), (1,), at=storage(count=25))})),
    "a huge storage": torch_file(table({"x": tensor(0, (2,), (1,), at=storage(count=HUGE))})),
    "a storage of a type": torch_file(table({"x": tensor(0, (2,), (1,), at=storage(kind="torch HalfStorage"))})),
    "a storage inside a storage": torch_file(table({"x": tensor(0, (2,), (1,), at=storage(view=("a", 0, 3)))})),
    "no storage": torch_file(table({"x": tensor(0, (2,), (1,), at=value(3))})),
    "two sizes of one storage": torch_file(
        table({"x": tensor(*WHOLE), "y": tensor(0, (2,), (1,), at=storage("7", 3))})
    ),
    "a storage that is not listed": torch_file(table({"x": tensor(*WHOLE)}), keys=["8"]),
    "keys that are no list": torch_file(table({"x": tensor(*WHOLE)}), keys={"7": 1}),
    "keys of several types": torch_file(table({"x": tensor(*WHOLE)}), keys=["7", (1,)]),
    "something that is no tensor": torch_file(table({"x": value(3)})),
    "a list instead of a table": torch_file(pickle.dumps([1, 2], 2)),
    "a key that is no name": torch_file(b"\x80\x02}" + value((1, 2)) + value(3) + b"s."),
    "a key without value": torch_file(b"\x80\x02}(" + value("x") + b"u."),
    "attributes of a tensor": torch_file(table({"x": tensor(*WHOLE) + value({"a": 1}) + b"b"})),
    "a call of a tensor": torch_file(table({"x": tensor(*WHOLE) + b")R"})),
    "an unknown place in the memo": torch_file(b"\x80\x02j" + b"\xff" * 4 + b"."),
    "a large place in the memo": torch_file(b"\x80\x02}r" + b"\xff" * 4 + b"]."),
    "an empty stack": torch_file(b"\x80\x02tRsu."),
    "a deep value": torch_file(b"\x80\x02" + b")" + b"\x85" * 190_000 + b"."),
    "a long table": torch_file(b"\x80\x02" + b"N0" * 200_000 + b"N."),
    "more behind it": GOOD + b"\0",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_not_right_is_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="refused"):
        read(BROKEN[kind])


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(ModelError, match="refused"):
            read(GOOD[:end])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")
def test_a_file_with_a_changed_byte_gives_tensors_or_a_refusal() -> None:
    draw = np.random.default_rng(0)
    for _ in range(3000):
        data = bytearray(GOOD)
        data[draw.integers(len(data))] = draw.integers(256)
        try:
            found = read(bytes(data))
        except ModelError:
            continue
        assert sum(one.nbytes for one in found.values()) <= len(data)
