"""Map over numbers in a process of its own, which may be forked, and report on standard output.

In: ``pool_script.py '{"count": ..., "bad": {"3": "crash"}, ...}'``. Out: one JSON object. The process that runs the
tests may have loaded TensorFlow, and is then never forked.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs import Work

from housetrain.system import pool_worker
from housetrain.system.process_pool import Failed, map_in_workers

asked: dict[str, Any] = json.loads(sys.argv[1])
bad = {int(number): how for number, how in asked.get("bad", {}).items()}
mark = Path(asked["mark"]) if asked.get("mark") else None
work = Work(bad, slow_s=asked.get("slow_s", 0.0), once=mark)

forks: list[int] = []
real_fork = os.fork


def limited_fork() -> int:
    if len(forks) >= asked.get("most_forks", 1000):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    pid = real_fork()
    forks.append(pid)
    return pid


os.fork = limited_fork

programs: list[int] = []
real_program = pool_worker.subprocess.Popen


class Counted(real_program):  # type: ignore[misc,valid-type]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        programs.append(1)
        super().__init__(*arguments, **options)


pool_worker.subprocess.Popen = Counted  # type: ignore[misc]

good: list[int] = []
wrong: dict[int, str] = {}


def run() -> None:
    found = map_in_workers(
        work, range(asked["count"]), workers=2, timeout_s=asked.get("timeout_s", 10.0), fork=asked.get("fork", True)
    )
    for index, result in found:
        if not good and not wrong:
            print("started", flush=True)  # noqa: T201
        if isinstance(result, Failed):
            wrong[index] = result.reason
        else:
            assert result == 2 * index
            good.append(index)


if asked.get("in_thread"):
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
else:
    run()
print(json.dumps({"good": good, "wrong": wrong, "forks": len(forks), "programs": len(programs)}))  # noqa: T201
