"""The other end of `housetrain.system.process_pool`: a process that runs a function on items until its input ends.

In: frames of pickled items on standard input. Out: frames of pickled results on what was standard output. It does not
know its siblings, and it never decides what a failure means.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

FRAME = struct.Struct("<Q")
"""A frame is its length, then a pickle."""

SLOT = struct.Struct("<qq")
"""Shared with the parent: the index of the item under way (or `IDLE`), and how many items were begun so far."""

MEMORY_BYTES = 2 << 30
"""What the heap of one process may grow by: the largest images that are decoded take about half of it."""

IDLE = -1
FLUSH_S = 0.2  # results wait for company at most this long, so that a crash loses little work

Result = tuple[int, bool, Any]  # index, whether it went well, what came out or why it failed


def main() -> None:
    """Run until standard input ends. Arguments: the slot's descriptor, the memory bound, seconds one item may take."""
    slot_handle, memory_bytes, alarm_s = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends its workers
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    items, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that chat on standard output must not speak into the results
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    slot = mmap.mmap(slot_handle, SLOT.size)
    function = pickle.loads(_read(items))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    bound_memory(memory_bytes)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone, and so are we
        _send(results, "ready", None)
        _run(function, items, results, slot, alarm_s)


def _run(function: Callable[[Any], Any], items: BinaryIO, results: BinaryIO, slot: mmap.mmap, alarm_s: float) -> None:
    begun = 0
    while frame := _read(items):
        done: list[Result] = []
        since = time.monotonic()
        for index, item in pickle.loads(frame):
            begun += 1
            SLOT.pack_into(slot, 0, index, begun)
            # should the parent be killed while a decoder hangs, only the kernel is left to end this process
            signal.setitimer(signal.ITIMER_REAL, alarm_s)
            try:
                done.append((index, True, function(item)))
            except Exception as error:  # noqa: BLE001 - whatever one item does, the others go on; the reason is told
                done.append((index, False, _reason(error)))
            signal.setitimer(signal.ITIMER_REAL, 0)
            SLOT.pack_into(slot, 0, IDLE, begun)
            if time.monotonic() - since > FLUSH_S:
                _send(results, "some", done)
                done, since = [], time.monotonic()
        _send(results, "chunk", done)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs too much memory"
    return getattr(error, "reason", None) or f"{type(error).__name__}: {error}"


def bound_memory(memory_bytes: int = MEMORY_BYTES) -> None:
    """Let the heap grow by so much: an image that asks for more gets a MemoryError, not the whole machine."""
    try:
        import resource
    except ImportError:  # no such bound on this system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # only Linux tells what the libraries took already
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        memory_bytes += pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, hard)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses; the time bound still holds
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(FRAME.size)
    return stream.read(FRAME.unpack(head)[0]) if len(head) == FRAME.size else b""


def _send(stream: BinaryIO, kind: str, done: list[Result] | None) -> None:
    try:
        frame = pickle.dumps((kind, done), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - one result that cannot travel must not take the others along
        frame = pickle.dumps((kind, [_portable(result) for result in done or ()]))
    view = memoryview(FRAME.pack(len(frame)) + frame)
    while view:
        view = view[stream.write(view) :]


def _portable(result: Result) -> Result:
    try:
        pickle.dumps(result)
    except Exception as error:  # noqa: BLE001 - as above
        return result[0], False, _reason(error)
    return result
