"""TensorBoard records, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from housetrain.errors import HousetrainError, IncompleteError
from housetrain.images.input_spec import InputSpec
from housetrain.models.recipe import Recipe
from housetrain.training.board import board, board_command
from housetrain.training.event_file import EventFile
from housetrain.training.log_images import draw_confusion
from housetrain.training.tensorboard import METRICS, TensorBoard

CLASSES = ("cat", "dog")
RESULT = {"val_loss": 0.25, "val_accuracy": 0.875, "seconds": 12.5, "parameters": 1234, "best_epoch": 2}


def row(epoch: int, extra: float = 0.0) -> dict[str, float]:
    return {
        "epoch": epoch,
        "loss": 1 / epoch + extra,
        "accuracy": 0.5,
        "val_loss": 2 / epoch,
        "val_accuracy": 0.25,
        "lr": 1e-3,
        "seconds": 1.0,
    }


def samples(spec: InputSpec) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (6, *spec.shape), dtype=np.uint8) for name in CLASSES}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.of("cnn", conv=1, nodes=4, flip="horizontal")


@pytest.fixture(scope="module")
def net(recipe: Recipe):
    from housetrain.models.build import build

    return build(recipe, spec=InputSpec(12, 12), classes=CLASSES, precision="bfloat16")


def read(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def steps(folder: Path, tag: str) -> list[int]:
    return [event.step for event in read(folder).Scalars(tag)]


def test_a_run_reads_back(tmp_path: Path, recipe: Recipe, net) -> None:
    writer = TensorBoard(tmp_path / "tb", recipe=recipe, classes=CLASSES, samples=samples(InputSpec(12, 12)))
    writer.begin("train", model=net)
    for epoch in (1, 2):
        writer.epoch(row(epoch), confusion=np.array([[5, 1], [2, 4]]))
    writer.end("train", result=RESULT)

    train, validation, root = (read(tmp_path / "tb" / name) for name in ("train", "validation", ""))
    assert set(train.Tags()["scalars"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(validation.Tags()["scalars"]) == {"epoch_loss", "epoch_accuracy"}
    assert [(e.step, e.value) for e in train.Scalars("epoch_loss")] == [(1, 1.0), (2, 0.5)]
    assert [(e.step, e.value) for e in validation.Scalars("epoch_loss")] == [(1, 2.0), (2, 1.0)]
    assert {tag: root.Scalars(tag)[-1].value for tag in METRICS} == {
        "best/val_loss": 0.25,
        "best/val_accuracy": 0.875,
        "seconds": 12.5,
        "parameters": 1234,
    }
    assert set(train.Tags()["images"]) == {f"{kind}/{name}" for kind in ("images", "augmented") for name in CLASSES}
    assert [event.step for event in validation.Images("confusion")] == [1, 2]
    from PIL import Image

    drawn = Image.open(io.BytesIO(validation.Images("confusion")[0].encoded_image_string))
    assert drawn.format == "PNG" and min(drawn.size) > 100


def test_a_regularization_path_has_steps(tmp_path: Path, recipe: Recipe, net) -> None:
    writer = TensorBoard(tmp_path / "tb", recipe=recipe, classes=CLASSES)
    writer.begin("train", model=net, steps=3)
    for number in (1, 2):
        line = {
            "step": number,
            "l2": 10.0**-number,
            "loss": 0.5,
            "accuracy": 0.75,
            "val_loss": 0.6,
            "val_accuracy": 0.5,
        }
        writer.progress("train", number, 3, row=line, confusion=np.eye(2))
    writer.progress("train", 2, 3)
    writer.end("train", result={"best_step": 2, "val_loss": 0.6})
    train, validation = read(tmp_path / "tb" / "train"), read(tmp_path / "tb" / "validation")
    assert set(train.Tags()["scalars"]) == {"step_loss", "step_accuracy", "step_l2"}
    assert [(e.step, e.value) for e in train.Scalars("step_l2")] == [(1, pytest.approx(0.1)), (2, pytest.approx(0.01))]
    assert set(validation.Tags()["scalars"]) == {"step_loss", "step_accuracy"}


def test_the_graph_holds_every_layer_and_its_inputs(tmp_path: Path, recipe: Recipe, net) -> None:
    writer = TensorBoard(tmp_path / "tb", recipe=recipe)
    writer.begin("train", model=net, first_epoch=1)
    writer.end("train", "stopped")
    nodes = {node.name: node for node in read(tmp_path / "tb/train").Graph().node}
    assert set(nodes) == {layer.name for layer in net.layers}
    assert nodes["conv_1"].op == "Conv2D" and nodes["augment"].op == "Augment"
    assert list(nodes["conv_1"].input) == ["scale"]
    assert [dim.size for dim in nodes["conv_1"].attr["_output_shapes"].list.shape[0].dim] == [-1, 10, 10, 4]


def test_hparams_are_the_recipe_and_the_session_is_closed(tmp_path: Path, recipe: Recipe, net) -> None:
    from tensorboard.plugins.hparams import metadata

    writer = TensorBoard(tmp_path / "my-run" / "tb", recipe=recipe)
    writer.begin("train", model=net, first_epoch=1)
    writer.end("train", result=RESULT)
    root = read(tmp_path / "my-run" / "tb")
    contents = root.summary_metadata
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG].plugin_data.content)
    assert start.group_name.startswith("my-run ")
    assert start.hparams["nodes"].number_value == 4 and start.hparams["flip"].string_value == "horizontal"
    assert "time_limit_s" not in start.hparams
    end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG].plugin_data.content)
    assert end.status == 1  # success


def test_no_point_shows_twice_after_a_resume(tmp_path: Path, recipe: Recipe, net) -> None:
    folder = tmp_path / "tb"
    killed = TensorBoard(folder, classes=CLASSES, recipe=recipe)
    killed.begin("train", model=net, first_epoch=1)
    for epoch in (1, 2, 3):
        killed.epoch(row(epoch), confusion=np.eye(2))
    # no close: the process was killed, in the middle of a record
    last = sorted((folder / "train").iterdir())[-1]
    with last.open("ab") as file:
        file.write(b"\x20\x00\x00\x00torn")
    again = TensorBoard(folder, classes=CLASSES, recipe=recipe)
    again.begin("train", model=net, first_epoch=3)
    for epoch in (3, 4):
        again.epoch(row(epoch, extra=10.0), confusion=np.eye(2))
    again.end("train", result=RESULT)
    assert steps(folder / "train", "epoch_loss") == [1, 2, 3, 4]
    assert steps(folder / "validation", "epoch_accuracy") == [1, 2, 3, 4]
    assert [event.step for event in read(folder / "validation").Images("confusion")] == [1, 2, 3, 4]
    assert read(folder / "train").Scalars("epoch_loss")[2].value == pytest.approx(10 + 1 / 3)
    killed.end("train", "stopped")


def test_what_is_flushed_is_readable_while_training_goes_on(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.scalars({"loss": 1.0}, step=1)
    file.flush()
    assert steps(tmp_path, "loss") == [1]
    file.close()


def test_the_samples_do_not_move_the_augmentation_on(tmp_path: Path, recipe: Recipe, net) -> None:
    state = np.asarray(net.get_layer("augment").seed_generator.state)
    writer = TensorBoard(tmp_path / "tb", recipe=recipe, samples=samples(InputSpec(12, 12)))
    writer.begin("train", model=net)
    writer.end("train", "stopped")
    assert (np.asarray(net.get_layer("augment").seed_generator.state) == state).all()


def test_a_confusion_matrix_is_drawn_quickly_and_its_diagonal_is_blue() -> None:
    draw_confusion(np.eye(2), CLASSES)  # loads the font
    begin = time.perf_counter()
    image = np.asarray(draw_confusion(np.diag([50] * 10) + 3, [f"a rather long name {i}" for i in range(10)]))
    assert time.perf_counter() - begin < 0.5
    height, width, _ = image.shape
    red, _, blue = image[height - 12, width - 12].astype(int)  # the last cell of the diagonal
    assert blue - red > 100
    red, _, blue = image[height - 12, width // 2].astype(int)
    assert blue <= red


def test_tracking_imports_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from housetrain.training import tensorboard as t;"
        f"f = t.EventFile(Path({str(tmp_path)!r})); f.scalars({{'x': 1.0}}, step=1);"
        "f.image('p', t.draw_confusion([[1, 2], [3, 4]]), step=1); f.close();"
        "sys.exit(len({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert steps(tmp_path, "x") == [1]


def test_board_needs_something_to_show_and_stays_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no TensorBoard event files"):
        board_command(tmp_path)
    with pytest.raises(IncompleteError, match="no such folder"):
        board_command(tmp_path / "missing")
    EventFile(tmp_path / "run" / "tb").close()
    command = board_command(tmp_path / "run", port=7007)
    assert "--host=127.0.0.1" in command and "--port=7007" in command
    assert f"--logdir={tmp_path / 'run' / 'tb'}" in command
    assert f"--logdir={tmp_path}" in board_command(tmp_path)


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    import socket

    EventFile(tmp_path / "tb").close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HousetrainError, match="port"):
            board(tmp_path, port=taken.getsockname()[1])


@pytest.mark.slow
def test_tensorboard_itself_shows_the_graph_and_the_curves(tmp_path: Path, recipe: Recipe, net) -> None:
    writer = TensorBoard(tmp_path / "tb", recipe=recipe)
    writer.begin("train", model=net)
    writer.epoch(row(1))
    writer.end("train", "stopped")
    port = 16000 + os.getpid() % 1000
    process = subprocess.Popen(board_command(tmp_path, port=port), stderr=subprocess.DEVNULL)

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/{path}", timeout=5) as answer:
            return str(answer.read().decode())

    try:
        deadline = time.time() + 60
        while time.time() < deadline:
            try:
                if "train" in get("runs"):
                    break
            except OSError:
                pass
            time.sleep(0.5)
        assert "conv_1" in get("plugin/graphs/graph?run=train&conceptual=false")
        assert '"epoch_loss"' in get("plugin/scalars/tags")
    finally:
        process.terminate()
        process.wait()
