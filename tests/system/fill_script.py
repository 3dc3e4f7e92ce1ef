"""Fill a file of rows in a process of its own, which may be forked, and say on standard output how it went.

In: ``fill_script.py '{"path": ..., "count": ..., "bad": {"3": "crash"}, ...}'``. Out: one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs import Write

import housetrain.system.fork_pool as filling
from housetrain.system.process_pool import Failed

asked: dict[str, Any] = json.loads(sys.argv[1])
count = asked["count"]
path = Path(asked["path"])
path.write_bytes(bytes(count))
bad = {int(number): how for number, how in asked.get("bad", {}).items()}
writer = Write(path, bad, once=asked.get("once", False), slow_s=asked.get("slow_s", 0.0))

filling.IMAGE_S = asked.get("image_s", filling.IMAGE_S)
filling.FIRST_S = asked.get("first_s", filling.FIRST_S)
if asked.get("workers_only"):
    filling.can_fork = lambda: False

handed_over: list[int] = []
map_in_workers = filling.map_in_workers


def spy(function: Any, items: Any, **options: Any) -> Any:
    handed_over.append(len(items))
    return map_in_workers(function, items, timeout_s=1.0, **options)


filling.map_in_workers = spy

forks: list[int] = []
fork = os.fork


def limited_fork() -> int:
    if len(forks) >= asked.get("most_forks", 1000):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    pid = fork()
    forks.append(pid)
    return pid


os.fork = limited_fork

places: list[int] = []
wrong: dict[int, str] = {}


def fill() -> None:
    items = [(number, "", "") for number in range(count)]
    for place, outcome in filling.fill(writer, items, workers=asked.get("workers", 2)):  # type: ignore[arg-type]
        if not places:
            print("under way", flush=True)  # noqa: T201
        places.append(place)
        if outcome is not None:
            wrong[place] = outcome.reason if isinstance(outcome, Failed) else f"{outcome.kind}: {outcome.reason}"


if asked.get("in_thread"):
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
else:
    fill()
told = {"places": places, "wrong": wrong, "forks": len(forks), "handed_over": handed_over}
print(json.dumps({**told, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))  # noqa: T201
