"""kill -9 at any instant: the same command goes on, no finished epoch is lost, and the weights end up bit-equal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from housetrain.training.run import Run

SCRIPT = Path(__file__).with_name("train_digits.py")


@dataclass
class Process:
    """One start of the training: what it printed, and when it began to train."""

    process: subprocess.Popen[str]
    began: threading.Event = field(default_factory=threading.Event)
    epochs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "begin":
                self.began.set()
            elif line.strip().isdigit():
                self.epochs.append(int(line))
        self.began.set()

    def end(self, *, kill: bool = False) -> int:
        """Wait for its end, or bring it about; everything it printed is in ``epochs`` then."""
        if kill:
            self.process.kill()
        code = self.process.wait(timeout=300)
        self.reader.join(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def start(arrays: Path, folder: Path) -> Process:
    command = [sys.executable, str(SCRIPT), str(arrays), str(folder)]
    log = folder.with_suffix(".log").open("a")
    return Process(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ))


def end_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "end.json").read_text()))


def look_at(folder: Path) -> None:
    """Whatever instant it was killed at, the run can be read."""
    if (folder / "recipe.json").exists():
        run = Run.open(folder)
        assert run.state in ("new", "stopped", "complete")
        assert [row["epoch"] for row in run.history] == list(range(1, len(run.history) + 1))
        _ = run.progress, run.result, run.failure


def test_one_kill_and_the_same_command_again(tmp_path: Path) -> None:
    whole = start(tmp_path / "arrays of the whole", tmp_path / "whole")
    first = start(tmp_path / "arrays", tmp_path / "run")
    assert first.began.wait(120)
    while len(first.epochs) < 3 and first.process.poll() is None:
        time.sleep(0.001)
    assert first.end(kill=True) == -9, (tmp_path / "run.log").read_text()
    look_at(tmp_path / "run")
    again = start(tmp_path / "arrays", tmp_path / "run")
    assert again.end() == 0, (tmp_path / "run.log").read_text()
    assert whole.end() == 0, (tmp_path / "whole.log").read_text()
    assert [*first.epochs, *again.epochs] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert end_of(tmp_path / "run") == end_of(tmp_path / "whole")


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_thirty_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("HOUSETRAIN_KILL_SEED", time.time_ns() % 10**6))
    rng = random.Random(seed)
    whole = start(tmp_path / "arrays", tmp_path / "whole")
    launched = time.monotonic()
    whole.began.wait(300)
    began = time.monotonic()
    assert whole.end() == 0, (tmp_path / "whole.log").read_text()
    starting, training = began - launched, time.monotonic() - began
    expected = end_of(tmp_path / "whole")

    kills = hits = finished = number = 0
    while kills < 30 or finished == 0:
        folder = tmp_path / f"run{number}"
        kept: list[int] = []
        while True:
            process = start(tmp_path / "arrays", folder)
            if kills < 30:
                if rng.random() < 0.1:  # some before it trains, while everything is being set up
                    time.sleep(rng.uniform(0.5, 1.0) * starting)
                else:
                    process.began.wait(300)
                    time.sleep(rng.uniform(0, 0.6) * training)
                alive = process.process.poll() is None
                code = process.end(kill=True)
                assert code in (-9, 0), folder.with_suffix(".log").read_text()
                kills += alive
            else:
                assert process.end() == 0, folder.with_suffix(".log").read_text()
            hits += bool(process.epochs)
            look_at(folder)
            if kept and process.epochs:  # no finished epoch is trained again
                assert process.epochs[0] > kept[-1]
            kept += process.epochs
            if (folder / "end.json").exists():
                break
        # Killed after the result and before end.json, the last start had no checkpoint to look at: then it says less.
        for name, value in end_of(folder).items():
            assert value == expected[name], f"{name}, HOUSETRAIN_KILL_SEED={seed}"
        finished, number = finished + 1, number + 1
    with capsys.disabled():
        sys.stdout.write(
            f"\n{kills} kills, {hits} starts that finished an epoch, {finished} runs ended bit-equal, seed {seed}\n"
        )
    assert kills >= 30
