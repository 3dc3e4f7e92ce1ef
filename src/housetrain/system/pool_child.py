"""A child process of `housetrain.system.process_pool`: runs a function on items until its input ends.

In: frames of pickled items on a pipe. Out: frames of pickled results on another pipe. Does not know: its siblings, what
a failure means, or whether it was forked.

The parent holds the other end of a third pipe, the lifeline, and never writes to it. Where the system can, the end of
that pipe is a SIGKILL: a child does not outlive its parent, also while a library holds the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

FRAME = struct.Struct("<Q")
"""A frame is its length, then a pickle."""

SLOT = struct.Struct("<qq")
"""Shared with the parent: the index of the current item (or `IDLE`), and the number of items begun so far."""

IDLE = -1
FLUSH_S = 0.2  # results are collected for at most this long, so that a crash loses little work

Result = tuple[int, bool, Any]
"""Index, whether the function returned, and what it returned or the reason why not."""


def main(*, slot: int, lifeline: int, memory_bytes: int | None, idle_s: float | None) -> None:
    """Run as a program: items on standard input, results on standard output. The first frame is the function.

    Args:
        slot: Descriptor of the shared `SLOT`.
        lifeline: Descriptor of a pipe that ends with the parent.
        memory_bytes: See `bound_memory`.
        idle_s: See `serve`.
    """
    items, results = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # a library that prints must not write into the results
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    die_with_parent(lifeline)
    stream = os.fdopen(items, "rb")
    function = pickle.loads(_read(stream))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    serve(function, stream, results, mmap.mmap(slot, SLOT.size), memory_bytes=memory_bytes, idle_s=idle_s)


def serve(
    function: Callable[[Any], Any],
    items: BinaryIO,
    results: int,
    slot: mmap.mmap,
    *,
    memory_bytes: int | None,
    idle_s: float | None,
) -> None:
    """Run ``function`` on items until they end.

    A function with a method ``start`` is started first; an error there is reported, and ends the process.

    Args:
        function: What to run.
        items: Frames of ``[(index, item), ...]``.
        results: Descriptor for the frames of results.
        slot: The shared `SLOT`.
        memory_bytes: See `bound_memory`; ``None`` for no bound.
        idle_s: Seconds without an item after which the process ends; ``None`` for never.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends its children
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        getattr(function, "start", lambda: None)()
    except Exception as error:  # noqa: BLE001 - the parent raises it
        _send(results, "refused", _reason(error))
        return
    if memory_bytes is not None:
        bound_memory(memory_bytes)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        _send(results, "ready", None)
        begun = 0
        try:
            while frame := _read(items, idle_s):
                begun = _run(function, pickle.loads(frame), results, slot, begun)
        except KeyboardInterrupt:  # the function turned SIGTERM into a clean stop
            os._exit(130)  # threads of libraries need not be waited for


def _run(
    function: Callable[[Any], Any], chunk: list[tuple[int, Any]], results: int, slot: mmap.mmap, begun: int
) -> int:
    done: list[Result] = []
    since = time.monotonic()
    for index, item in chunk:
        begun += 1
        SLOT.pack_into(slot, 0, index, begun)
        try:
            done.append((index, True, function(item)))
        except Exception as error:  # noqa: BLE001 - an error of one item costs that item; its reason is reported
            done.append((index, False, _reason(error)))
        SLOT.pack_into(slot, 0, IDLE, begun)
        if time.monotonic() - since > FLUSH_S:
            _send(results, "some", done)
            done, since = [], time.monotonic()
    _send(results, "chunk", done)
    return begun


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs too much memory"
    if hasattr(error, "received"):  # a HousetrainError: its message is for people
        return str(getattr(error, "reason", error))
    return f"{type(error).__name__}: {error}"


def bound_memory(memory_bytes: int) -> None:
    """Bound the growth of this process's heap: an item that asks for more gets a MemoryError, not the whole machine."""
    try:
        import resource
    except ImportError:  # no such bound on this system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # only Linux reports what the libraries took already
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        memory_bytes += pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, hard)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses; the time limit still holds
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))


def die_with_parent(lifeline: int) -> None:
    """End this process when the last writer of the pipe ``lifeline`` ends.

    PR_SET_PDEATHSIG would end it with the parent's *thread*, which a page or a notebook ends at will.
    """
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux: fcntl(2), "asynchronous I/O", on a pipe whose only event is its end
        with contextlib.suppress(FileNotFoundError):  # no /proc
            # The signal belongs to an open file, and the descriptor's is shared with the other children.
            own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
            fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
            try:
                os.read(own, 1)
            except BlockingIOError:
                return
            os._exit(0)  # the parent ended before

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _read(stream: BinaryIO, idle_s: float | None = None) -> bytes:
    signal.setitimer(signal.ITIMER_REAL, idle_s or 0.0)
    head = stream.read(FRAME.size)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return stream.read(FRAME.unpack(head)[0]) if len(head) == FRAME.size else b""


def _send(results: int, kind: str, value: Any) -> None:
    try:
        frame = pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - a result that cannot be pickled costs itself, not the others
        frame = pickle.dumps((kind, [_portable(result) for result in value]))
    view = memoryview(FRAME.pack(len(frame)) + frame)
    while view:
        view = view[os.write(results, view) :]


def _portable(result: Result) -> Result:
    try:
        pickle.dumps(result)
    except Exception as error:  # noqa: BLE001 - as above
        return result[0], False, _reason(error)
    return result
