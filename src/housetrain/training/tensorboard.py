"""What TensorBoard shows of a training.

In: the events of the training. Out: event files, laid out as TensorBoard users know them:

```
tb/             HParams: the recipe's settings; best/val_loss, best/val_accuracy, seconds, parameters
tb/train        epoch_loss, epoch_accuracy, epoch_learning_rate; the model's graph; sample images
tb/validation   epoch_loss, epoch_accuracy; a confusion matrix per epoch
```

Steps are epochs counted from 1, as in ``history.jsonl``; along a regularization path they are its steps, and the tags
begin with ``step_``. A resumed run opens new event files whose first record makes readers drop the epochs that are
trained again, so no point appears twice. It does not know TensorFlow: the ``tensorboard`` package defines the records.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.errors import MissingExtra
from housetrain.system.events import Callback, Stage, State
from housetrain.training.event_file import EventFile
from housetrain.training.history import number_of, unit_of
from housetrain.training.log_images import draw_confusion, strip_of

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe

METRICS = {
    "best/val_loss": "val_loss",
    "best/val_accuracy": "val_accuracy",
    "seconds": "seconds",
    "parameters": "parameters",
}
"""Tag in the HParams tab -> key of the result."""
_SAMPLES_PER_CLASS = 4
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
        self.samples = {label: images[:_SAMPLES_PER_CLASS] for label, images in (samples or {}).items() if len(images)}
        self._files: dict[str, EventFile] = {}

    def begin(self, stage: Stage, *, model: Any = None, **facts: Any) -> None:
        """Write the settings, and for a new run the model's graph and the sample images.

        Raises:
            MissingExtra: The ``tensorboard`` package is not installed.
        """
        if stage != "train":
            return
        first_epoch = facts.get("first_epoch", 1)
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingExtra("tensorflow", need="TensorBoard records")
        again = first_epoch if first_epoch > 1 else 0
        for name, purge in (("", 0), ("train", again), ("validation", again)):
            self._files[name] = EventFile(self.folder / name, purge=purge)
        self._files[""].summary(_hparams_start(self.recipe, self.folder))
        if first_epoch > 1:
            return
        train = self._files["train"]
        if model is not None:
            train.graph(_graph(model))
        for label, images in self.samples.items():
            train.image(f"images/{label}", strip_of(images), step=0)
        for label, images in ({} if model is None else _augmented(model, self.samples)).items():
            train.image(f"augmented/{label}", strip_of(images), step=0)
        train.flush()

    def epoch(self, row: Mapping[str, Any], *, confusion: np.ndarray | None = None, **facts: Any) -> None:
        """Write the numbers of one epoch, and its confusion matrix: counts with a row for each true class."""
        self._write(row, confusion)

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        """Write the numbers of one strength of a regularization path."""
        if stage == "train" and "row" in facts:
            self._write(facts["row"], facts.get("confusion"))

    def _write(self, row: Mapping[str, Any], confusion: np.ndarray | None) -> None:
        unit, step = unit_of([row]), number_of(row)
        numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float | np.number)}
        for name, key, own in (
            ("train", "", ("loss", "accuracy", "lr", "l2")),
            ("validation", "val_", ("loss", "accuracy")),
        ):
            tags = {f"{unit}_{'learning_rate' if tag == 'lr' else tag}": key + tag for tag in own}
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
            root.scalars(numbers, step=int(result.get("best_epoch") or result.get("best_step") or 0))
            root.summary(_hparams_end())
        for file in self._files.values():
            file.close()
        self._files = {}


def _hparams_start(recipe: Recipe, folder: Path) -> Any:
    """Return the settings as the HParams tab needs them.

    No "experiment" record with columns is written: without one TensorBoard derives the columns from all runs it finds,
    and shows first what differs between them.
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
    """Return the samples augmented by a copy of the model's layer, so that its random state does not change."""
    from housetrain.models.augment import Augment

    for layer in model.layers:
        if isinstance(layer, Augment):
            copy = Augment.from_config(layer.get_config())
            return {label: np.asarray(copy(p, training=True)).astype(np.uint8) for label, p in samples.items()}
    return {}
