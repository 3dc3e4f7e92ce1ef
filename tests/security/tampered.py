"""Variants of the files of a folder as a stranger may have changed them, and what each of them led to.

    python tampered.py KIND WORK        reads WORK/KIND in every variant, one line of JSON each; see `main`

Every variant is inert: it holds no code, only what a reader does not expect.
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import functools
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tampered_readers import READERS

SECONDS = 5
SECRET = "secret.png"
Variant = tuple[str, Callable[[Path], object]]
"""What was done, and the function that does it to the file."""

_DEEP = b'{"a":' * 100_000
_VALUES = [
    None, True, -1, 0, 2**70, 10**400, 1e308, float("nan"), float("inf"), "", "x", "../../outside/secret.png",
    "/dev/zero", "a\x1b[31m\nb", "\ud800", [], {}, [None], {"a": []}, [[1, 2], "x"],
]  # fmt: skip
_WHOLE = {
    "deep": _DEEP,
    "null": b"null\n",
    "list": b"[1, 2]\n",
    "text": b'"x"\n',
    "long number": b"1" * 5000 + b"\n",
    "latin-1": b'{"a": "\xff"}\n',
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "one key twice": b'{"a": 1, "a": []}\n',
}
_EACH = 3  # values tried for each key


# ------------------------------------------------------------------------------------------------- variants
def variants(root: Path, file: Path) -> Iterator[Variant]:
    """Yield the variants of one file below ``root``."""
    data = file.read_bytes()
    chance = random.Random(file.relative_to(root).as_posix())
    yield from _types(root.parent / "outside")
    for name, content in _bytes(data, chance):
        yield name, functools.partial(Path.write_bytes, data=content)
    if file.suffix in (".json", ".jsonl"):
        for name, content in {**dict(_json(data, chance)), **_WHOLE}.items():
            yield name, functools.partial(Path.write_bytes, data=content)
    if file.suffix in (".npy", ".npz", ".keras"):
        for name, content in _headers(data):
            yield name, functools.partial(Path.write_bytes, data=content)


def _types(outside: Path) -> Iterator[Variant]:
    def link(target: object) -> Callable[[Path], object]:
        return lambda path: (path.unlink(), path.symlink_to(str(target)))

    yield "FIFO", lambda path: (path.unlink(), os.mkfifo(path))
    yield "folder", lambda path: (path.unlink(), path.mkdir())
    yield "missing", lambda path: path.unlink()
    yield "link out", link(outside / SECRET)
    yield "link to a device", link("/dev/zero")
    yield "link to nothing", link("nowhere")
    yield "link to itself", lambda path: (path.unlink(), path.symlink_to(path.name))


def _bytes(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "cut", data[: len(data) // 2]
    yield "one byte short", data[:-1]
    yield "noise", chance.randbytes(500)
    yield "zeros", bytes(4096)
    for _ in range(4 if data else 0):
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        yield f"bit {bit} of byte {at}", data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def _json(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield other values for every key, and the object without it."""
    first, newline, rest = data.partition(b"\n")
    try:
        value, rest = json.loads(data), b""
    except ValueError:  # lines: the first is changed
        value = json.loads(first)
    for place in _places(value):
        for other in [*chance.sample(_VALUES, _EACH), _GONE]:
            changed = json.loads(json.dumps(value))
            _put(changed, place, other)
            name = ".".join(map(str, place)) + (" gone" if other is _GONE else f" = {other!r}"[:40])
            yield name, json.dumps(changed).encode() + newline + rest


_GONE = object()


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every key, and of the first two items of every list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield (*before, key)
        yield from _places(item, (*before, key))


def _put(value: Any, place: tuple[Any, ...], other: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    if other is _GONE:
        del value[place[-1]]
    else:
        value[place[-1]] = other


def _headers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield array files and archives that announce more than they hold."""
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }"
    for shape in (b"1 << 40,", b"%d,", b"-1,", b"%d, %d", b"'x',"):
        shape = shape.replace(b"%d", str(1 << 40).encode())
        header = huge % shape + b"\n"
        yield f"shape {shape.decode()}", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    yield "header of 60 kB", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.rfind(mark)
        if at >= 0:
            changed = bytearray(data)
            changed[at + offset : at + offset + 4] = b"\xfe\xff\xff\xff"
            yield f"size after {mark!r}", bytes(changed)


# ------------------------------------------------------------------------------------------------- what agrees
def make_agree(root: Path) -> None:
    """Write the manifests that match the changed files: whoever can change a file can do that, too."""
    with contextlib.suppress(Exception):
        _make_split_agree(root)
    for manifest in root.rglob("manifest.json"):
        with contextlib.suppress(Exception):
            value = json.loads(manifest.read_bytes())
            for name, facts in value["files"].items():
                data = (manifest.parent / name).read_bytes() if (manifest.parent / name).is_file() else b""
                facts.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            manifest.write_text(json.dumps(value))


def _make_split_agree(root: Path) -> None:
    from housetrain.data import split_manifest as it

    for path in (*root.rglob("split.json"), *root.rglob("split-*.json")):
        value = json.loads(path.read_bytes())
        columns, given = value["rows"], value["rows"]["split"]
        assert sum(given.values()) == len(columns["path"])
        splits = [name for name in it.SPLITS for _ in range(given[name])]
        cells = zip(columns["path"], columns["sha256"], columns["label"], splits, columns["group"], strict=True)
        rows = [
            it.Row(path, own, value["classes"][label], name, group or own) for path, own, label, name, group in cells
        ]
        value["fingerprint"] = it._fingerprint(value["classes"], rows, value["options"])
        path.write_text(json.dumps(value))
    for path in root.rglob("prepared.json"):
        value = json.loads(path.read_bytes())
        data = (path.parent / value["split"]["file"]).read_bytes()
        value["split"].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        value["images"]["bytes"] = (path.parent / value["images"]["file"]).stat().st_size
        path.write_text(json.dumps(value))


# ------------------------------------------------------------------------------------------------- the watch
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.remove",
    "os.rmdir",
    "os.rename",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}
_RUNS = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
}


class Watch:
    """Notes what leads out of a folder: opened, written, removed, run, unpickled, connected."""

    def __init__(self, *allowed: Path) -> None:
        self.allowed = [os.path.realpath(one) for one in allowed]
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _RUNS:
            self.seen.append(f"{event} {args[:2]!r}"[:200])
        elif event == "open" and isinstance(args[0], (str, bytes)):
            flags = args[2] or 0
            if flags & _WRITES and not self._below(args[0], self.allowed):
                self.seen.append(f"open {args!r}"[:200])
        elif event in _CHANGES:
            names = [
                name for name in args[: 2 if event in ("os.rename", "os.link") else 1] if isinstance(name, (str, bytes))
            ]
            if any(not self._below(Path(os.fsdecode(name)).parent, self.allowed) for name in names) and not (
                event == "os.mkdir" and Path(os.fsdecode(names[0])).is_dir()
            ):
                self.seen.append(f"{event} {args!r}"[:200])

    def _below(self, path: str | bytes | Path, roots: list[str]) -> bool:
        self.on = False
        real = os.path.realpath(os.fsdecode(path))
        self.on = True
        return real == "/dev/null" or any(real == root or real.startswith(root + os.sep) for root in roots)


class TooLong(BaseException):
    """A reader took too long."""


def _too_long(*_: object) -> None:
    raise TooLong


def outcome(read: Callable[[Path], object], folder: Path) -> str:
    """Return ``""`` for an answer or one clear line, else what went wrong."""
    from housetrain.errors import HousetrainError

    try:
        read(folder)
    except HousetrainError as error:
        text = str(error)
        return "" if text.isprintable() and len(text) < 3000 else f"not one clear line: {text[:200]!r}"
    except TooLong:
        return f"over {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 - a traceback, if nobody catches it
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
        return f"{type(error).__name__}: {str(error)[:120]} ({place})"
    return ""


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, 0 if path.is_dir() else status.st_mtime_ns)
    return found


def main(kind: str, work: Path, share: float = 1.0) -> None:
    """Write a line for each variant of each file of ``work/kind``, or for a share of them: its name, the problems."""
    for heavy in ("tensorflow", "keras"):  # no reader needs them to refuse a file
        sys.modules[heavy] = None  # type: ignore[assignment]
    faulthandler.enable()
    for limit in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(limit, _too_long)
    sample, whole = work / kind, work / f"{kind}-whole"
    shutil.copytree(sample, whole)
    for name, read in READERS[kind].items():  # imports, and a proof that the readers read
        assert (problem := outcome(read, sample)) == "", (name, problem)
    restore(sample, whole)
    watch, started, before = Watch(sample, work / "cache"), peak(), state_of(sample)
    for label, path, change, agrees in chosen(whole, share):
        say(begins=label)
        change(sample / path)
        if agrees:
            make_agree(sample)
        problems = tried(kind, work, watch)
        say(name=label, problems=problems, MB=peak() - started)
        if state_of(sample) != before:
            restore(sample, whole)
            before = state_of(sample)


def chosen(whole: Path, share: float) -> Iterator[tuple[str, Path, Callable[[Path], object], bool]]:
    """Yield variants: what they are, the file, how it is changed, and whether the manifests agree with it."""
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        relative = path.relative_to(whole)
        if relative.parts[0] in ("tb", "bundle") or relative.suffix in (".html", ".md"):  # nobody reads them here
            continue
        for what, change in variants(whole, path):
            for agrees in (False, True) if what in ("cut", "noise") or "=" in what else (False,):
                label = f"{relative} {what}" + (" (agrees)" if agrees else "")
                if zlib.crc32(label.encode()) < share * 2**32:
                    yield label, relative, change, agrees


def tried(kind: str, work: Path, watch: Watch) -> dict[str, str]:
    """Return what went wrong, by reader."""
    outside, problems = work / "outside", dict[str, str]()
    untouched = state_of(outside)
    for name, read in READERS[kind].items():
        watch.seen.clear()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # processor time: a busy machine fails no test
        signal.alarm(10 * SECONDS)  # what waits for ever
        watch.on = True
        problem = outcome(read, work / kind)
        watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if problem := problem or "; ".join(watch.seen):
            problems[name] = problem
    if state_of(outside) != untouched:
        problems["outside"] = "changed"
    secret = (outside / SECRET).read_bytes()
    if any(secrets_in(work / kind, (secret, base64.b64encode(secret)[:200]))):
        problems["secret"] = "copied"
    return problems


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def secrets_in(sample: Path, secrets: tuple[bytes, ...]) -> Iterator[Path]:
    """Yield the files that hold what only another folder's file holds."""
    for path in sample.rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode) and any(secret in path.read_bytes() for secret in secrets):
            yield path


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def restore(sample: Path, whole: Path) -> None:
    shutil.rmtree(sample)
    shutil.copytree(whole, sample)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
