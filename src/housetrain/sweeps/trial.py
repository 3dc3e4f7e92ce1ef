"""Trial: one training of a sweep, JSON in, run folder out.

In: a job, plain JSON. Out: a run folder, and an outcome, plain JSON. It is what every executor runs, wherever: nothing
but paths and plain values goes in or comes out. It does not know sweeps, searches or other trials.

```
job      {"name", "prepared", "data", "recipe", "folder", "until"}
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

Job = Mapping[str, Any]
_WARM_UP, _TIMED = 3, 15


def run_trial(job: Job) -> dict[str, Any]:
    """Train one recipe into its run folder, or go on with it, and say how it ended. An error is an outcome too.

    Args:
        job: ``name``; ``prepared``, the folder of the images, and ``data``, their fingerprint; ``recipe``;
            ``folder``, the run folder; ``until``, the epoch to pause after, or ``None``.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same job goes on.
    """
    folder = Path(job["folder"])
    try:
        from housetrain.models.recipe import Recipe
        from housetrain.training.train import train

        prepared, recipe = _prepared(str(job["prepared"]), str(job["data"])), Recipe.from_json(job["recipe"])
        run = train(prepared, recipe, folder, until=job["until"])
        if run.complete and not (folder / "trial.json").is_file():
            store.write_json_atomic(folder / "trial.json", {"latency_ms": latency_ms(recipe, prepared)})
    except HousetrainError as error:
        return _failed(job, error.what)
    except Exception as error:  # noqa: BLE001 - whatever a net, a driver or a library raises costs one trial only
        return _failed(job, _reason(error))
    finally:
        _forget()
    return {"name": job["name"], "state": "complete" if run.complete else "paused", "reason": ""}


def latency_ms(recipe: Recipe, prepared: Prepared) -> float:
    """Return the milliseconds that naming one prepared image takes: the median of a few, in this very process.

    The weights do not matter for it, so a fresh net stands in for the trained one.
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
    """Write down in a run folder why it cannot go on, unless the training itself has done so."""
    if not (folder / "failed.json").is_file():
        store.write_json_atomic(folder / "failed.json", {"reason": reason, "time": time.time()})


def _failed(job: Job, reason: str) -> dict[str, Any]:
    fail(Path(job["folder"]), reason)
    return {"name": job["name"], "state": "failed", "reason": reason}


def _reason(error: Exception) -> str:
    """Return one line that a person can read. TensorFlow's own messages run over pages."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "out of memory"
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = one_line(lines[0].strip())[:300] if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=1)
def _prepared(folder: str, data: str) -> Prepared:
    from housetrain.data.prepare import Prepared

    prepared = Prepared.load(Path(folder))
    if prepared.fingerprint != data:
        raise SourceChanged(
            "The prepared images are no longer those the sweep began with",
            do="start another sweep, or prepare those images again",
            folder=folder,
        )
    return prepared


def _forget() -> None:
    """Free what Keras keeps of the trial that ended: its names and graphs."""
    import gc
    import sys

    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
    gc.collect()
