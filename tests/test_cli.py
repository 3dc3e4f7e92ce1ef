"""The command line: what bad input gets, exit codes, JSON, and that news never mixes with results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tree import snapshot

from housetrain import diagnosis
from housetrain.kernels import shape
from housetrain.training import precision

Call = Callable[..., tuple[int, str, str]]


def image(path: Path, seed: int, size: int = 48) -> None:
    """Write an image of noise that is unlike every other seed's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def folder_of(root: Path, **counts: int) -> Path:
    """Make class folders with so many images each."""
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            seed += 1
            image(root / name / f"{number}.png", seed)
    return root


def a_file(root: Path) -> Path:
    root.write_text("not a folder")
    return root


def images_without_classes(root: Path) -> Path:
    for number in range(3):
        image(root / f"{number}.png", number)
    return root


def only_text(root: Path) -> Path:
    (root / "cats").mkdir(parents=True)
    (root / "dogs").mkdir()
    (root / "cats" / "readme.jpg").write_text("<html>not an image</html>")
    return root


BAD_FOLDERS: dict[str, Callable[[Path], Path]] = {
    "missing": lambda root: root,
    "a file": a_file,
    "empty": lambda root: folder_of(root) if root.mkdir() else root,
    "no class folders": images_without_classes,
    "one class": lambda root: folder_of(root, cats=5),
    "one-image class": lambda root: folder_of(root, cats=8, dogs=1),
    "empty class": lambda root: folder_of(root, cats=8, dogs=0),
    "no images": only_text,
}


@pytest.mark.parametrize("verb", ["run", "prepare"])
@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_a_folder_that_cannot_be_used_gets_one_line_and_exit_2(
    kind: str, verb: str, call: Call, tmp_path: Path
) -> None:
    source = BAD_FOLDERS[kind](tmp_path / "images")
    code, out, err = call(verb, source)
    errors = [line for line in err.splitlines() if line.startswith("Error:")]
    assert code == 2, err
    assert len(errors) == 1 and "Received:" in errors[0] and "Traceback" not in err
    assert out == ""
    assert not list(Path.cwd().iterdir()), "something was written"


@pytest.mark.parametrize("words", [("run",), ("prepare",), ("check", "--csv"), ("show",)], ids=" ".join)
def test_an_output_inside_the_images_is_refused(words: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=6, dogs=6)
    before = snapshot(source)
    option = () if words[-1] == "--csv" else ("--output",)
    code, _, err = call(words[0], source, *words[1:], *option, source / "cats" / "out")
    assert code == 2
    assert "never changed" in err
    assert snapshot(source) == before


def test_check_exits_0_when_clean_and_1_with_findings(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=30, dogs=30)
    code, out, err = call("check", source)
    assert code == 0, out + err
    (source / "cats" / "broken.jpg").write_bytes(b"")
    code, out, _ = call("check", source, "--json")
    report = json.loads(out)
    assert code == 1
    assert [finding["kind"] for finding in report["findings"]] == ["unreadable"]
    assert report["findings"][0]["paths"] == ["cats/broken.jpg"]
    assert report["usable"] == {"cats": 30, "dogs": 30}


def test_check_writes_a_row_per_image(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=30, dogs=30)
    (source / "dogs" / "text.jpg").write_text("hello")
    assert call("check", source, "--csv", "findings.csv")[0] == 1
    assert "dogs/text.jpg" in Path("findings.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "x", "--model", "cnnn"), "did you mean cnn?"),
        (("run", "x", "--set", "learningrate=1"), "learning_rate"),
        (("run", "x", "--set", "epochs"), "--set NAME=VALUE"),
        (("run", "x", "--time-limit", "soon"), "10m"),
        (("run", "x", "--learning-rate", "-1", "--epochs", "3", "--set", "ema=2"), "2 problems"),
        (("run", "x", "--recipe", "missing.json"), "missing.json"),
        (("prepare", "x", "--color-mode", "green"), "grayscale, rgb"),
        (("show", "x", "--sizes", "50,big"), "50,100"),
        (("train", "x"), "prepare"),
        (("evaluate", "x"), "run folder"),
        (("predict", "x", "nothing-here.jpg"), "nothing-here.jpg"),
        (("export", "x"), "run folder"),
        (("export", "x", "--format", "zip"), "keras, litert, onnx, openvino, saved-model"),
        (("export", "x", "--precision", "fp8"), "fp32, bf16, fp16, int8"),
        (("export", "x", "--format", "onnx", "--precision", "fp16"), "does not support fp16"),
        (("benchmark", "x"), "run folder"),
        (("explain", "x", "photo.jpg"), "run folder"),
        (("sample", "cifar", "x"), "digits"),
    ],
)
def test_wrong_words_get_one_line_that_helps(words: tuple[str, ...], said: str, call: Call) -> None:
    code, _, err = call(*words)
    assert code == 2
    assert said in err and "Traceback" not in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1


def test_a_cell_that_does_not_fit_is_refused_before_any_image_is_read(call: Call, tmp_path: Path) -> None:
    code, _, err = call("run", tmp_path / "not-even-there", "--model", "cnn", "--conv", "5")
    assert code == 2
    assert "smaller than its 3x3 kernel" in err


def test_show_draws_a_sheet(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=6, dogs=6)
    code, out, _ = call("show", source, "--sizes", "20,40", "--per-class", "3")
    assert code == 0
    assert cv2.imread(out.strip()).shape[1] > 100


def test_prepare_says_what_it_did_and_does_it_once(call: Call, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "images", cats=20, dogs=20)
    before = snapshot(source)
    code, out, err = call("prepare", source, "--image-size", "24", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert (
        sum(made["counts"]["train"].values())
        + sum(made["counts"]["validation"].values())
        + sum(made["counts"]["test"].values())
        == 40
    )
    inode = (Path(made["prepared"]) / "prepared.json").stat().st_ino
    code, out, _ = call("prepare", source, "--image-size", "24", "--json")
    assert (Path(json.loads(out)["prepared"]) / "prepared.json").stat().st_ino == inode
    assert snapshot(source) == before


def test_doctor_prints_json_and_words(call: Call) -> None:
    code, out, _ = call("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["cores"] >= 1 and facts["backend"] == os.environ.get("KERAS_BACKEND", "tensorflow")
    assert "Keras backend" in call("doctor")[1]


@pytest.mark.parametrize(
    ("flags", "missed"),
    [
        ({"avx2", "fma"}, True),
        ({"avx2", "fma", "amx_bf16"}, False),  # a matrix unit does without
        ({"sse4_2"}, False),
    ],
)
def test_doctor_misses_llvm_where_it_would_help(
    flags: set[str], missed: bool, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (precision, shape):
        monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(shape.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(diagnosis, "_gpus", tuple)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(diagnosis, "PACKAGES", tuple(name for name in diagnosis.PACKAGES if name != "llvmlite"))
    facts = json.loads(call("doctor", "--json")[1])
    assert any("llvmlite is not installed" in remark["message"] for remark in facts["remarks"]) == missed


def test_help_is_quick_and_plain(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "Start here:" in out
    assert call("--version")[1].startswith("housetrain ")


# --- sweeps ------------------------------------------------------------------------------------------------------
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
    assert "left out: 5-conv-32-nodes-0-dense: convolution 5 of 5 is too many" in out
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
