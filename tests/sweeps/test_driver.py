"""The sweep: every trial once, side by side, through kills; and a choice that is not by chance."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps.fakes import Fake, Listener, small
from sweeps.sweep_images import prepared_digits

from housetrain.data.prepare import Prepared
from housetrain.errors import HousetrainError
from housetrain.models.recipe import Recipe
from housetrain.sweeps.driver import sweep
from housetrain.sweeps.executors import Outcome
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.status import look
from housetrain.sweeps.trial import TrialRequest
from housetrain.system import store
from housetrain.training.run import Run


def test_cells_that_do_not_fit_are_listed_before_the_first_trial(digits: Prepared, tmp_path: Path) -> None:
    executor, listener = Fake(), Listener()
    board = sweep(digits, small(conv=(1, 2, 3)), tmp_path / "s", executor=executor, callbacks=[listener])
    assert [note.partition(": ")[2].partition(":")[0] for note in listener.notes] == list(board.infeasible)
    assert listener.stages == ["begin sweep", "end sweep complete"] and listener.snapshots[-1].done == 4
    assert sorted(board.infeasible) == ["3-conv-4-nodes-0-dense", "3-conv-8-nodes-0-dense"]
    assert "smaller than its 3x3 kernel" in board.infeasible["3-conv-4-nodes-0-dense"]
    assert len(executor.given) == 4
    assert "2 trials do not fit" in board.summary()


def test_recipes_of_one_name_get_folders_of_their_own(digits: Prepared, tmp_path: Path) -> None:
    recipes = [Recipe.of("cnn", conv=1, nodes=4, learning_rate=rate) for rate in (1e-3, 3e-4)]
    board = sweep(digits, recipes, tmp_path / "s", executor=Fake())
    assert len({row.name for row in board.rows}) == 2
    assert {row.settings["learning_rate"] for row in board.rows} == {1e-3, 3e-4}


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
    assert "1 failed" in board.summary() and board.complete
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
    assert "No model beats the majority-class baseline" in board.summary()


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


def test_errors_of_the_folder_are_errors_of_housetrain(tmp_path: Path) -> None:
    with pytest.raises(HousetrainError, match="no such sweep"):
        leaderboard(tmp_path / "nowhere")
