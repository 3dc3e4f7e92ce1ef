"""What workers are given in the tests: work that goes well, and every way in which it does not.

It is a module of its own, because a worker finds its function by import.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from housetrain.errors import ModelError


@dataclass(frozen=True)
class Work:
    """Double a number; misbehave on some.

    Args:
        bad: Number -> ``crash``, ``hang``, ``hog``, ``raise``, ``exit``, ``killed``, ``chat`` or ``unpicklable``.
        slow_s: Seconds every number takes.
        begun: A folder that gets an empty file per number begun.
        once: A folder; a bad number leaves an empty file there, and is good from then on.
    """

    bad: dict[int, str] = field(default_factory=dict)
    slow_s: float = 0.0
    begun: Path | None = None
    once: Path | None = None

    def __call__(self, number: int) -> Any:
        if self.begun is not None:
            (self.begun / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if number in self.bad and not (self.once and (self.once / f"{number}").exists()):
            if self.once:
                (self.once / f"{number}").touch()
            misbehave(self.bad[number])
        time.sleep(self.slow_s)
        return (lambda: 0) if self.bad.get(number) == "unpicklable" else 2 * number


def misbehave(how: str) -> None:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    elif how == "hang":
        time.sleep(600)
    elif how == "hog":
        bytearray(3 << 30)
    elif how == "raise":
        raise ValueError("as asked")
    elif how == "exit":
        os._exit(3)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    elif how == "last words":
        os.write(2, b"some\nthe disk is on fire\n")
        os._exit(4)
    elif how == "chat":
        os.write(1, b"a library that says hello\n" * 5000)
        print("and Python too")  # noqa: T201


@dataclass
class Loaded:
    """A function that is loaded before its first item, as a model is.

    Args:
        broken: What loading it raises.
    """

    broken: str = ""
    ready: bool = False

    def start(self) -> None:
        if self.broken == "crash":
            os._exit(7)
        if self.broken:
            raise ModelError(self.broken)
        self.ready = True

    def __call__(self, item: Any) -> tuple[bool, Any, int]:
        if isinstance(item, str):
            misbehave(item)
        return self.ready, item, os.getpid()
