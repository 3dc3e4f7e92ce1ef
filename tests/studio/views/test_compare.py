"""The Compare page: its numbers are the sweep folder's, finished or not."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from studio.conftest import Page, texts
from studio.sweeps import make_sweep

from housetrain.studio import jobs
from housetrain.sweeps.leaderboard import leaderboard
from housetrain.system.lock import Lock


@pytest.fixture
def sweep(work: Path) -> Path:
    return make_sweep(work)


def test_the_leaderboard_is_the_folders(page: Page, sweep: Path) -> None:
    test = page("compare")
    assert not test.exception
    board = leaderboard(sweep)
    [table] = test.dataframe
    assert list(table.value["model"]) == [row.name for row in board.rows]
    assert list(table.value["loss"]) == pytest.approx([row.val_loss for row in board.rows])
    assert list(table.value["parameters"]) == [row.parameters for row in board.rows]
    assert "Effect of each setting" in texts(test)
    [choice] = [box for box in test.selectbox if box.label == "Model"]
    assert choice.value == board.best.name


def test_a_running_sweep_is_watched_and_can_be_stopped(page: Page, sweep: Path) -> None:
    trial = sweep / "trials" / "1-conv-32-nodes-0-dense"
    (trial / "result.json").unlink()
    history = trial / "history.jsonl"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:4]))
    with Lock(sweep):
        test = page("compare")
        assert not test.exception
        assert [button for button in test.button if button.label == "Stop"]
        assert not [button for button in test.button if button.label == "Resume"]
    test = page("compare")
    assert "Not finished" in texts(test)
    assert [button for button in test.button if button.label == "Resume"]


def test_a_sweep_of_a_terminal_cannot_be_resumed_here_and_says_so(page: Page, sweep: Path) -> None:
    test = page("compare")
    [resume] = [button for button in test.button if button.label == "Resume"]
    resume.click().run()
    assert len(test.error) == 1 and "terminal" in test.error[0].value


def test_what_the_form_says_is_what_is_started(
    page: Page, finished: object, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    state = {"axis-dense": [0, 1], "axis-nodes": [8], "axis-conv": [2, 1], "axis-rate": [1e-3, 1e-4], "sweep-epochs": 3}
    test = page("compare", state=state)
    [button] = [one for one in test.button if one.label == "Train 8 models"]
    button.click().run()
    assert not test.exception
    [words] = begun
    assert words[:2] == ["sweep", str(work / "prepared" / "pets-12x12-grayscale")]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert (given["--conv"], given["--nodes"], given["--dense"]) == ("1,2", "8", "0,1")
    assert given["--set"] == "learning_rate=0.001,0.0001" and given["--epochs"] == "3"


def test_the_link_to_tensorboard_waits_until_it_answers(
    page: Page, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        words = ["board", str(sweep), "--port", str(server.getsockname()[1])]
        job = SimpleNamespace(active=True, words=words)
        monkeypatch.setattr(jobs, "newest", lambda *args, verb, **more: job if verb == "board" else None)
        test = page("compare")
        assert not test.exception
        [button] = [button for button in test.button if "TensorBoard" in button.label]
        assert button.disabled and not test.get("link_button")
        server.listen()
        test = page("compare")
        assert not test.exception
        assert not [button for button in test.button if "TensorBoard" in button.label]
        assert len(test.get("link_button")) == 1


def test_a_damaged_sweep_is_told_in_one_sentence(page: Page, sweep: Path) -> None:
    (sweep / "sweep.json").write_text("{torn")
    test = page("compare")
    assert not test.exception
    assert len(test.error) == 1 and "sweep.json" in test.error[0].value.replace("\\", "")
