"""Trial: one training of a sweep, as a record and as the function that trains it.

In: a request, plain JSON. Out: a run folder, and an outcome, plain JSON. Every executor calls `run_trial`: nothing but
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from housetrain.errors import CorruptError, HousetrainError, SourceChanged, one_line
from housetrain.system import json_types, store
from housetrain.system.files import is_relative

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe
    from housetrain.system.events import Callback

TrialRequest = Mapping[str, Any]
_WARM_UP, _TIMED = 3, 15


class Trial(NamedTuple):
    """One training of a sweep.

    Attributes:
        name: Unique within the sweep; the name of its run folder.
        group: Trials that differ only in their seed share a group, and are one row of the leaderboard.
        recipe: JSON-plain.
        parameters: Parameters of the model, where they are known before it is built.
        flops: Floating-point operations of one forward pass of one image, where they are known.
        infeasible: Why the model does not fit the images; ``""`` if it does.
    """

    name: str
    group: str
    recipe: dict[str, Any]
    parameters: int | None = None
    flops: int | None = None
    infeasible: str = ""

    @classmethod
    def of(cls, name: str, recipe: Recipe, *, spec: InputSpec, classes: int, group: str = "") -> Trial:
        """Return a trial of a recipe: whether its model fits the images and, if so, what it costs.

        Args:
            name: The trial's, valid as a folder name.
            recipe: What is trained.
            spec: The input spec of the images.
            classes: Number of classes.
            group: The group it shares with other seeds of the recipe; ``name`` by default.
        """
        from housetrain.models.cost import cost
        from housetrain.models.nets import infeasible

        if reason := infeasible(recipe, spec):
            return cls(name, group or name, recipe.to_json(), infeasible=reason)
        known = cost(recipe, spec, classes)
        found = (known.parameters, known.flops) if known else (None, None)
        return cls(name, group or name, recipe.to_json(), *found)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_json` wrote; further keys are ignored.

        Raises:
            CorruptError: It is not what `to_json` writes.
        """
        try:
            found = cls(**{name: value[name] for name in cls._fields if name in value})
            if not json_types.fits(found._asdict(), _Record):
                raise TypeError("a value")
            if not found.infeasible and not (found.recipe["epochs"] > 0 and found.recipe["batch_size"] > 0):
                raise TypeError("epochs or batch_size")
        except (KeyError, TypeError) as error:
            raise CorruptError("A trial of the sweep cannot be read", do="start another sweep", trial=value) from error
        check_name(found.name)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what a sweep folder keeps of the trial, JSON-plain."""
        return {name: value for name, value in self._asdict().items() if value not in (None, "")}


class _Record(TypedDict):
    """The fields of a `Trial` in JSON."""

    group: str
    recipe: dict[str, json_types.Scalar]
    parameters: int | None
    flops: int | None
    infeasible: str


def check_name(name: object) -> None:
    """Refuse a trial's name that is no plain folder name: it comes out of a file.

    Raises:
        CorruptError: It is none.
    """
    if not isinstance(name, str) or not is_relative(name) or Path(name).name != name or "\\" in name:
        raise CorruptError("The name of a trial is not the name of a folder", do="start another sweep", name=name)


def run_trial(request: TrialRequest, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train one recipe into its run folder, or resume it, and return the outcome. An error is an outcome, too.

    Args:
        request: ``name``; ``prepared``, the folder of the images, and ``data``, their fingerprint; ``recipe``;
            ``folder``, the run folder; ``until``, the epoch to pause after, or ``None``.
        callbacks: Follow the training, in the process that trains.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same request resumes the trial.
    """
    folder = Path(request["folder"])
    try:
        from housetrain.models.recipe import Recipe
        from housetrain.training.train import train

        prepared, recipe = (
            open_prepared(str(request["prepared"]), str(request["data"])),
            Recipe.from_json(request["recipe"]),
        )
        run = train(prepared, recipe, folder, until=request["until"], callbacks=callbacks)
        if run.complete and not (folder / "trial.json").is_file():
            store.write_json_atomic(folder / "trial.json", {"latency_ms": latency_ms(recipe, prepared)})
    except HousetrainError as error:
        return failed(request, error.what)
    except Exception as error:  # noqa: BLE001 - an error of a model, a driver or a library fails one trial only
        return failed(request, _reason(error))
    finally:
        _forget()
    return {"name": request["name"], "state": "complete" if run.complete else "paused", "reason": ""}


def latency_ms(recipe: Recipe, prepared: Prepared) -> float:
    """Return the milliseconds to predict one prepared image: the median of a few, in this process.

    The time does not depend on the weights, so a new model replaces the trained one.
    """
    import numpy as np

    from housetrain.inference.formats.keras import engine_of
    from housetrain.models.build import build

    engine = engine_of(build(recipe, spec=prepared.spec, classes=prepared.classes))
    image = np.zeros((1, *prepared.spec.shape), dtype=np.uint8)
    took = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        engine.run(image)
        took.append(time.perf_counter() - start)
    return round(1000 * statistics.median(took[_WARM_UP:]), 3)


def fail(folder: Path, reason: str) -> None:
    """Record in a run folder why its training failed, unless the training itself has done so."""
    if not (folder / "failed.json").is_file():
        store.write_json_atomic(folder / "failed.json", {"reason": reason, "time": time.time()})


def failed(request: TrialRequest, reason: str) -> dict[str, Any]:
    """Record in the run folder of a trial why it failed, and return that outcome."""
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
def open_prepared(folder: str, data: str) -> Prepared:
    """Return the prepared images of a request; opened once while requests name the same ones.

    Args:
        folder: The folder.
        data: The fingerprint it must have.

    Raises:
        SourceChanged: The folder holds other images.
        HousetrainError: It cannot be opened.
    """
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
