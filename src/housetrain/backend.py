"""How Keras comes in: the one place that imports it first.

In: what it is needed for. Out: the `keras` module, or one line that names the missing extra. It knows nothing of nets.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from housetrain.errors import MissingExtra

# What TensorFlow 2.21 prints while it is imported, whatever TF_CPP_MIN_LOG_LEVEL says: it writes these before its
# logging is set up. They tell nothing that a person who trains can use.
_START_UP_NOTES = re.compile(r"^(WARNING: All log messages before absl|[IW]\d{4} \S+ +\d+ \S+\.cc:\d+\])")

# the ones Keras has
_BACKENDS = ("tensorflow", "jax", "torch")


def load_keras(need: str) -> ModuleType:
    """Import Keras with its backend, without the backend's start-up notes.

    Args:
        need: What needs it, for the error, such as ``"training"``.

    Raises:
        MissingExtra: Keras or its backend is not installed.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None:
        return loaded
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_start_up_notes():
        try:
            import keras
        except ModuleNotFoundError as error:
            if error.name not in ("keras", *_BACKENDS):
                raise
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            extra = backend if backend in _BACKENDS else "tensorflow"
            raise MissingExtra(extra, need=f"{need} ({error.name} is missing)") from error
    return keras  # type: ignore[no-any-return]


@contextlib.contextmanager
def _without_start_up_notes() -> Iterator[None]:
    """Hold standard error back (the C++ side writes to the file descriptor), then let through all but the notes."""
    try:
        sys.stderr.flush()
        real = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error to speak of
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            rest = [line for line in held.read().splitlines(True) if not _START_UP_NOTES.match(line.decode("latin-1"))]
            os.write(2, b"".join(rest))
