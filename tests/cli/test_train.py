"""sweep, leaderboard and compare: what bad options get, and the formats of a leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from noise_folders import folder_of

Call = Callable[..., tuple[int, str, str]]


def test_a_cell_that_does_not_fit_is_refused_before_any_image_is_read(call: Call, tmp_path: Path) -> None:
    code, _, err = call("run", tmp_path / "not-even-there", "--model", "cnn", "--conv", "5")
    assert code == 2
    assert "smaller than its 3x3 kernel" in err


def a_sweep(folder: Path) -> Path:
    """Two trained cells and one that does not fit, written by hand."""
    from sweep_by_hand import answers, labels, write_sweep

    cells = {
        f"2-conv-{nodes}-nodes-0-dense": {
            "recipe": {"conv": 2, "nodes": nodes, "dense": 0},
            "outputs": [answers(labels(), right=0.6 + nodes / 500, seed=nodes)],
        }
        for nodes in (32, 64)
    }
    return write_sweep(folder, cells, infeasible={"5-conv-32-nodes-0-dense": "convolution 5 of 5 is too many"})


def test_a_leaderboard_in_four_forms(call: Call, tmp_path: Path) -> None:
    folder = a_sweep(tmp_path / "s")
    code, out, _ = call("leaderboard", folder)
    assert code == 0 and out.index("2-conv-64-nodes") < out.index("2-conv-32-nodes")
    assert "Left out: 5-conv-32-nodes-0-dense: convolution 5 of 5 is too many" in out
    value = json.loads(call("leaderboard", folder, "--json")[1])
    lines = call("leaderboard", folder, "--csv")[1].splitlines()
    assert value["best"] == "2-conv-64-nodes-0-dense" and len(value["rows"]) == 2 and len(lines) == 3
    code, out, _ = call("leaderboard", folder, "--html")
    assert code == 0 and "Parallel coordinates" in Path(out.strip()).read_text()
    assert call("leaderboard", tmp_path)[0] != 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--conv", "2,x"), "conv"),
        (("--set", "learning_rate=1e-4..1e-2"), "add --search optuna"),
        (("--set", "learningrate=1e-4,1e-3"), "did you mean learning_rate?"),
        (("--search", "genetic"), "optuna"),
        (("--conv", "5"), "smaller than its 3x3 kernel"),
        (("--nodes", "32,32"), "the same trial twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_bad_sweep_gets_one_line_before_the_first_trial(
    words: tuple[str, ...], said: str, call: Call, tmp_path: Path
) -> None:
    source = folder_of(tmp_path / "images", cats=20, dogs=20)
    assert call("prepare", source, "--output", "arrays")[0] == 0
    code, out, err = call("sweep", "arrays", *words)
    errors = [line for line in err.splitlines() if line.startswith("Error:")]
    assert code == 2 and out == "" and len(errors) == 1 and said in errors[0], err
    assert not Path("sweeps").exists()


def test_comparing_what_is_no_run_is_refused(call: Call, tmp_path: Path) -> None:
    folder = a_sweep(tmp_path / "s")
    code, _, err = call("compare", folder / "trials" / "2-conv-32-nodes-0-dense", tmp_path)
    assert code != 0 and "This is not a run folder" in err
