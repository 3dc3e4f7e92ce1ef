"""The Ray executor: trials as tasks of a cluster, on other machines or on this one.

In: trial requests, plain JSON (see `trial.py`). Out: outcomes; each trial's run folder. Does not know: what is swept,
in which order, or how often; how a cluster is reached (`housetrain.system.cluster` does).

A trial is one task. Its run folder is the sweep's own where all nodes see it, else a scratch folder whose copy in the
storage is renewed after every epoch: a node that dies costs the epoch that it was in. Prepared images are read where
they are, if a node finds the same ones there, or sent to each node once.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from housetrain.data.prepared_folder import file_names
from housetrain.errors import HousetrainError
from housetrain.sweeps.executors import TRIALS_PER_WORKER, Outcome, worker_environment
from housetrain.sweeps.trial import TrialRequest, failed, open_prepared, run_trial
from housetrain.system import cluster, store
from housetrain.system.events import Callback
from housetrain.system.lock import Lock
from housetrain.system.mirror import Mirror
from housetrain.system.parcel import Parcel, pack, unpack

_STOP_S = 5.0
_RELEASE_S = 60.0  # a node may be taken for dead some time before its processes have ended
_RECOUNT_S = 5.0
_VISIBLE_S = 5.0  # a network file system may show a new file late
_HERE_ONLY = (".lock", "progress.json")
_ENVIRONMENT = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS")


class Place(NamedTuple):
    """What a node is told beside the request.

    Attributes:
        versions: Those of the driver.
        environment: Variables of the trial's process.
        marker: A file beside the run folder with a random name: a node that sees it shares the folder.
        storage: Where the copy of the run folder is; ``""`` where the folder is shared.
        parcel: The prepared images, once a node has asked for them.
    """

    versions: Mapping[str, str]
    environment: Mapping[str, str]
    marker: str
    storage: str
    parcel: Parcel | None


class RayExecutor:
    """Runs trials as tasks of a Ray cluster. The first trial connects.

    Args:
        address: See `housetrain.system.cluster.connect`; by default Ray is started on this machine.
        storage: Address of a folder that all nodes reach, such as ``s3://bucket/sweeps``; by default the sweep folder
            itself, which then must be visible on all nodes under the same path.
        workers: Trials at once; by default as many as the cluster has room for. More than that makes a cluster that
            can grow do so.
        cpus: Cores per trial, 1 or more.
        gpus: GPUs per trial; a fraction such as 0.25 shares one.
        note: Receives messages for people.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        storage: str | None = None,
        workers: int | None = None,
        cpus: int = 1,
        gpus: float = 0.0,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._address, self._storage, self._note = address, storage, note
        self._workers, self._cpus, self._gpus = workers, cpus, gpus
        self._cluster: cluster.Connection | None = None
        self._running: dict[Any, TrialRequest] = {}
        self._parcels: dict[str, Parcel] = {}
        self._markers: dict[Path, Path] = {}
        self._counted = (0.0, 1)

    @property
    def slots(self) -> int:
        """How many trials may run at once; one before the first, which connects. See `Executor.slots`."""
        if self._workers is not None or self._cluster is None:
            return self._workers or 1
        if time.monotonic() - self._counted[0] > _RECOUNT_S:
            self._counted = (time.monotonic(), self._room(self._cluster.ray.cluster_resources()))
        return self._counted[1]

    def submit(self, request: TrialRequest) -> None:
        """Take a trial. See `Executor.submit`."""
        paths = {name: str(Path(request[name]).absolute()) for name in ("prepared", "folder")}
        self._start({**request, **paths})

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return what has ended. See `Executor.poll`.

        Raises:
            HousetrainError: A node cannot run trials of this sweep at all: it has other versions, or does not see the
                sweep folder.
        """
        if self._cluster is None or not self._running:
            return []
        wait = self._cluster.ray.wait
        if wait(list(self._running), timeout=timeout_s)[0]:
            ended, _ = wait(list(self._running), num_returns=len(self._running), timeout=0)
            return [found for task in ended if (found := self._ended(task)) is not None]
        return []

    def close(self) -> None:
        """Stop the trials that run, and a cluster that was started here. See `Executor.close`."""
        if self._cluster is not None:
            self._stop(self._cluster.ray)
            self._cluster.close()
            self._cluster = None
        for marker in self._markers.values():
            marker.unlink(missing_ok=True)
        self._markers.clear()
        self._parcels.clear()

    # ------------------------------------------------------------------------------------- tasks
    def _start(self, request: TrialRequest) -> None:
        if self._cluster is None:
            self._cluster = cluster.connect(
                self._address, need="--executor ray", cpus=self._workers and self._workers * self._cpus, note=self._note
            )
        storage = f"{self._storage}/{_key(request)}" if self._storage is not None else ""
        place = Place(
            cluster.versions(),
            self._environment(),
            "" if storage else str(self._marker(Path(request["folder"]).parent)),
            storage,
            self._parcels.get(request["data"]),
        )
        # TensorFlow keeps memory of a model it has compiled, and the memory of a GPU until its process ends.
        calls = 1 if self._gpus else TRIALS_PER_WORKER
        remote = self._cluster.ray.remote(
            num_cpus=self._cpus, num_gpus=self._gpus, max_calls=calls, max_retries=0, name=request["name"]
        )
        self._running[remote(run_on_node).remote(dict(request), place)] = request

    def _ended(self, task: Any) -> Outcome | None:
        """Return the outcome of a task that has ended; ``None`` where the trial starts again with its images."""
        assert self._cluster is not None
        request, errors = self._running.pop(task), self._cluster.ray.exceptions
        try:
            found: dict[str, Any] = self._cluster.ray.get(task)
        except errors.TaskCancelledError as error:
            return self._died(request, error)
        except (errors.RayTaskError, errors.RuntimeEnvSetupError, errors.TaskUnschedulableError) as error:
            raise cluster.node_error(error) from error
        except errors.RayError as error:  # the process, its node, or the result on it is gone
            return self._died(request, error)
        if found["state"] == "unusable":
            raise HousetrainError(found["reason"], do=found["do"])
        if found["state"] == "without images":
            return self._send(request)
        if self._storage is not None:
            self._fetch(request)
        return Outcome(**found)

    def _died(self, request: TrialRequest, error: Exception) -> Outcome:
        if self._storage is not None:
            self._fetch(request)  # the driver counts how far the trial was
        return Outcome(request["name"], "died", _reason(error))

    def _send(self, request: TrialRequest) -> Outcome | None:
        """Put the images into the object store and start the trial again."""
        assert self._cluster is not None
        try:
            prepared = open_prepared(request["prepared"], request["data"])
        except HousetrainError as error:
            return Outcome(**failed(request, error.what))
        if request["data"] not in self._parcels:
            self._parcels[request["data"]] = pack(self._cluster.ray, prepared.folder, file_names(prepared.folder))
        self._start(request)
        return None

    def _fetch(self, request: TrialRequest) -> None:
        with store.disk_errors(Path(request["folder"])):
            Mirror(Path(request["folder"]), f"{self._storage}/{_key(request)}").fetch(
                leave_out=lambda name: name.startswith("checkpoints/")
            )

    def _stop(self, ray: Any) -> None:
        try:
            for force in (False, True):
                for task in self._running:
                    ray.cancel(task, force=force)
                if self._running:
                    ray.wait(list(self._running), num_returns=len(self._running), timeout=_STOP_S)
        except ray.exceptions.RayError:  # the head node is gone, and everything with it
            pass
        self._running.clear()

    # ------------------------------------------------------------------------------------- what a task needs
    def _room(self, resources: Mapping[str, float]) -> int:
        room = resources.get("CPU", 0.0) / self._cpus
        if self._gpus:
            room = min(room, resources.get("GPU", 0.0) / self._gpus)
        if room < 1:
            raise HousetrainError(
                "The cluster has no room for a trial",
                do="name --workers if the cluster grows on demand; else ask for less",
                cpus=f"{self._cpus} of {resources.get('CPU', 0.0):g}",
                gpus=f"{self._gpus:g} of {resources.get('GPU', 0.0):g}",
            )
        return int(room)

    def _environment(self) -> dict[str, str]:
        own = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        threads = {name: str(self._cpus) for name in worker_environment({}) if name.endswith("THREADS")}
        return {**worker_environment(own), **threads, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}

    def _marker(self, parent: Path) -> Path:
        if parent not in self._markers:
            marker = parent / f".cluster-{secrets.token_hex(8)}"
            store.write_bytes_atomic(marker, b"")
            self._markers[parent] = marker
        return self._markers[parent]


# ------------------------------------------------------------------------------------------------- on a node
def run_on_node(request: dict[str, Any], place: Place) -> dict[str, Any]:
    """Train one trial in a process of a node. See `run_trial` for the outcome.

    Two more states: ``without images``, where this node needs them sent; ``unusable``, with the ``reason`` and what to
    ``do``, where no trial can run here.
    """
    if reason := cluster.mismatch(place.versions):
        return _unusable(reason, "install the same versions on all nodes")
    os.environ.update(place.environment)
    if not place.storage and not _is_seen(Path(place.marker)):
        return _unusable(
            f"A node does not see the sweep folder {Path(request['folder']).parent.parent}",
            "put it on storage that all nodes mount under the same path, or name storage with --storage",
        )
    prepared = _prepared_folder(request, place)
    if prepared is None:
        return {"name": request["name"], "state": "without images", "reason": ""}
    given = {**request, "prepared": prepared}
    if not place.storage:
        _wait_for_lock(Path(request["folder"]))
        found = run_trial(given)
        _name_images(Path(request["folder"]), request["prepared"])
        return found
    with tempfile.TemporaryDirectory(prefix="housetrain-trial-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "run"
        mirror = Mirror(folder, place.storage)
        mirror.fetch()
        found = run_trial({**given, "folder": str(folder)}, callbacks=[_Push(mirror)])
        _name_images(folder, request["prepared"])
        mirror.push(leave_out=_stays_here)
        return found


class _Push(Callback):
    """Renews the copy of a run folder after every epoch."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        try:
            self._mirror.push(leave_out=_stays_here)
        except OSError:  # the next epoch tries again, and the last push reports it
            return


def _stays_here(name: str) -> bool:
    return name.startswith(_HERE_ONLY) or name.rpartition("/")[2].startswith(".")


def _prepared_folder(request: TrialRequest, place: Place) -> str | None:
    """Return the folder of the images on this node, or ``None`` where there is none."""
    try:
        open_prepared(request["prepared"], request["data"])
    except HousetrainError:
        if place.parcel is None:
            return None
        import ray

        from housetrain.data.catalog import cache_folder

        return str(unpack(ray, place.parcel, cache_folder() / "cluster"))
    return str(request["prepared"])


def _is_seen(marker: Path) -> bool:
    until = time.monotonic() + _VISIBLE_S
    while not marker.is_file():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _wait_for_lock(folder: Path) -> None:
    until = time.monotonic() + _RELEASE_S
    while Lock.held(folder) and time.monotonic() < until:
        time.sleep(0.2)


def _name_images(folder: Path, prepared: str) -> None:
    """Name the folder of the images on the driver's machine in a run that was trained on a copy of them."""
    path = folder / "input.json"
    if path.is_file() and (value := store.read_json(path)).get("prepared") != prepared:
        store.write_json_atomic(path, {**value, "prepared": prepared})


def _unusable(reason: str, do: str) -> dict[str, Any]:
    return {"state": "unusable", "reason": reason, "do": do}


def _key(request: TrialRequest) -> str:
    """Return the name of a trial in the storage: equal for the same request of the same sweep folder."""
    folder = Path(request["folder"])
    asked = json.dumps([request["data"], request["recipe"]], sort_keys=True)
    sweep = folder.parent.parent.name or "sweep"
    return f"{sweep}/{request['name']}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    known = {
        "NodeDiedError": "its node died",
        "OutOfMemoryError": "its node was out of memory",
        "TaskCancelledError": "it was stopped on its node",
        "ObjectLostError": "its node died before the result arrived",
    }
    return known.get(kind, f"its process ended ({kind})")
