"""The sweep: every cell once, side by side, through kills; and a choice that luck did not make."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeps.sweep_images import prepared_digits

from housetrain.data.prepare import Prepared
from housetrain.errors import HousetrainError, RecipeError, StoreError
from housetrain.models.recipe import Recipe
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import Executor, InProcess, Outcome, Processes
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.optuna_search import Range
from housetrain.sweeps.plan import differences, free_folder, plan, request
from housetrain.sweeps.search import rungs
from housetrain.sweeps.status import Snapshot, look
from housetrain.sweeps.trial import TrialRequest
from housetrain.system import store
from housetrain.system.events import Callback
from housetrain.training.run import Run


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """300 threes and eights of 12x12 pixels."""
    return prepared_digits(tmp_path_factory.mktemp("digits"))


def small(**more: object) -> Grid:
    """A grid of nets that train in a second."""
    settings = {"conv": (1, 2), "nodes": (4, 8), "dense": (0,), "epochs": 2, "batch_size": 16, "deterministic": True}
    return Grid(**{**settings, **more})


class Fake:
    """An executor without Keras: it writes what a training would leave, as a script says."""

    def __init__(self, slots: int = 2, script: Callable[[TrialRequest], Outcome] | None = None) -> None:
        self.slots, self.script = slots, script or self.train
        self.given: list[TrialRequest] = []
        self._waiting: list[TrialRequest] = []
        self.most = 0

    def submit(self, job: TrialRequest) -> None:
        self.given.append(json.loads(json.dumps(job)))  # JSON-plain, or it breaks here
        self._waiting.append(job)
        self.most = max(self.most, len(self._waiting))

    def poll(self, timeout_s: float) -> list[Outcome]:
        return [self.script(self._waiting.pop(0))] if self._waiting else []

    def close(self) -> None:
        self._waiting.clear()

    @staticmethod
    def train(job: TrialRequest) -> Outcome:
        """Write a history whose losses follow from the name: more nodes and more convolutions do better."""
        recipe, folder = job["recipe"], Path(job["folder"])
        quality = recipe["conv"] + recipe["nodes"] / 100 + recipe["seed"] / 1000
        done = len(Run(folder).history)
        last = job["until"] or recipe["epochs"]
        if not (folder / "recipe.json").exists():
            store.write_json_atomic(folder / "recipe.json", recipe)
        for epoch in range(done + 1, last + 1):
            row = {"epoch": epoch, "loss": 1 / epoch, "val_loss": 1 / (quality * epoch), "val_accuracy": 0.9}
            store.append_line(folder / "history.jsonl", {**row, "seconds": 0.1, "images_per_s": 100.0})
        if last < recipe["epochs"]:
            return Outcome(job["name"], "paused")
        store.write_json_atomic(folder / "result.json", {"reason": "all epochs", "seconds": 1.0, "parameters": 10})
        return Outcome(job["name"], "complete")


class Listener(Callback):
    """Keeps every event of a sweep."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.notes: list[str] = []
        self.stages: list[str] = []

    def begin(self, stage: str, **facts: object) -> None:
        self.stages.append(f"begin {stage}")

    def progress(self, stage: str, done: int, total: int, **facts: object) -> None:
        snapshot = facts["snapshot"]
        assert stage == "sweep" and isinstance(snapshot, Snapshot) and (done, total) == (snapshot.done, snapshot.total)
        self.snapshots.append(snapshot)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, stage: str, state: str = "complete", **facts: object) -> None:
        self.stages.append(f"end {stage} {state}")


# ------------------------------------------------------------------------------------------------- what is asked
def test_the_tutorials_grid_has_27_names_and_order(digits: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="None of the 4"):
        sweep(digits, small(conv=(3, 4)), tmp_path / "s", executor=Fake())
    assert not (tmp_path / "s").exists()
    asked = plan()
    assert len(asked.recipes) == 27
    assert list(asked.recipes)[:4] == [
        "1-conv-32-nodes-0-dense", "2-conv-32-nodes-0-dense", "3-conv-32-nodes-0-dense", "1-conv-64-nodes-0-dense",
    ]  # fmt: skip


def test_cells_that_do_not_fit_are_listed_before_the_first_trial(digits: Prepared, tmp_path: Path) -> None:
    executor, listener = Fake(), Listener()
    board = sweep(digits, small(conv=(1, 2, 3)), tmp_path / "s", executor=executor, callbacks=[listener])
    assert [note.partition(": ")[2].partition(":")[0] for note in listener.notes] == list(board.infeasible)
    assert listener.stages == ["begin sweep", "end sweep complete"] and listener.snapshots[-1].done == 4
    assert sorted(board.infeasible) == ["3-conv-4-nodes-0-dense", "3-conv-8-nodes-0-dense"]
    assert "smaller than its 3x3 kernel" in board.infeasible["3-conv-4-nodes-0-dense"]
    assert len(executor.given) == 4
    assert "2 trials do not fit" in board.in_words()


def test_a_bad_recipe_stops_it_before_the_first_trial(digits: Prepared, tmp_path: Path) -> None:
    executor = Fake()
    for what in ({"a": Recipe.of("cnn", conv=1), "b": Recipe.of("cnn", conv=1, image_size=50)}, []):
        with pytest.raises(RecipeError):
            sweep(digits, what, tmp_path / "s", executor=executor)
    assert not executor.given and not (tmp_path / "s").exists()


def test_the_longest_trials_begin_first_and_no_more_than_there_are_slots(digits: Prepared, tmp_path: Path) -> None:
    executor = Fake(slots=3)
    sweep(digits, small(), tmp_path / "s", executor=executor)
    names = [job["name"] for job in executor.given]
    assert names[0] == "2-conv-8-nodes-0-dense" and names[-1] == "1-conv-4-nodes-0-dense"
    assert executor.most == 3


def test_recipes_of_one_name_get_folders_of_their_own(digits: Prepared, tmp_path: Path) -> None:
    recipes = [Recipe.of("cnn", conv=1, nodes=4, learning_rate=rate) for rate in (1e-3, 3e-4)]
    board = sweep(digits, recipes, tmp_path / "s", executor=Fake())
    assert len({row.name for row in board.rows}) == 2
    assert {row.settings["learning_rate"] for row in board.rows} == {1e-3, 3e-4}


# ------------------------------------------------------------------------------------------------- going on
def test_it_goes_on_and_trains_nothing_twice(digits: Prepared, tmp_path: Path) -> None:
    folder, grid = tmp_path / "s", small()

    class Stop(Fake):
        def poll(self, timeout_s: float) -> list[Outcome]:
            if len(self.given) == 4:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    with pytest.raises(KeyboardInterrupt):
        sweep(digits, grid, folder, executor=Stop())
    half = leaderboard(folder)
    assert not half.complete and 0 < len(half.ranked) < 4
    second, third = Fake(), Fake()
    board = sweep(digits, grid, folder, executor=second)
    assert board.complete and len(board.ranked) == 4
    assert {job["name"] for job in second.given} == {row.name for row in board.rows} - {r.name for r in half.ranked}
    written = (folder / "leaderboard.json").stat().st_mtime_ns
    assert sweep(digits, grid, folder, executor=third) == board
    assert not third.given and (folder / "leaderboard.json").stat().st_mtime_ns == written


def test_another_sweep_in_the_same_folder_is_refused(digits: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    sweep(digits, small(), folder, executor=Fake())
    with pytest.raises(StoreError, match="another sweep"):
        sweep(digits, small(nodes=(4, 16)), folder, executor=Fake())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"chapter\.tex"):
        sweep(digits, small(), tmp_path / "thesis", executor=Fake())


def test_it_is_the_same_sweep_whatever_an_upgrade_changes(
    digits: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that an older recipe lacks has its default, and what is derived from the recipes does not count."""
    monkeypatch.chdir(tmp_path)
    asked, other = request(plan(small()), digits).value, request(plan(small(epochs=3)), digits).value
    folder = free_folder(digits, asked)
    board = sweep(digits, small(), executor=Fake())
    assert board.folder == folder == free_folder(digits, asked)
    kept = store.read_json(folder / "sweep.json")
    for trial in kept["trials"]:
        del trial["recipe"]["label_smoothing"]
        trial["flops"] += 1
    store.write_json_atomic(folder / "sweep.json", kept)
    assert differences(folder, asked) == [] and free_folder(digits, asked) == folder
    assert sweep(digits, small(), executor=Fake()).folder == folder
    assert "recipe of" in differences(folder, other)[0]
    assert free_folder(digits, other).name == f"{digits.folder.name}-2"
    assert differences(folder, {**asked, "data": "other"}) == ["the data differ"]


def test_a_process_that_dies_costs_a_try_and_in_the_end_only_its_trial(digits: Prepared, tmp_path: Path) -> None:
    deaths: list[str] = []

    def script(job: TrialRequest) -> Outcome:
        if job["name"] == "1-conv-4-nodes-0-dense":
            deaths.append(job["name"])
            return Outcome(job["name"], "died", "its process was killed (out of memory?)")
        if job["name"] == "2-conv-8-nodes-0-dense" and deaths.count(job["name"]) < 1:
            deaths.append(job["name"])
            return Outcome(job["name"], "died", "its process was killed (out of memory?)")
        return Fake.train(job)

    board = sweep(digits, small(), tmp_path / "s", executor=Fake(script=script))
    rows = {row.name: row for row in board.rows}
    assert rows["2-conv-8-nodes-0-dense"].state == "complete"
    assert rows["1-conv-4-nodes-0-dense"].state == "failed"
    assert "out of memory" in rows["1-conv-4-nodes-0-dense"].reason
    assert deaths.count("1-conv-4-nodes-0-dense") == 3
    assert "1 failed" in board.in_words() and board.complete
    again = Fake()
    assert sweep(digits, small(), tmp_path / "s", executor=again) == board and not again.given
    mended = sweep(digits, small(), tmp_path / "s", executor=Fake(), retry_failed=True)
    assert all(row.state == "complete" for row in mended.rows)


def test_progress_between_deaths_forgives_them(digits: Prepared, tmp_path: Path) -> None:
    def script(job: TrialRequest) -> Outcome:
        done = len(Run(Path(job["folder"])).history)
        if done < 7:
            Fake.train({**job, "until": done + 1})
            return Outcome(job["name"], "died", "killed")
        return Fake.train(job)

    board = sweep(digits, small(conv=(1,), nodes=(4,), epochs=8), tmp_path / "s", executor=Fake(script=script))
    assert board.best.state == "complete"


def test_the_time_limit_stops_it_and_the_next_call_goes_on(digits: Prepared, tmp_path: Path) -> None:
    board = sweep(digits, small(), tmp_path / "s", executor=Fake(), time_limit_s=1e-9)
    assert not board.complete and not board.ranked
    assert sweep(digits, small(), tmp_path / "s", executor=Fake()).complete


# ------------------------------------------------------------------------------------------------- halving
def test_rungs() -> None:
    assert rungs(10) == [1, 3, 10]
    assert rungs(10, first=2) == [3, 10]
    assert rungs(1) == [1]
    assert rungs(27) == [1, 3, 9, 27]


def test_halving_finds_the_same_best_with_a_fraction_of_the_epochs(digits: Prepared, tmp_path: Path) -> None:
    grid = small(conv=(1, 2), nodes=(4, 8, 16), epochs=9)
    whole = sweep(digits, grid, tmp_path / "all", executor=Fake())
    executor = Fake()
    board = sweep(digits, plan(grid, halving=True), tmp_path / "half", executor=executor)
    assert board.best.name == whole.best.name
    assert [row.state for row in board.rows].count("pruned") == 5
    trained = sum(row.epochs for row in board.rows)
    assert trained == 6 * 1 + 2 * 2 + 1 * 6
    assert board.epochs_saved == 6 * 9 - trained and f"saved {board.epochs_saved} of 54 epochs" in board.in_words()
    again = Fake()
    assert sweep(digits, plan(grid, halving=True), tmp_path / "half", executor=again) == board and not again.given


def test_halving_decides_the_same_whoever_is_quicker_and_however_often_it_is_stopped(
    digits: Prepared, tmp_path: Path
) -> None:
    grid = plan(small(conv=(1, 2), nodes=(4, 8, 16), epochs=9), halving=True)
    straight = sweep(digits, grid, tmp_path / "a", executor=Fake(slots=1))

    class Last(Fake):
        """Ends the last of its jobs first, and is stopped again and again."""

        def poll(self, timeout_s: float) -> list[Outcome]:
            if len(self.given) == 5:
                raise KeyboardInterrupt
            return [self.script(self._waiting.pop())]

    for _ in range(12):
        try:
            board = sweep(digits, grid, tmp_path / "b", executor=Last(slots=3))
            break
        except KeyboardInterrupt:
            continue
    facts = [(row.name, row.state, row.epochs, row.val_loss) for row in board.rows]
    assert facts == [(row.name, row.state, row.epochs, row.val_loss) for row in straight.rows]


# ------------------------------------------------------------------------------------------------- Optuna
@pytest.mark.parametrize("halving", [False, True])
def test_optuna_searches_where_it_is_told_and_goes_on(digits: Prepared, tmp_path: Path, halving: bool) -> None:
    pytest.importorskip("optuna")
    space = {"conv": [1, 2], "nodes": [4, 8, 16], "learning_rate": Range(1e-4, 1e-2)}
    asked = plan(space=space, fixed={"epochs": 9, "dense": 0}, trials=12, halving=halving)
    straight = sweep(digits, asked, tmp_path / "a", executor=Fake(slots=1))
    rates = [row.settings["learning_rate"] for row in straight.rows]
    assert len(straight.rows) == 12 and len(set(rates)) == 12 and min(rates) >= 1e-4 and max(rates) <= 1e-2
    assert (straight.epochs_saved > 0) is halving

    class Stop(Fake):
        def poll(self, timeout_s: float) -> list[Outcome]:
            if len(self.given) == 3:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    for _ in range(40):
        try:
            board = sweep(digits, asked, tmp_path / "b", executor=Stop(slots=1))
            break
        except KeyboardInterrupt:
            continue
    assert [(row.name, row.settings, row.epochs, row.val_loss) for row in board.rows] == [
        (row.name, row.settings, row.epochs, row.val_loss) for row in straight.rows
    ]


def test_a_space_with_a_wrong_value_is_refused(digits: Prepared, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="dropout"):
        plan(space={"dropout": Range(0.0, 1.5)})
    with pytest.raises(RecipeError, match="learning_rte"):
        plan(space={"learning_rte": [1.0]})


# ------------------------------------------------------------------------------------------------- with real training
EXECUTORS: dict[str, Callable[[Path], Executor]] = {
    "in-process": lambda folder: InProcess(),
    "processes": lambda folder: Processes(2, logs=folder, trials=2),
}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_executor_runs_pauses_fails_and_goes_on(kind: str, digits: Prepared, tmp_path: Path) -> None:
    """The contract: JSON in, run folder out; a job that fails is an outcome; close may come twice."""
    executor = EXECUTORS[kind](tmp_path / "log")
    recipe = Recipe.of("cnn", conv=1, nodes=4, epochs=3, batch_size=16, deterministic=True)

    def job(name: str, until: int | None = None, *, model: str = "cnn", data: str = "") -> dict[str, object]:
        settings = {**recipe.to_json(), "model": model}
        value = {"name": name, "prepared": str(digits.folder), "data": data or digits.fingerprint, "recipe": settings}
        return {**value, "folder": str(tmp_path / name), "until": until}

    def run(*jobs: dict[str, object]) -> dict[str, Outcome]:
        ended: dict[str, Outcome] = {}
        waiting = list(jobs)
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < executor.slots:
                executor.submit(waiting.pop(0))
                under_way += 1
            for outcome in executor.poll(60.0):
                ended[outcome.name] = outcome
                under_way -= 1
        return ended

    try:
        first = run(job("whole"), job("part", until=1), job("wrong", model="nothing"), job("elsewhere", data="x"))
        assert first["whole"] == Outcome("whole", "complete")
        assert first["part"].state == "paused" and len(Run(tmp_path / "part").history) == 1
        assert first["wrong"].state == "failed" and "nothing" in first["wrong"].reason
        assert first["elsewhere"].state == "failed" and "have changed since" in first["elsewhere"].reason
        assert Run(tmp_path / "wrong").failure == first["wrong"].reason
        second = run(job("part"), job("whole"))
        assert second["part"].state == "complete" and second["whole"].state == "complete"
    finally:
        executor.close()
        executor.close()
    whole, part = Run(tmp_path / "whole"), Run(tmp_path / "part")
    for row, other in zip(whole.history, part.history, strict=True):
        assert row["val_loss"] == other["val_loss"]
    outputs = [np.load(run.folder / "validation.npy") for run in (whole, part)]
    assert np.array_equal(*outputs) and outputs[0].shape == (len(digits.labels("validation")), 1)
    assert store.read_json(tmp_path / "whole" / "trial.json")["latency_ms"] > 0


@pytest.fixture(scope="session")
def swept(digits: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """A real sweep in two processes."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    grid = small(nodes=(4, 16), epochs=6, learning_rate=3e-3)
    listener = Listener()
    board = sweep(digits, grid, folder, workers=2, callbacks=[listener])
    snapshots = listener.snapshots
    assert any(snapshot.live for snapshot in snapshots), "no snapshot shows a running trial"
    assert snapshots[-1].done == snapshots[-1].total == 4
    return board


def test_a_real_sweep_learns_and_agrees_with_its_run_folders(swept: Leaderboard) -> None:
    assert swept.complete and [row.state for row in swept.rows] == ["complete"] * 4
    assert swept.beats_majority and swept.best.val_accuracy > 0.9
    losses = [row.val_loss for row in swept.rows]
    assert losses == sorted(losses)
    for row in swept.rows:
        run = swept.run_of(row)
        assert row.val_loss == min(epoch["val_loss"] for epoch in run.history)
        assert row.parameters == run.result["parameters"]
        assert row.model_bytes == run.model_path.stat().st_size
        assert row.latency_ms > 0 and row.flops > 0 and row.images_per_s > 0
        assert row.behind_error is not None
    assert swept.best.tied and swept.smallest_within_one_se in swept.tied
    assert store.read_json(swept.folder / "leaderboard.json")["best"] == swept.best.name
    assert leaderboard(swept.folder) == swept
    assert look(swept.folder).live == ()


def test_tensorboard_has_a_run_for_each_trial_with_hparams(swept: Leaderboard) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    for row in swept.rows:
        logs = swept.run_of(row).folder / "tb"
        root = EventAccumulator(str(logs)).Reload()
        assert root.Scalars("best/val_loss")[-1].value == pytest.approx(row.val_loss, rel=1e-6)
        assert root.Scalars("parameters")[-1].value == row.parameters
        content = root.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        assert start.hparams["nodes"].number_value == row.settings["nodes"]
        for name in ("train", "validation"):
            events = EventAccumulator(str(logs / name)).Reload()
            assert len(events.Scalars("epoch_loss")) == 6


def test_shuffled_labels_are_found_out(tmp_path: Path) -> None:
    nothing = prepared_digits(tmp_path, shuffled=True)
    board = sweep(nothing, small(epochs=4), tmp_path / "s", executor="in-process")
    assert not board.beats_majority
    assert "No model beats the majority-class baseline" in board.in_words()


def test_a_net_that_breaks_costs_only_itself(digits: Prepared, tmp_path: Path) -> None:
    recipes = {
        "fine": Recipe.of("cnn", conv=1, nodes=4, epochs=2),
        "wild": Recipe.of("cnn", conv=1, nodes=4, epochs=2, optimizer="sgd", learning_rate=100, precision="float32"),
        "huge": Recipe.of("cnn", conv=1, nodes=4, dense=2, epochs=2, ema=0.5),
    }
    board = sweep(digits, recipes, tmp_path / "s", executor="in-process")
    states = {row.name: row for row in board.rows}
    assert states["fine"].state == states["huge"].state == "complete"
    if states["wild"].state == "failed":
        assert "not a number" in states["wild"].reason


def test_a_killed_worker_costs_no_trial(digits: Prepared, tmp_path: Path) -> None:
    """kill -9 for a worker in the middle of its training: another one goes on."""
    killed: list[int] = []

    class Killer(Callback):
        def progress(self, stage: str, done: int, total: int, **facts: Any) -> None:
            for live in facts["snapshot"].live:
                pid = Run(tmp_path / "s" / "trials" / live.name).progress["pid"]
                if not killed and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    grid = small(conv=(1,), nodes=(4,), epochs=150)
    board = sweep(digits, grid, tmp_path / "s", workers=1, callbacks=[Killer()])
    assert killed and board.complete and board.best.state == "complete"
    assert [row["epoch"] for row in board.best_run.history] == list(range(1, 151))


def test_workers_die_with_their_driver(digits: Prepared, tmp_path: Path) -> None:
    import subprocess
    import time

    import psutil

    code = f"""
from pathlib import Path
from housetrain.data.prepare import Prepared
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.driver import sweep
grid = Grid(conv=(1,), nodes=(4, 8), dense=(0,), epochs=5000, batch_size=16)
sweep(Prepared.open(Path({str(digits.folder)!r})), grid, {str(tmp_path / "s")!r}, workers=2)
"""
    driver = subprocess.Popen([sys.executable, "-c", code])
    limit = time.monotonic() + 120
    while len(list((tmp_path / "s").glob("trials/*/history.jsonl"))) < 2:
        assert time.monotonic() < limit and driver.poll() is None
        time.sleep(0.1)
    workers = psutil.Process(driver.pid).children(recursive=True)
    assert len(workers) == 2
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_errors_of_the_folder_are_errors_of_housetrain(tmp_path: Path) -> None:
    with pytest.raises(HousetrainError, match="no such sweep"):
        leaderboard(tmp_path / "nowhere")
