"""What workers and forks are given in the tests: work that goes well, and every way in which it does not.

It is a module of its own, because a worker finds its function by import.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from housetrain.data.npy_writer import Outcome


@dataclass(frozen=True)
class Work:
    """Double a number; misbehave on some.

    Args:
        bad: Number -> ``crash``, ``hang``, ``hog``, ``raise``, ``exit``, ``killed``, ``chat`` or ``unpicklable``.
        slow_s: Seconds every number takes.
        begun: A folder that gets an empty file per number begun.
    """

    bad: dict[int, str] = field(default_factory=dict)
    slow_s: float = 0.0
    begun: Path | None = None

    def __call__(self, number: int) -> Any:
        if self.begun is not None:
            (self.begun / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        misbehave(self.bad.get(number, ""))
        time.sleep(self.slow_s)
        return (lambda: 0) if self.bad.get(number) == "unpicklable" else 2 * number


@dataclass(frozen=True)
class Write:
    """Write one byte of each row into a file, as a `RowWriter` does; misbehave on some, always or only once.

    Args:
        path: The file.
        bad: Number -> as for `Work`, or ``fail``: what an image that cannot be decoded gives.
        once: Whether a number is good the second time; the first time leaves a mark beside the file.
        slow_s: Seconds every number takes.
    """

    path: Path
    bad: dict[int, str] = field(default_factory=dict)
    once: bool = False
    slow_s: float = 0.0

    def __call__(self, item: tuple[int, str, str]) -> Outcome | None:
        number = item[0]
        time.sleep(self.slow_s)
        how, mark = self.bad.get(number, ""), self.path.with_name(f"begun-{number}")
        if how and not (self.once and mark.exists()):
            mark.touch()
            misbehave(how)
            if how == "fail":
                return Outcome("failed", "truncated")
        with self.path.open("r+b") as file:
            os.pwrite(file.fileno(), bytes([number % 251 + 1]), number)
        return None


def misbehave(how: str) -> None:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    elif how == "hang":
        time.sleep(600)
    elif how == "hog":
        bytearray(3 << 30)
    elif how == "raise":
        raise ValueError("as told")
    elif how == "exit":
        os._exit(3)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    elif how == "chat":
        os.write(1, b"a library that says hello\n" * 5000)
        print("and Python too")  # noqa: T201
