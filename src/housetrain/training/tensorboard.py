"""Tracking: what TensorBoard shows of a training.

In: a folder, the model, the recipe, the numbers of each epoch. Out: event files, laid out as TensorBoard users know:

```
tb/             HParams: the recipe's settings; best/val_loss, best/val_accuracy, seconds, parameters
tb/train        epoch_loss, epoch_accuracy, epoch_learning_rate; the model's graph; sample images
tb/validation   epoch_loss, epoch_accuracy; a confusion matrix an epoch
```

Steps are epochs counted from 1, as in ``history.jsonl``. A resumed run opens new event files whose first record tells
readers to forget the epochs that are trained again, so no point shows twice.
Does not know: TensorFlow (the ``tensorboard`` package has the records; it works the same on JAX and torch), ``fit``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import HousetrainError, IncompleteError, MissingExtra
from housetrain.system.events import Callback, Stage, State

if TYPE_CHECKING:
    from PIL import Image

    from housetrain.models.recipe import Recipe

METRICS = {
    "best/val_loss": "val_loss",
    "best/val_accuracy": "val_accuracy",
    "seconds": "seconds",
    "parameters": "parameters",
}
"""Tag in the HParams tab -> key of the result it is taken from."""
_BOARD = (
    "import sys; from tensorboard import default, program; board = program.TensorBoard(default.get_plugins()); "
    "board.configure(sys.argv); sys.exit(board.main())"
)
"""What `python -m tensorboard.main` does, without its import of TensorFlow: it answers in 2 s, not in 8."""
_SAMPLES_A_CLASS = 4
_MOST_CLASSES_DRAWN = 40


class TensorBoard(Callback):
    """Writes TensorBoard event files while a model trains.

    Args:
        folder: Where to write, ``RUN/tb``. Made when training begins.
        recipe: Its settings are the HParams.
        classes: Class names in the order of the model's outputs, for the confusion matrix.
        samples: Class name -> some training images, uint8 ``(n, height, width, channels)``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recipe: Recipe,
        classes: Sequence[str] = (),
        samples: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.folder, self.recipe, self.classes = Path(folder), recipe, tuple(classes)
        self.samples = {label: images[:_SAMPLES_A_CLASS] for label, images in (samples or {}).items() if len(images)}
        self._files: dict[str, EventFile] = {}

    def begin(self, stage: Stage, *, model: Any = None, first_epoch: int = 1, **facts: Any) -> None:
        """Write the settings, and for a new run the model's graph and the sample images.

        Raises:
            MissingExtra: The ``tensorboard`` package is not installed.
        """
        if stage != "train":
            return
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingExtra("tensorflow", need="TensorBoard records")
        again = first_epoch if first_epoch > 1 else 0
        for name, purge in (("", 0), ("train", again), ("validation", again)):
            self._files[name] = EventFile(self.folder / name, purge=purge)
        self._files[""].summary(_hparams_start(self.recipe, self.folder))
        if first_epoch > 1:
            return
        train = self._files["train"]
        train.graph(_graph(model))
        for label, images in self.samples.items():
            train.image(f"images/{label}", _strip(images), step=0)
        for label, images in _augmented(model, self.samples).items():
            train.image(f"augmented/{label}", _strip(images), step=0)
        train.flush()

    def epoch(self, row: Mapping[str, Any], *, confusion: np.ndarray | None = None, **facts: Any) -> None:
        """Write the numbers of one epoch, and its confusion matrix: counts with a row for each true class."""
        step = int(row["epoch"])
        numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float | np.number)}
        for name, key, own in (("train", "", ("loss", "accuracy", "lr")), ("validation", "val_", ("loss", "accuracy"))):
            tags = {"epoch_" + ("learning_rate" if tag == "lr" else tag): key + tag for tag in own}
            self._files[name].scalars({tag: numbers[k] for tag, k in tags.items() if k in numbers}, step=step)
        if confusion is not None and len(confusion) <= _MOST_CLASSES_DRAWN:
            self._files["validation"].image("confusion", draw_confusion(confusion, self.classes), step=step)
        for file in self._files.values():
            file.flush()

    def end(
        self, stage: Stage, state: State = "complete", *, result: Mapping[str, Any] | None = None, **facts: Any
    ) -> None:
        """Write the HParams metrics of a complete run, and close the files.

        TensorBoard shows a metric's last value, so the best ones have their own tags.
        """
        if stage == "train" and state == "complete" and result is not None:
            numbers = {tag: float(result[key]) for tag, key in METRICS.items() if result.get(key) is not None}
            root = self._files[""]
            root.scalars(numbers, step=int(result.get("best_epoch") or 0))
            root.summary(_hparams_end())
        for file in self._files.values():
            file.close()
        self._files = {}


class EventFile:
    """One TensorBoard event file, written in this thread: what was flushed survives a kill.

    Args:
        folder: Where; made if missing. Each `EventFile` is a new file there, and readers take all of them in order.
        purge: Readers forget steps from here on that older files in ``folder`` hold.
    """

    def __init__(self, folder: Path, *, purge: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # Readers take the files in the order of their names: nanoseconds keep that true for quick restarts.
        seconds, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{rest:09d}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("xb"))
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(session_log=start, step=purge))
        self.flush()

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Write numbers under their tags."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if values:
            self.summary(Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()]), step=step)

    def image(self, tag: str, image: Image.Image, *, step: int) -> None:
        """Write an image under a tag, as PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        from housetrain.images.encode import encode

        # The older of TensorBoard's two forms: every reader takes it, and forgets it on a restart as it should.
        encoded = Summary.Image(
            height=image.height,
            width=image.width,
            colorspace=len(image.getbands()),
            encoded_image_string=encode(np.asarray(image)),
        )
        self.summary(Summary(value=[Summary.Value(tag=tag, image=encoded)]), step=step)

    def graph(self, graph: Any) -> None:
        """Write a ``GraphDef`` protobuf: what the Graphs tab shows first."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(graph_def=graph.SerializeToString()))

    def summary(self, summary: Any, *, step: int = 0) -> None:
        """Write a ``Summary`` protobuf."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(summary=summary, step=step))

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


def draw_confusion(confusion: np.ndarray, classes: Sequence[str] = ()) -> Image.Image:
    """Draw counts as a square of shaded cells: a row for each true class, a column for each predicted one.

    Drawn with Pillow in a few milliseconds, as it is drawn every epoch; the report has a finer one.

    Args:
        confusion: Counts, ``(classes, classes)``.
        classes: Names; numbers where there are none.

    Returns:
        An RGB image.
    """
    from PIL import Image, ImageDraw, ImageFont

    counts = np.asarray(confusion, dtype=np.int64)
    names = [str(name) for name in classes] or [str(index) for index in range(len(counts))]
    names = [name if len(name) <= 14 else name[:13] + "…" for name in names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = int(np.clip(600 // len(counts), 22, 110))
    font = ImageFont.load_default(size=max(9, min(16, cell // 3)))
    margin = 14 + int(max(font.getlength(name) for name in (*names, "predicted")))
    side = margin + cell * len(counts) + 8
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.text((4, margin - 6), "true", fill="gray", font=font, anchor="ls")
    draw.text((margin - 6, 4), "predicted", fill="gray", font=font, anchor="ra")
    for row, name in enumerate(names):
        middle = margin + cell * row + cell // 2
        draw.text((margin - 6, middle), name, fill="black", font=font, anchor="rm")
        label = Image.new("RGB", (margin, cell), "white")
        ImageDraw.Draw(label).text((4, cell // 2), name, fill="black", font=font, anchor="lm")
        image.paste(label.rotate(90, expand=True), (margin + cell * row, 0))
        for column in range(len(names)):
            left, top = margin + cell * column, margin + cell * row
            share = float(shares[row, column])
            # Right answers in blue, wrong ones in red; white is none.
            faint = round(255 * (1 - share))
            color = (faint, round(255 - 130 * share), 255) if row == column else (255, faint, faint)
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=color)
            if count := int(counts[row, column]):
                ink = "white" if share > 0.6 else "black"
                draw.text((left + cell // 2, top + cell // 2), str(count), fill=ink, font=font, anchor="mm")
    return image


def board_command(folder: Path | str, *, port: int = 6006) -> list[str]:
    """Return the command that opens TensorBoard on a run, a sweep or a folder of runs.

    Args:
        folder: Searched for event files.
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        IncompleteError: There is nothing to show below ``folder``.
        MissingExtra: The ``tensorboard`` package is not installed.
    """
    folder = Path(folder)
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtra("tensorflow", need="TensorBoard")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        raise IncompleteError(
            "There is nothing for TensorBoard here" if folder.is_dir() else "There is no such folder",
            expected="a run, or a folder of runs, with event files",
            folder=str(folder),
        )
    logs = folder / "tb" if (folder / "tb").is_dir() else folder
    return [sys.executable, "-c", _BOARD, f"--logdir={logs}", "--host=127.0.0.1", f"--port={port}"]


def board(folder: Path | str, *, port: int = 6006) -> None:
    """Open TensorBoard on this machine only, and stay until it is stopped.

    Args:
        folder: A run, a sweep or a folder of runs.
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        IncompleteError: There is nothing to show below ``folder``.
        HousetrainError: TensorBoard did not start, for instance because the port is taken.
    """
    command = board_command(folder, port=port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise HousetrainError(
                "TensorBoard cannot listen there", do="choose another --port", port=port, reason=error.strerror
            ) from error
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return
    if code:
        raise HousetrainError("TensorBoard stopped by itself", do="choose another --port", port=port, exit_code=code)


def _hparams_start(recipe: Recipe, folder: Path) -> Any:
    """Return the settings as the HParams tab needs them.

    No "experiment" record with columns is written: without one TensorBoard works the columns out from all runs it sees,
    and then shows first what differs between them.
    """
    from tensorboard.plugins.hparams import summary_v2 as hp

    settings = {name: value for name, value in recipe.to_json().items() if value is not None}
    # TensorBoard averages the runs of one trial id; each run is its own, even with the same settings on other images.
    folder = folder.resolve()
    name = folder.parent.name if folder.name == "tb" else folder.name
    return hp.hparams_pb(settings, trial_id=f"{name} {hashlib.sha256(bytes(folder)).hexdigest()[:4]}")


def _hparams_end() -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    tensor = TensorProto(dtype=DT_FLOAT, float_val=[0.0])
    return Summary(value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=tensor)])


def _graph(model: Any) -> Any:
    """Return the model's layers as a graph: a node for each layer, with its class and output shape."""
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

    config = json.loads(model.to_json())
    for layer in config["config"]["layers"]:
        policy = layer["config"].get("dtype")
        if isinstance(policy, dict):  # TensorBoard knows types, not policies, and would warn of each layer
            policy["config"]["name"] = policy["config"]["name"].removeprefix("mixed_")
    graph = keras_model_to_graph_def(config)
    shapes = {layer.name: layer.output.shape for layer in model.layers}
    for node in graph.node:
        # Without the model's own scope, which the tab would show as one closed box.
        node.name = node.name.removeprefix(f"{model.name}/")
        node.input[:] = [name.removeprefix(f"{model.name}/") for name in node.input]
        node.op = node.attr["keras_class"].s.decode().rpartition(">")[2]
        sizes = [-1 if size is None else size for size in shapes.get(node.name, ())]
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
        node.attr["_output_shapes"].list.shape.append(shape)
    return graph


def _augmented(model: Any, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the samples as the model's augmentation may show them, drawn by a copy so that training is not touched."""
    from housetrain.models.augment import Augment

    for layer in model.layers:
        if isinstance(layer, Augment):
            copy = Augment.from_config(layer.get_config())
            return {label: np.asarray(copy(p, training=True)).astype(np.uint8) for label, p in samples.items()}
    return {}


def _strip(images: np.ndarray, side: int = 150) -> Image.Image:
    """Return images side by side, their pixels as squares large enough to be seen in TensorBoard."""
    from PIL import Image

    row = np.concatenate(list(images), axis=1)
    strip = Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row)
    times = max(1, round(side / min(images.shape[1:3])))
    return strip.resize((strip.width * times, strip.height * times), Image.Resampling.NEAREST)
