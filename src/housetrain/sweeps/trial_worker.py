"""Worker: a process that trains one trial after another. Started by `executors.Processes`, never by hand.

    python -m housetrain.sweeps.trial_worker DRIVER_PID

In: jobs on standard input, one JSON object a line. Out: outcomes on standard output, likewise, each with the memory the
process takes; a first line says that it is ready. What libraries print goes to standard error. It ends when its input
ends, and dies with its driver, however that dies. It does not know sweeps.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

from housetrain.system.backend import load_keras


def main(driver: int) -> None:
    """Work until the driver closes the pipe.

    Args:
        driver: Process number of the driver.
    """
    _die_with(driver)
    # A library that prints must not garble the answers: they get a pipe of their own.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, jobs), daemon=True).start()

    load_keras("training")  # seconds, spent before the first job is there
    from housetrain.sweeps.trial import run_trial

    _tell(answers, {"ready": True})
    while True:
        try:
            outcome = run_trial(jobs.get())
        except KeyboardInterrupt:
            os._exit(130)  # what is kept is on disk; TensorFlow's threads need not be waited for
        _tell(answers, outcome)


def _listen(lines: IO[str], jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in lines:
        jobs.put(json.loads(line))
    os._exit(0)  # the driver is gone, or wants no more of us; a training in between goes on from its last epoch


def _tell(answers: IO[str], value: dict[str, Any]) -> None:
    import psutil

    answers.write(json.dumps({**value, "rss": psutil.Process().memory_info().rss}) + "\n")
    answers.flush()


def _die_with(driver: int) -> None:
    """Ask the kernel for a SIGKILL when the driver dies. Where there is no such wish, the end of input does it."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != driver:  # it died before we asked
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
