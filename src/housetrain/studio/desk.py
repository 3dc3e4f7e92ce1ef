"""The page's predictions: a model in a child process that is kept, watched and replaced when it dies.

In: a run and paths. Out: predictions as plain values. Does not know: how an image is decoded. An image that kills or
hangs the process costs that image.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from housetrain.errors import HousetrainError, ModelError
from housetrain.studio.predicting import Predictions
from housetrain.studio.settings import PASSWORD
from housetrain.system.process_pool import Failed, Limits, ProcessPool

_LIMITS = Limits(timeout_s=30.0, memory_bytes=4 << 30, idle_s=900.0)


class Desk:
    """Predicts images with the model of one run. Starts loading it at once.

    Args:
        run: A run or bundle folder.
        work: The working folder.
        limits: Bounds of the child process.
    """

    def __init__(self, run: Path, *, work: Path, limits: Limits = _LIMITS) -> None:
        self.run = run
        self._work, self._limits = work, limits
        self._turn = threading.Lock()
        self._closed = False
        self._pool = self._started()

    @property
    def ready(self) -> bool:
        """Whether the model was loaded when the last prediction was made."""
        return self._pool.ready

    def predict(self, paths: list[Path], *, top: int = 5, **options: Any) -> list[dict[str, Any]]:
        """Return one prediction per path, as `Prediction.to_json` has them, with a ``thumbnail`` (JPEG, base64).

        Raises:
            ModelError: The model does not load, or the desk is closed meanwhile.
        """
        with self._turn:
            return [self._predict({"path": str(path), "top": top, **options}) for path in paths]

    def close(self) -> None:
        """End the child process."""
        self._closed = True  # a prediction that waits for its image gives up its turn
        with self._turn:
            self._pool.close()

    def _predict(self, request: dict[str, Any]) -> dict[str, Any]:
        from housetrain.inference.prediction import Prediction

        try:
            self._pool.submit(request)
            while not (found := self._pool.poll(0.5)):
                if self._closed:
                    raise ModelError("The model was replaced while it predicted", do="predict the image again")
        except HousetrainError as error:
            if not self._closed:
                self._pool.close()
                self._pool = self._started()  # for who tries again
            raise ModelError(str(error)) from error
        [(_, result)] = found
        return Prediction.failed(request["path"], result.reason).to_json() if isinstance(result, Failed) else result

    def _started(self) -> ProcessPool:
        pool = ProcessPool(
            Predictions(self.run, self._work), workers=1, limits=self._limits, environment=child_environment()
        )
        pool.start(1)
        return pool


def child_environment() -> dict[str, str]:
    """Return the environment of a child process: everything but the page's password."""
    return {name: value for name, value in os.environ.items() if name != PASSWORD}


_desks: dict[str, Desk] = {}
_choosing = threading.Lock()


def desk_of(run: Path, *, stamp: str, work: Path) -> Desk:
    """Return the desk of a run, started if necessary. One at a time: a model takes memory.

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
