"""The page's side of the process that names images: kept warm, watched, started anew when it dies.

In: a run and paths. Out: predictions as plain values. An image that kills or hangs the process costs that image.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from housetrain.errors import HousetrainError, ModelError
from housetrain.studio.settings import PASSWORD

_LOADS_S = 120.0
_ANSWERS_S = 30.0


class Desk:
    """Names images with the model of one run. Starts loading it at once.

    Args:
        run: A run or bundle folder.
        work: The working folder.
    """

    def __init__(self, run: Path, *, work: Path) -> None:
        self.run = run
        self._work = work
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._ready = False
        self._begin()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._ready and self._process is not None and self._process.poll() is None

    def predict(self, paths: list[Path], *, top: int = 5, **options: Any) -> list[dict[str, Any]]:
        """Return one prediction a path, as `Prediction.to_json` has them, with a ``thumbnail`` (JPEG, base64).

        Raises:
            ModelError: The model does not load.
        """
        with self._turn:
            answers = []
            for path in paths:
                try:
                    answers += self._ask({"paths": [str(path)], "top": top, **options})
                except _LostError as lost:
                    answers.append({"source": str(path), "error": str(lost), "top": [], "label": None, "seen": None})
            return answers

    def close(self) -> None:
        """End the process."""
        process, self._process, self._ready = self._process, None, False
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _begin(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != PASSWORD}
        self._buffer, self._ready = b"", False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "housetrain.studio.predicting", str(self.run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._work,
            env=environment,
            start_new_session=True,
        )

    def _ask(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._begin()
        if not self._ready:
            hello = self._line(_LOADS_S, "the model took too long to load")
            if "error" in hello:
                self.close()
                raise ModelError(str(hello["error"]).removesuffix("."))
            self._ready = True
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.close()
            raise _LostError("the model's process ended; try again") from None
        answer = self._line(_ANSWERS_S, f"took over {_ANSWERS_S:.0f} s")
        if "error" in answer:
            raise HousetrainError(str(answer["error"]).removesuffix("."))
        return list(answer["predictions"])

    def _line(self, seconds: float, late: str) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        number, until = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([number], [], [], left)[0]:
                self.close()
                raise _LostError(late)
            block = os.read(number, 1 << 16)
            if not block:
                self.close()
                raise _LostError("decoder crashed")
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))


class _LostError(Exception):
    """The process did not answer."""


_desks: dict[str, Desk] = {}
_choosing = threading.Lock()


def desk_of(run: Path, *, stamp: str, work: Path) -> Desk:
    """Return the desk of a run, started if need be. One at a time: a model takes memory.

    Args:
        run: A run or bundle folder.
        stamp: Another one means that the model has changed.
        work: The working folder.
    """
    key = f"{run.absolute()}\0{stamp}"
    with _choosing:
        if key not in _desks:
            close_all()
            _desks[key] = Desk(run, work=work)
        return _desks[key]


def close_all() -> None:
    """End all desks."""
    while _desks:
        _desks.popitem()[1].close()


atexit.register(close_all)
