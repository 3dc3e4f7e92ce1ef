"""What a trial costs on a Ray cluster beside its training, and a sweep on nodes against the same sweep in processes.

    python benchmarks/cluster.py overhead              # 1, 2 and 4 nodes of one core; trials that sleep
    python benchmarks/cluster.py overhead --nodes 64   # needs about 15 GB of memory
    python benchmarks/cluster.py sweep                 # real trials: two nodes of one core against two processes

``overhead`` is a simulation: real nodes (processes of ``ray.cluster_utils``), the real scheduler and the real executor,
but a trial only sleeps. The overhead of a trial is ``wall time x nodes / trials - sleep``, once a worker runs on every
node. Expected: under 1.2 s, 2 % of a trial of 60 s; the driver takes less than one core.

``sweep`` trains the same CNNs on digits in both ways, in turn, and compares the time from the first submission to the
last outcome with all workers warm. Expected: the same validation losses, and at least 0.95 of the speed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", RAY_BACKEND_LOG_LEVEL="fatal")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from sweeps.sweep_images import prepared_digits

from housetrain.models.recipe import Recipe
from housetrain.sweeps import ray_executor
from housetrain.sweeps.executors import Executor, Processes
from housetrain.sweeps.ray_executor import RayExecutor
from housetrain.training.run import Run

MOST_S, LEAST_SPEED = 1.2, 0.95
SLEEP_S = 5.0


def sleeping_trial(request: dict[str, Any], place: object) -> dict[str, Any]:
    """Stand for a training."""
    time.sleep(float(request["recipe"]["seconds"]))
    return {"name": request["name"], "state": "complete", "reason": ""}


def drive(executor: Executor, requests: list[dict[str, Any]], slots: int) -> float:
    """Run trials as a sweep does and return the seconds it took."""
    waiting, busy, begin = list(requests), 0, time.perf_counter()
    while waiting or busy:
        while waiting and busy < slots:
            executor.submit(waiting.pop(0))
            busy += 1
        for outcome in executor.poll(1.0):
            assert outcome.state == "complete", outcome
            busy -= 1
    return time.perf_counter() - begin


def nodes_of(count: int) -> Any:
    """Return a cluster of ``count`` nodes with one core each; the head has none."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(count):
        cluster.add_node(num_cpus=1, wait=False)
    cluster.wait_for_nodes(timeout=600)
    return cluster


def overhead(counts: list[int], rounds: int) -> None:
    """Print the overhead of a sleeping trial for each number of nodes."""
    ray_executor.run_on_node = sleeping_trial
    worst = 0.0
    for count in counts:
        cluster = nodes_of(count)
        with tempfile.TemporaryDirectory() as folder:

            def trials(number: int, seconds: float, folder: str = folder) -> list[dict[str, Any]]:
                asked = {"prepared": folder, "data": "", "recipe": {"seconds": seconds}, "until": None}
                return [{**asked, "name": f"{i}", "folder": f"{folder}/s/trials/{i}"} for i in range(number)]

            executor = RayExecutor(cluster.address, workers=count)
            drive(executor, trials(2 * count, 1.0), count)  # a worker on every node
            cpu = time.process_time()
            wall = drive(executor, trials(rounds * count, SLEEP_S), count)
            cpu = time.process_time() - cpu
            executor.close()
        cluster.shutdown()
        a_trial = wall / rounds - SLEEP_S
        worst = max(worst, a_trial)
        print(f"{count} nodes, {rounds * count} trials of {SLEEP_S:g} s: {wall:.1f} s; overhead {a_trial:.2f} s; "
              f"driver {cpu / wall:.3f} cores", flush=True)  # fmt: skip
        assert cpu / wall < 1
    assert worst < MOST_S, f"{worst:.2f} s a trial"


def sweep(trials: int, epochs: int, pairs: int) -> None:
    """Print the speed of two nodes relative to two processes."""
    cluster, ratios, losses = nodes_of(2), [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = prepared_digits(folder, digits=(3, 8), size=24)

        def requests(place: str, count: int) -> list[dict[str, Any]]:
            asked = {"prepared": str(prepared.folder), "data": prepared.fingerprint, "until": None}
            recipes = [Recipe.of("cnn", conv=2, nodes=32, epochs=epochs, seed=seed, deterministic=True).to_json()
                       for seed in range(count)]  # fmt: skip
            return [{**asked, "name": f"{i}", "recipe": recipe, "folder": str(folder / place / "trials" / f"{i}")}
                    for i, recipe in enumerate(recipes)]  # fmt: skip

        executors: dict[str, Executor] = {
            "nodes": RayExecutor(cluster.address, workers=2), "processes": Processes(2, logs=folder / "log")
        }  # fmt: skip
        for kind, executor in executors.items():
            drive(executor, requests(f"warm-{kind}", 2), 2)
        for pair in range(pairs):
            took = {}
            for kind in sorted(executors, reverse=bool(pair % 2)):
                took[kind] = drive(executors[kind], requests(f"{kind}-{pair}", trials), 2)
                places = (folder / f"{kind}-{pair}" / "trials").iterdir()
                losses[kind] = {path.name: Run(path).result["val_loss"] for path in places if path.is_dir()}
            ratios.append(took["processes"] / took["nodes"])
            print(
                f"pair {pair + 1}: {took['nodes']:.1f} s on nodes, {took['processes']:.1f} s in processes", flush=True
            )
        for executor in executors.values():
            executor.close()
    cluster.shutdown()
    speed = statistics.median(ratios)
    print(f"speed of two nodes relative to two processes: {speed:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    assert losses["nodes"] == losses["processes"]
    assert speed >= LEAST_SPEED


def main() -> None:
    """Run one of the two benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("overhead", "sweep"))
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=6, help="trials per node")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    if given.what == "overhead":
        overhead(given.nodes, given.rounds)
    else:
        sweep(given.trials, given.epochs, given.pairs)


if __name__ == "__main__":
    main()
