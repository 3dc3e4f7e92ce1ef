"""The served models: each a bundle that is loaded again when its folder changes.

In: names and folders. Out: `ServedModel`s, which a request keeps until it is answered. Does not know: HTTP, how images
are decoded. A changed bundle replaces the loaded one only after it passed every check of `Predictor.load`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from housetrain.errors import HousetrainError
from housetrain.inference import verify
from housetrain.inference.model_folder import model_files
from housetrain.inference.predictor import Predictor
from housetrain.serve.batching import Batcher
from housetrain.serve.limits import Limits, Problem
from housetrain.serve.metrics import Metrics

_LOOK_S = 1.0  # a folder is loaded when it has not changed for so long
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OF_BUNDLE = re.compile(r"[^A-Za-z0-9._-]+")
_log = logging.getLogger(__name__)
_State = tuple[tuple[str, int, int, int], ...]


def named(bundles: Iterable[str]) -> dict[str, Path]:
    """Return name -> folder for what was asked for: ``FOLDER`` or ``NAME=FOLDER``.

    Without a name it is the folder's, or that of the run for its ``bundle``.

    Raises:
        HousetrainError: A name is invalid or comes twice.
    """
    found: dict[str, Path] = {}
    for given in bundles:
        name, equals, folder = given.partition("=")
        if not equals or not _NAME.fullmatch(name) or Path(given).is_dir():
            path = Path(given).absolute()
            folder, name = given, path.parent.name if path.name == "bundle" else path.name
            name = _OF_BUNDLE.sub("-", name).strip("-.")[:100] or "model"
        if name in found:
            raise HousetrainError(
                "Two bundles have the same name", do="name them: NAME=FOLDER", name=name, folder=str(folder)
            )
        found[name] = Path(folder)
    return found


class ServedModel:
    """A loaded model.

    Args:
        name: In addresses and metrics.
        predictor: The model.
        limits: For its batches.
        metrics: Counts its batches.
    """

    def __init__(self, name: str, predictor: Predictor, limits: Limits, metrics: Metrics) -> None:
        self.name, self.predictor = name, predictor
        self.loaded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.users, self.retired = 0, False
        self.batcher = Batcher(
            predictor.outputs,
            most=limits.batch,
            wait_s=limits.wait_s,
            parallel=predictor.engine.parallel,
            observe=metrics.batch.labels(name).observe,
        )

    def describe(self) -> dict[str, Any]:
        """Return what a client may know, as plain JSON: no path of this machine is in it."""
        about, spec = self.predictor.about, self.predictor.spec
        return {
            "name": self.name,
            "classes": list(self.predictor.classes),
            "input": spec.to_json(),
            "engine": self.predictor.engine.name,
            "threshold": self.predictor.decision.threshold,
            "why_unsure": self.predictor.decision.why_unsure,
            "model_sha256": about.get("model_sha256") or (about.get("run") or {}).get("model_sha256"),
            "loaded": self.loaded,
        }

    async def close(self) -> None:
        """Release the model."""
        await self.batcher.close()
        self.predictor.close()


class Models:
    """Every served model, by name; the first is the default.

    Args:
        folders: Name -> bundle or run folder.
        limits: For batches.
        metrics: Counts batches and reloads.
        engine: Format of the models to run; by default the first that this machine can run.
    """

    def __init__(
        self, folders: Mapping[str, Path], *, limits: Limits, metrics: Metrics, engine: str | None = None
    ) -> None:
        self._folders, self._limits, self.metrics, self._engine = dict(folders), limits, metrics, engine
        self._states: dict[str, _State] = {}
        self._predictors: dict[str, Predictor] = {}
        self._served: dict[str, ServedModel] = {}

    def load(self) -> None:
        """Load every model, before there is an event loop.

        Raises:
            ModelError: A model is refused. See `Predictor.load`.
        """
        for name, folder in self._folders.items():
            self._states[name] = _state(folder)
            self._predictors[name] = Predictor.load(folder, engine=self._engine)

    def loaded(self) -> Iterable[tuple[str, Predictor]]:
        """Return what `load` loaded."""
        return self._predictors.items()

    def attach(self) -> None:
        """Let the running event loop serve the models that were loaded."""
        for name, predictor in self._predictors.items():
            self._served[name] = ServedModel(name, predictor, self._limits, self.metrics)
        self._predictors.clear()

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served.values())

    @contextlib.contextmanager
    def use(self, name: str | None) -> Iterator[ServedModel]:
        """Yield the model of this name, or the first; it stays loaded meanwhile, also when its bundle changes.

        Raises:
            Problem: There is none of this name.
        """
        model = self._served.get(name) if name else next(iter(self))
        if model is None:
            raise Problem(404, f"There is no model of this name. There is: {', '.join(self._served)}.")
        model.users += 1
        try:
            yield model
        finally:
            model.users -= 1
            if model.retired and not model.users:
                asyncio.ensure_future(model.close())  # noqa: RUF006 - it ends before the loop does, or with it

    async def watch(self) -> None:
        """Load bundles again when they change, until cancelled."""
        seen = dict(self._states)
        while True:
            await asyncio.sleep(_LOOK_S)
            for name, folder in self._folders.items():
                state = await asyncio.to_thread(_state, folder)
                settled, seen[name] = state == seen[name], state
                if settled and state and state != self._states[name]:
                    self._states[name] = state
                    await self._reload(name, folder)

    async def _reload(self, name: str, folder: Path) -> None:
        try:
            predictor = await asyncio.to_thread(Predictor.load, folder, engine=self._engine)
        except (HousetrainError, OSError) as error:
            self.metrics.reloads.labels(name, "refused").inc()
            _log.error("The changed bundle of %s is not served; the loaded model stays. %s", name, error)
            return
        old, self._served[name] = self._served[name], ServedModel(name, predictor, self._limits, self.metrics)
        self.metrics.reloads.labels(name, "loaded").inc()
        _log.warning("The bundle of %s changed and was loaded.", name)
        old.retired = True
        if not old.users:
            await old.close()

    async def close(self) -> None:
        """Release every model."""
        for model in self:
            await model.close()


def _state(folder: Path) -> _State:
    """Return sizes and times of the files of a bundle, of the bundle in a run, and of a run's model."""
    found = []
    for place in (folder, folder / "bundle"):
        with contextlib.suppress(OSError):  # a folder that is being replaced
            files = sorted(place.iterdir()) if (place / verify.ABOUT).is_file() else model_files(place)
            for file in files:
                facts = file.stat()
                found.append((str(file), facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)
