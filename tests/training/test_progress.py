"""The progress file of a run."""

from __future__ import annotations

import json
from pathlib import Path

from housetrain.errors import DiskFull
from housetrain.system import store
from housetrain.training.progress import RunProgressFile


def test_the_progress_file_follows(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    file = RunProgressFile(path)

    def written() -> dict[str, object]:
        value = json.loads(path.read_text())
        assert value["pid"] > 0 and value["time"] > 0
        return dict(value)

    file.progress("features", 5, 10, images_per_s=100.0)
    assert (written()["phase"], written()["step"], written()["steps"]) == ("features", 5, 10)
    file.end("features")
    assert written()["phase"] == "features"
    file.begin("train", first_epoch=2, epochs=3, model=object())
    assert (written()["phase"], written()["epoch"], written()["epochs"]) == ("prepare", 2, 3)
    file.progress("train", 20, 40, phase="train", epoch=2, epochs=3, loss=0.5, eta_s=75.0)
    assert written()["phase"] == "train" and written()["loss"] == 0.5
    file.progress("train", 40, 40, phase="validate", epoch=2, epochs=3, loss=float("nan"), eta_s=75.0)
    assert written()["phase"] == "validate" and written()["loss"] is None
    file.epoch({"epoch": 2})
    file.note("a line")
    file.end("train", "complete")
    assert (written()["phase"], written()["step"], written()["eta_s"]) == ("complete", 40, 0.0)


def test_work_that_stops_early_is_written_down(tmp_path: Path) -> None:
    file = RunProgressFile(tmp_path / "progress.json")
    file.progress("features", 5, 10)
    file.end("features", "stopped", reason="Ctrl-C")
    assert store.read_json(tmp_path / "progress.json")["phase"] == "stopped"


def test_a_full_disk_does_not_stop_the_work_and_the_file_follows_again(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = RunProgressFile(tmp_path / "progress.json")

    def full(*_: object, **__: object) -> None:
        raise DiskFull("The disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_json_atomic", full)
        file.progress("train", 1, 10)
    assert not file.path.exists()
    file.progress("train", 2, 10)
    assert store.read_json(file.path)["step"] == 2
