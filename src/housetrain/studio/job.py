"""One `housetrain` command as a separate process that outlives the page: ``python -m housetrain.studio.job``.

In: a job folder and the words of the command. Out: what the command writes, its output and errors as files, and
``ended.json`` with its exit code. A process that is killed leaves no ``ended.json``, which is how the page knows.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import time
from pathlib import Path

from housetrain.studio.handles import handle_of
from housetrain.system import store

_NICE = 5  # the page stays responsive while all cores train


def main() -> None:
    """Run the command that the arguments name: the job folder, then the words after ``housetrain``."""
    folder = Path(sys.argv[1])
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
    store.write_json_atomic(folder / "process.json", handle_of(folder, os.getpid()), durable=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
    sys.argv = ["housetrain", *sys.argv[2:]]
    code = 1
    try:
        runpy.run_module("housetrain", run_name="__main__", alter_sys=False)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(bool(left.code))
        raise
    finally:
        sys.stdout.flush()
        store.write_json_atomic(folder / "ended.json", {"code": code, "time": time.time()}, durable=False)


if __name__ == "__main__":
    main()
