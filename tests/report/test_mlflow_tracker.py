"""MLflow: what a training, a sweep and a run leave there, and that no tracker stops or delays a training."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweeps.sweep_images import prepared_digits

from housetrain.data.prepare import Prepared
from housetrain.errors import MissingExtra, RecipeError
from housetrain.models.recipe import Recipe
from housetrain.report import mlflow_tracker
from housetrain.report.mlflow_tracker import FILE, MlflowTracker, tracker_of
from housetrain.system import store
from housetrain.training.run import Run
from housetrain.training.train import train

RECIPE = {"conv": 1, "nodes": 2, "epochs": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared_digits(tmp_path_factory.mktemp("digits"), count=60)


class MlflowException(Exception):
    pass


class Server:
    """Keeps what a client sends.

    Attributes:
        runs: Run id -> what is known of it.
        broken: What every call raises; slow, how long each takes.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.broken: Exception | None = None
        self.slow_s = 0.0

    def client(self, uri: str) -> Server:
        self.uri = uri
        return self

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        time.sleep(self.slow_s)
        if self.broken is not None:
            raise self.broken
        return SimpleNamespace(experiment_id="7") if name == "known" else None

    def create_experiment(self, name: str) -> str:
        return "8"

    def create_run(self, experiment: str, *, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
        run_id = f"{len(self.runs):032x}"
        self.runs[run_id] = {"name": run_name, "experiment": experiment, "params": {}, "metrics": [], "files": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def update_run(self, run_id: str, *, status: str) -> None:
        if run_id not in self.runs:
            raise MlflowException("no such run")

    def get_metric_history(self, run_id: str, name: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(step=step) for key, _, step in self.runs[run_id]["metrics"] if key == name]

    def log_batch(self, run_id: str, *, metrics: Any = (), params: Any = ()) -> None:
        self.runs[run_id]["metrics"] += [(metric[0], metric[1], metric[3]) for metric in metrics]
        self.runs[run_id]["params"].update(params)

    def log_metric(self, run_id: str, name: str, value: float) -> None:
        self.runs[run_id][name] = value

    def log_artifact(self, run_id: str, path: str) -> None:
        self.runs[run_id]["files"].append(Path(path).name)

    def log_artifacts(self, run_id: str, path: str, *, artifact_path: str) -> None:
        self.runs[run_id]["files"].append(artifact_path)

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id]["status"] = status


def installed(found: bool) -> SimpleNamespace:
    """What the tracker sees of importlib: everybody else needs the real one."""
    return SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: found or None))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    tuples = SimpleNamespace(Metric=lambda *given: given, Param=lambda *given: given)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=found.client))
    monkeypatch.setitem(sys.modules, "mlflow.entities", tuples)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", SimpleNamespace(MlflowException=MlflowException))
    monkeypatch.setattr(mlflow_tracker, "importlib", installed(True))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *mlflow_tracker._ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    return found


def losses(run: dict[str, Any]) -> list[tuple[float, int]]:
    return [(value, step) for name, value, step in run["metrics"] if name == "val_loss"]


def test_a_training_is_one_run_also_when_it_is_resumed(server: Server, digits: Prepared, tmp_path: Path) -> None:
    recipe = Recipe.of("cnn", **RECIPE)
    with MlflowTracker("http://here") as tracker:
        train(digits, recipe, tmp_path / "run", until=1, callbacks=[tracker])
    [found] = server.runs.values()
    assert found["status"] == "KILLED" and found["name"] == "run" and found["params"]["nodes"] == "2"
    with MlflowTracker("http://here") as tracker:
        tracker.finish(
            train(digits, recipe, tmp_path / "run", callbacks=[tracker]), artifacts=[tmp_path / "run" / "tb"]
        )
    [found] = server.runs.values()
    history = Run(tmp_path / "run").history
    assert losses(found) == [(row["val_loss"], row["epoch"]) for row in history] and len(history) == 3
    assert found["status"] == "FINISHED" and found["files"] == ["tb"] and found["parameters"] > 0
    assert {name for name, _, _ in found["metrics"]} >= {"loss", "accuracy", "val_accuracy", "lr"}
    with MlflowTracker("http://elsewhere") as tracker:  # a new server gets all of it
        tracker.finish(Run(tmp_path / "run"))
    assert losses(list(server.runs.values())[1]) == losses(found)


def test_a_file_of_a_stranger_names_no_run(server: Server, digits: Prepared, tmp_path: Path) -> None:
    run = train(digits, Recipe.of("cnn", **{**RECIPE, "epochs": 1}), tmp_path / "run")
    for run_id in ("../../x", "f" * 32):
        store.write_json_atomic(run.folder / FILE, {"uri": "http://here", "run_id": run_id})
        with MlflowTracker("http://here") as tracker:
            tracker.finish(run)
        assert store.read_json(run.folder / FILE)["run_id"] in server.runs


def test_every_trial_of_a_sweep_is_a_run(server: Server, digits: Prepared, tmp_path: Path) -> None:
    from housetrain.sweeps.driver import sweep

    recipes = {name: Recipe.of("cnn", **{**RECIPE, "seed": seed}) for seed, name in enumerate(("a", "b"))}
    with MlflowTracker("http://here") as tracker:
        sweep(digits, recipes, tmp_path / "s", executor="in-process", callbacks=[tracker])
    assert sorted(run["name"] for run in server.runs.values()) == ["s/a", "s/b"]
    assert all(len(losses(run)) == 3 and run["status"] == "FINISHED" for run in server.runs.values())


def test_a_server_that_fails_or_is_slow_stops_and_delays_nothing(
    server: Server, digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_tracker, "_PATIENCE_S", 0.1)
    said = list[str]()
    server.broken = ConnectionError("no\nroute")
    with MlflowTracker("http://nowhere", note=said.append) as tracker:
        run = train(digits, Recipe.of("cnn", **RECIPE), tmp_path / "run", callbacks=[tracker])
        tracker.finish(run)
    assert run.complete and len(said) <= 1, "said at an event, or at the end"
    assert all("MLflow cannot be used: ConnectionError: no route" in line for line in said)

    said.clear()
    server.broken, server.slow_s = None, 3.0
    with MlflowTracker("http://slow", note=said.append) as tracker:
        began = time.monotonic()
        for _ in range(50):
            tracker.begin("train", run=tmp_path / "run")
        assert time.monotonic() - began < 1.0
    assert said == ["Tracking stopped, the work is complete: MLflow did not take everything in time. "
                    "Received: uri='http://slow'"]  # fmt: skip


def test_the_command_trains_although_the_server_does_not_exist(
    digits: Prepared, call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = (
        "--conv",
        1,
        "--nodes",
        2,
        "--epochs",
        1,
        "--output",
        tmp_path / "run",
        "--track",
        "mlflow:http://127.0.0.1:9",
    )
    code, _, err = call("train", digits.folder, *words)
    assert code == 0 and Run(tmp_path / "run").complete
    assert "the work" in err and "MLflow cannot be used" in err and "Traceback" not in err


def test_mlflow_itself_keeps_a_training(digits: Prepared, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    uri = str(tmp_path / "mlruns")
    with MlflowTracker(uri) as tracker:
        run = train(digits, Recipe.of("cnn", **RECIPE), tmp_path / "run", callbacks=[tracker])
        tracker.finish(run, artifacts=[run.model_path])
    client = mlflow.MlflowClient(uri)
    run_id = store.read_json(run.folder / FILE)["run_id"]
    kept = client.get_run(run_id)
    assert kept.info.status == "FINISHED" and kept.data.params["model"] == "cnn"
    assert [metric.step for metric in client.get_metric_history(run_id, "val_loss")] == [1, 2, 3]
    assert [file.path for file in client.list_artifacts(run_id)] == ["model.keras"]


def test_another_tracker_and_a_missing_library_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"Unknown tracker.*mlflow:URI"):
        tracker_of("wandb")
    monkeypatch.setattr(mlflow_tracker, "importlib", installed(False))
    with pytest.raises(MissingExtra, match="mlflow"):
        tracker_of("mlflow")
