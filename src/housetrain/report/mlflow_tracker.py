"""MLflow: runs, sweeps and their results in a tracking server or folder that people already have.

In: events, which name run folders; at the end a bundle and a report. Out: one MLflow run per training: settings as
parameters, every row of the history as metrics, artifacts. Does not know: how models are trained.

A thread does the work, so that a server that is slow or gone never delays a training. What is sent follows from the
files of the run: whatever an interrupted command did not send, the next one does, into the same MLflow run.
"""

from __future__ import annotations

import importlib.util
import math
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import HousetrainError, MissingExtra, RecipeError, one_line
from housetrain.sweeps.results import OVER
from housetrain.system import store
from housetrain.system.events import Callback, Stage, State
from housetrain.training.history import number_of
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.evaluation.evaluation import Evaluation

FILE = "mlflow.json"
"""In a run folder: which MLflow run it is, and where."""
EXPERIMENT = "housetrain"
_DEFAULT_FOLDER = "mlruns"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's own defaults wait for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}
_MOST_METRICS = 500  # of one request; MLflow refuses more than 1,000
_PATIENCE_S = 60.0  # at the end, for what has not been sent yet
_STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_ID = re.compile(r"[0-9a-f]{32}")
_NOT_METRICS = ("epoch", "step")


class _Sent(NamedTuple):
    run_id: str
    rows: int  # the last row of the history that MLflow has


class MlflowTracker(Callback):
    """Follows trainings and sweeps into MLflow. A context manager: leaving it waits for what has not been sent.

    Args:
        uri: Tracking server, database or folder; by default ``$MLFLOW_TRACKING_URI``, else the folder ``mlruns``.
        note: Receives one line where the tracker has failed after the last event.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, uri: str = "", *, note: Callable[[str], None] | None = None) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise MissingExtra("mlflow", need="Tracking with MLflow")
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or _DEFAULT_FOLDER
        self._note = note or (lambda text: None)
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._failure: HousetrainError | None = None
        self._told = False
        self._run: Path | None = None
        self._over: set[str] = set()  # trials of a sweep that were sent
        self._sent: dict[Path, _Sent] = {}
        self._client: Any = None
        self._thread = threading.Thread(target=self._send, name="MLflow", daemon=True)

    def __enter__(self) -> MlflowTracker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._work.put(None)
        self._thread.join(5.0 if kind is not None and issubclass(kind, KeyboardInterrupt) else _PATIENCE_S)
        if self._thread.is_alive():
            self._failure = HousetrainError("MLflow did not take everything in time", uri=self.uri)
        if self._failure is not None and not self._told:
            self._note(f"Tracking stopped, the work is complete: {self._failure}")

    # ------------------------------------------------------------------------------------------ events
    def begin(self, stage: Stage, **facts: Any) -> None:
        """See `Callback.begin`."""
        if stage == "train":
            self._run = Path(facts["run"])
            self._put(self._synchronize, self._run)

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """See `Callback.progress`."""
        if stage != "sweep":
            return
        board = facts["snapshot"].board
        for row in board.rows:
            for name in row.runs if row.state in OVER else ():
                if name not in self._over:
                    self._over.add(name)
                    state = "failed" if row.state == "failed" else "complete"
                    self._put(self._synchronize, board.folder / "trials" / name, state)

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        """See `Callback.epoch`."""
        if self._run is not None:
            self._put(self._synchronize, self._run)

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        """See `Callback.end`."""
        if stage == "train" and self._run is not None:
            self._put(self._synchronize, self._run, state)

    def finish(self, run: Run, *, artifacts: Sequence[Path] = (), evaluation: Evaluation | None = None) -> None:
        """Send what a command made of a complete run.

        Args:
            run: The run.
            artifacts: Files and folders, such as the report and the bundle.
            evaluation: Its test.
        """
        if self._failure is None:
            self._put(self._finish, run.folder, tuple(artifacts), evaluation and evaluation.accuracy)

    # ------------------------------------------------------------------------------------------ the thread
    def _put(self, work: Callable[..., None], *given: Any) -> None:
        """Hand work to the thread; raise its failure, once, so that it is reported as that of any callback."""
        if self._failure is not None:
            self._told = True
            raise self._failure
        self._work.put(lambda: work(*given))

    def _send(self) -> None:
        try:
            self._connect()
            while (work := self._work.get()) is not None:
                work()
        except Exception as error:  # noqa: BLE001 - no tracker is worth the work it follows
            text = one_line(" ".join(str(error).split()))[:300]
            self._failure = HousetrainError(f"MLflow cannot be used: {type(error).__name__}: {text}", uri=self.uri)

    def _connect(self) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if "://" not in self.uri and self.uri != "databricks":
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder was asked for
            self.uri = str(Path(self.uri).absolute())
        from mlflow import MlflowClient

        self._client = MlflowClient(self.uri)

    def _synchronize(self, folder: Path, state: State | None = None) -> None:
        """Send the rows of a run that MLflow does not have yet."""
        from mlflow.entities import Metric

        run = Run(folder)
        if not (folder / "recipe.json").is_file():  # a trial that failed before it began
            return
        sent = self._sent.get(folder) or self._opened(run)
        rows = [row for row in run.history if number_of(row) > sent.rows]
        metrics = [
            Metric(name, float(value), _now_ms(), number_of(row))
            for row in rows
            for name, value in row.items()
            if name not in _NOT_METRICS and isinstance(value, int | float) and math.isfinite(value)
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(sent.run_id, metrics=metrics[start : start + _MOST_METRICS])
        self._sent[folder] = sent._replace(rows=number_of(rows[-1]) if rows else sent.rows)
        if state is not None:
            self._client.set_terminated(sent.run_id, _STATUS[state])

    def _finish(self, folder: Path, artifacts: Sequence[Path], accuracy: float | None) -> None:
        self._synchronize(folder)
        run_id, result = self._sent[folder].run_id, Run(folder).result or {}
        for name in ("best_epoch", "best_step", "parameters"):
            if isinstance(result.get(name), int):
                self._client.log_metric(run_id, name, result[name])
        if accuracy is not None:
            self._client.log_metric(run_id, "test_accuracy", accuracy)
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), artifact_path=path.name)
            elif path.is_file():
                self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, "FINISHED")

    def _opened(self, run: Run) -> _Sent:
        """Return the MLflow run of a run folder: the one that its file names, if this server has it, else a new one."""
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        path = run.folder / FILE
        if path.is_file():
            known = store.read_object(path)
            if known.get("uri") == self.uri and _ID.fullmatch(str(known.get("run_id"))):
                try:
                    self._client.update_run(known["run_id"], status="RUNNING")
                    history = self._client.get_metric_history(known["run_id"], "val_loss")
                    return _Sent(known["run_id"], max((metric.step for metric in history), default=0))
                except MlflowException:  # it was deleted there
                    pass
        trial = run.folder.parent.name == "trials"
        name = f"{run.folder.parent.parent.name}/{run.name}" if trial else run.name
        tags = {"housetrain.run": str(run.folder.absolute()), "housetrain.data": str(run.input_json.get("data", ""))}
        made = self._client.create_run(self._experiment(), run_name=name, tags=tags).info.run_id
        settings = [Param(name, str(value)[:500]) for name, value in run.recipe_json.items()]
        self._client.log_batch(made, params=settings)
        store.write_json_atomic(path, {"uri": self.uri, "run_id": made})
        return _Sent(made, 0)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))


def tracker_of(track: str, *, note: Callable[[str], None] | None = None) -> MlflowTracker:
    """Return the tracker that ``--track`` names.

    Args:
        track: ``mlflow`` or ``mlflow:URI``.
        note: See `MlflowTracker`.

    Raises:
        RecipeError: Another kind of tracker.
        MissingExtra: MLflow is not installed.
    """
    kind, _, uri = track.partition(":")
    if kind != "mlflow":
        raise RecipeError("Unknown tracker", expected="mlflow or mlflow:URI", track=track)
    return MlflowTracker(uri, note=note)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
