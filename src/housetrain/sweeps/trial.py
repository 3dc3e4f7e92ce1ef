"""Trial: one training of a sweep, JSON in, run folder out.

In: a request, plain JSON. Out: a run folder, and an outcome, plain JSON. Every executor runs this function: nothing but
paths and plain values crosses its boundary. It does not know sweeps, searches or other trials.

```
request  {"name", "prepared", "data", "recipe", "folder", "until"}
outcome  {"name", "state": "complete" | "paused" | "failed", "reason"}
```
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import HousetrainError, SourceChanged, one_line
from housetrain.system import store

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.models.recipe import Recipe

TrialRequest = Mapping[str, Any]
_WARM_UP, _TIMED = 3, 15


def run_trial(request: TrialRequest) -> dict[str, Any]:
    """Train one recipe into its run folder, or resume it, and return the outcome. An error is an outcome, too.

    Args:
        request: ``name``; ``prepared``, the folder of the images, and ``data``, their fingerprint; ``recipe``;
            ``folder``, the run folder; ``until``, the epoch to pause after, or ``None``.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same request resumes the trial.
    """
    folder = Path(request["folder"])
    try:
        from housetrain.models.recipe import Recipe
        from housetrain.training.train import train

        prepared, recipe = (
            _prepared(str(request["prepared"]), str(request["data"])),
            Recipe.from_json(request["recipe"]),
        )
        run = train(prepared, recipe, folder, until=request["until"])
        if run.complete and not (folder / "trial.json").is_file():
            store.write_json_atomic(folder / "trial.json", {"latency_ms": latency_ms(recipe, prepared)})
    except HousetrainError as error:
        return _failed(request, error.what)
    except Exception as error:  # noqa: BLE001 - an error of a model, a driver or a library fails one trial only
        return _failed(request, _reason(error))
    finally:
        _forget()
    return {"name": request["name"], "state": "complete" if run.complete else "paused", "reason": ""}


def latency_ms(recipe: Recipe, prepared: Prepared) -> float:
    """Return the milliseconds to predict one prepared image: the median of a few, in this process.

    The time does not depend on the weights, so a new model replaces the trained one.
    """
    import numpy as np

    from housetrain.models.build import build

    model = build(recipe, spec=prepared.spec, classes=prepared.classes)
    image = np.zeros((1, *prepared.spec.shape), dtype=np.uint8)
    took = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        model.predict_on_batch(image)
        took.append(time.perf_counter() - start)
    return round(1000 * statistics.median(took[_WARM_UP:]), 3)


def fail(folder: Path, reason: str) -> None:
    """Record in a run folder why its training failed, unless the training itself has done so."""
    if not (folder / "failed.json").is_file():
        store.write_json_atomic(folder / "failed.json", {"reason": reason, "time": time.time()})


def _failed(request: TrialRequest, reason: str) -> dict[str, Any]:
    fail(Path(request["folder"]), reason)
    return {"name": request["name"], "state": "failed", "reason": reason}


def _reason(error: Exception) -> str:
    """Return the message in one line. TensorFlow's own messages are pages long."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "out of memory"
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = one_line(lines[0].strip())[:300] if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=1)
def _prepared(folder: str, data: str) -> Prepared:
    from housetrain.data.prepare import Prepared

    prepared = Prepared.open(Path(folder))
    if prepared.fingerprint != data:
        raise SourceChanged(
            "The prepared images have changed since the sweep started",
            do="start another sweep, or prepare the earlier images again",
            folder=folder,
        )
    return prepared


def _forget() -> None:
    """Free the names and graphs that Keras keeps of the last trial."""
    import gc
    import sys

    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
    gc.collect()
