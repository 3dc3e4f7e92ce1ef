"""The Ray executor: what it asks of a cluster and what it makes of the answers. Real nodes: test_ray_cluster.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_ray import FakeRay, NodeDiedError, RayTaskError
from sweeps.fakes import small

from housetrain.data.prepare import Prepared
from housetrain.errors import HousetrainError
from housetrain.models.recipe import Recipe
from housetrain.sweeps import ray_executor
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import TRIALS_PER_WORKER, Outcome
from housetrain.sweeps.ray_executor import RayExecutor
from housetrain.system import cluster, store
from housetrain.training.run import Run


def job(prepared: Prepared, folder: Path, **more: Any) -> dict[str, Any]:
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=2, batch_size=16, deterministic=True).to_json()
    data, images = prepared.fingerprint, str(prepared.folder)
    return {"name": folder.name, "prepared": images, "data": data, "recipe": recipe, "folder": str(folder),
            "until": None, **more}  # fmt: skip


def test_a_sweep_on_ray_ends_in_the_leaderboard_of_a_sweep_in_this_process(
    fake_ray: FakeRay, digits: Prepared, tmp_path: Path
) -> None:
    grid = small(conv=(1,), nodes=(2, 4))
    boards = [sweep(digits, grid, tmp_path / kind, executor=kind) for kind in ("ray", "in-process")]
    facts = [[(row.name, row.rank, row.val_loss, row.val_accuracy) for row in board.rows] for board in boards]
    assert facts[0] == facts[1] and all(board.complete for board in boards)
    assert fake_ray.tasks == 2 and not list((tmp_path / "ray").rglob(".cluster-*"))
    sweep(digits, grid, tmp_path / "ray", executor="ray")
    assert fake_ray.tasks == 2, "a finished trial never runs again"


def test_halving_works_unchanged(fake_ray: FakeRay, digits: Prepared, tmp_path: Path) -> None:
    from housetrain.sweeps.plan import plan

    board = sweep(digits, plan(small(conv=(1,), nodes=(2, 4), epochs=4), halving=True), tmp_path / "s", executor="ray")
    assert board.complete and {row.state for row in board.rows} <= {"complete", "pruned"} and fake_ray.tasks > 2


def test_optuna_works_unchanged(fake_ray: FakeRay, digits: Prepared, tmp_path: Path) -> None:
    from housetrain.sweeps.plan import plan

    fixed = {"model": "cnn", "conv": 1, "dense": 0, "epochs": 1, "batch_size": 32}
    asked = plan(space={"nodes": [2, 3, 4]}, fixed=fixed, trials=3)
    board = sweep(digits, asked, tmp_path / "s", executor="ray")
    assert board.complete and fake_ray.tasks == 3


def test_the_images_reach_a_node_once_and_the_run_names_where_they_are_on_this_machine(
    fake_ray: FakeRay, digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "cache"))
    here = Path(shutil.copytree(digits.folder, tmp_path / "prepared"))
    on_node = ray_executor.run_on_node

    def elsewhere(request: dict[str, Any], place: ray_executor.Place) -> dict[str, Any]:
        here.rename(tmp_path / "hidden")  # a node that does not see this folder
        ray_executor.open_prepared.cache_clear()
        try:
            return on_node(request, place)
        finally:
            (tmp_path / "hidden").rename(here)

    monkeypatch.setattr(ray_executor, "run_on_node", elsewhere)
    executor = RayExecutor()
    jobs = [job(Prepared.open(here), tmp_path / "trials" / name) for name in ("a", "b")]
    for one in jobs:
        executor.submit(one)
        while not (found := executor.poll(60)):
            continue
        assert found == [Outcome(one["name"], "complete")]
    executor.close()
    assert fake_ray.tasks == 3 and fake_ray.puts == 3, "asked for once, three files"
    assert len([path for path in (tmp_path / "cache" / "cluster").iterdir() if path.is_dir()]) == 1
    for one in jobs:
        assert store.read_json(Path(one["folder"]) / "input.json")["prepared"] == str(here)


def test_a_node_that_dies_is_an_outcome(fake_ray: FakeRay, digits: Prepared, tmp_path: Path) -> None:
    def die(number: int) -> None:
        raise NodeDiedError("a page of text")

    fake_ray.fail = die
    executor = RayExecutor()
    executor.submit(job(digits, tmp_path / "trials" / "a"))
    assert executor.poll(1) == [Outcome("a", "died", "its node died")]
    executor.close()


def test_with_storage_a_node_that_dies_costs_the_epoch_it_was_in(
    fake_ray: FakeRay, digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second node starts with what the first one stored, although its scratch folder is gone."""
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    run = ray_executor.run_trial
    started: list[int] = []

    def dying(request: dict[str, Any], callbacks: Any) -> dict[str, Any]:
        started.append(len(Run(Path(request["folder"])).history))
        if len(started) > 1:
            return run(request, callbacks)
        run({**request, "until": 1}, callbacks)
        raise NodeDiedError

    monkeypatch.setattr(ray_executor, "run_trial", dying)
    executor = RayExecutor(storage=str(tmp_path / "bucket"))
    asked = job(digits, tmp_path / "s" / "trials" / "a")
    executor.submit(asked)
    assert executor.poll(60)[0].state == "died" and len(Run(Path(asked["folder"])).history) == 1
    shutil.rmtree(asked["folder"])  # and the driver has lost its folder, too
    executor.submit(asked)
    assert executor.poll(60)[0].state == "complete" and started == [0, 1]
    executor.close()
    found = Run(Path(asked["folder"]))
    assert [row["epoch"] for row in found.history] == [1, 2] and found.model_path.is_file()
    assert not found.checkpoints.exists(), "they stay in the storage"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"keras": "0.1"}}, r"has other versions: .*keras \S+ there and 0.1 here"),
        ({"marker": "/nowhere/.cluster-1"}, "A node does not see the sweep folder .*--storage"),
    ],
)
def test_a_node_that_cannot_be_used_is_one_clear_line(
    fake_ray: FakeRay, digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any], said: str,
) -> None:  # fmt: skip
    on_node = ray_executor.run_on_node
    monkeypatch.setattr(ray_executor, "_VISIBLE_S", 0.0)
    monkeypatch.setattr(ray_executor, "run_on_node", lambda request, place: on_node(request, place._replace(**change)))
    executor = RayExecutor()
    executor.submit(job(digits, tmp_path / "s" / "trials" / "a"))
    with pytest.raises(HousetrainError, match=said) as caught:
        executor.poll(10)
    assert "\n" not in str(caught.value) and not Run(tmp_path / "s" / "trials" / "a").failure
    executor.close()


def test_a_node_without_the_package_is_one_clear_line(fake_ray: FakeRay, digits: Prepared, tmp_path: Path) -> None:
    def fail(number: int) -> None:
        raise RayTaskError("Traceback\n  many lines\nModuleNotFoundError: No module named 'housetrain'")

    fake_ray.fail = fail
    executor = RayExecutor()
    executor.submit(job(digits, tmp_path / "trials" / "a"))
    with pytest.raises(HousetrainError, match=r"^A node .* cannot run the work\. Do: .*No module named 'housetrain'"):
        executor.poll(1)
    executor.close()


def test_trials_ask_for_cores_and_gpus(fake_ray: FakeRay, digits: Prepared, tmp_path: Path) -> None:
    asked = job(digits, tmp_path / "trials" / "a")
    with_gpu, with_cores = RayExecutor(gpus=0.5, workers=3), RayExecutor(cpus=2)
    assert (with_gpu.slots, with_cores.slots) == (3, 1)
    with_gpu.submit(asked)
    with_cores.submit(asked)
    first, second = fake_ray.options
    assert (first["num_gpus"], first["max_calls"]) == (0.5, 1) and first["max_retries"] == 0
    assert (second["num_cpus"], second["max_calls"]) == (2, TRIALS_PER_WORKER)
    assert with_cores.slots == 1
    fake_ray.cpus = 8
    assert RayExecutor(cpus=2)._room(fake_ray.cluster_resources()) == 4
    for executor in (with_gpu, with_cores):
        executor.close()
    with pytest.raises(HousetrainError, match=r"no room for a trial.*1 of 0"):
        RayExecutor(gpus=1)._room(fake_ray.cluster_resources())


def test_without_the_extra_the_command_says_how_to_install_it(
    digits: Prepared, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "is_installed", lambda: False)
    code, out, err = call("sweep", digits.folder, "--executor", "ray", "--conv", "1", "--quiet")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "--executor ray requires" in err


def test_options_of_a_cluster_need_one(digits: Prepared, call: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = call("sweep", digits.folder, "--address", "auto", "--storage", "s3://b/x")
    assert code == 2 and "without a cluster: --address, --storage. Do: add --executor ray" in err
    code, _, err = call("run", digits.folder, "--executor", "ray")
    assert code == 2 and "One training runs on one machine. Do: add --sweep" in err
    code, _, err = call("sweep", digits.folder, "--executor", "slurm")
    assert code == 2 and "Expected: processes, ray" in err


def test_nothing_of_ray_is_imported_before_a_trial_needs_it() -> None:
    code = "import sys, housetrain.sweeps.ray_executor as r; e = r.RayExecutor(); e.slots; e.poll(0); e.close()"
    check = "assert not {'ray', 'fsspec', 'pyarrow', 'mlflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)
