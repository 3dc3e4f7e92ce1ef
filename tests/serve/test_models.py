"""Names of bundles, and what tells that one changed. Reloading is tested with a real server in test_server.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_run import Tiny

from housetrain.errors import HousetrainError
from housetrain.serve import models


def test_a_name_is_given_or_the_folders(tmp_path: Path) -> None:
    run = tmp_path / "my run (2)"
    (run / "bundle").mkdir(parents=True)
    (odd := tmp_path / "a=b").mkdir()
    found = models.named([f"cats={tmp_path}", str(run), str(odd)])
    assert found == {"cats": tmp_path, "my-run-2": run, "a-b": odd}
    assert models.named([str(run / "bundle")]) == {"my-run-2": run / "bundle"}


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(HousetrainError, match="NAME=FOLDER"):
        models.named(["runs/pets", "others/pets"])


def test_every_file_of_a_bundle_counts_and_other_files_of_a_run_do_not(received: Path, tiny: Tiny) -> None:
    state = models._state(received)
    assert state == models._state(received) and state != models._state(tiny.run)
    (received / "history.jsonl").write_text("")
    assert models._state(received) == state
    for name in ("golden.npz", "bundle.json", "manifest.json"):
        os.utime(received / "bundle" / name, ns=(1, 1))
        assert models._state(received) != state
        state = models._state(received)
    os.utime(received / "model.keras", ns=(1, 1))
    assert models._state(received) != state
    assert models._state(received / "nothing") == ()
