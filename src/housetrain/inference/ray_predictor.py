"""Prediction on a cluster: the rows that this machine would write, computed by all nodes.

In: a bundle or run folder; then paths or addresses of images that all nodes reach. Out: a `Prediction` each, in order.
Does not know: how a cluster is reached, what is done with the predictions. Ray Data hands blocks of names to actors,
each of which holds the model; a block whose node died is computed again elsewhere, and arrives here once.

The model reaches each node once, as files (see `housetrain.system.parcel`).
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.data.catalog import cache_folder
from housetrain.data.class_map import ClassMap
from housetrain.errors import HousetrainError, RecipeError
from housetrain.inference.decision import Decision
from housetrain.inference.model_folder import files_of_model
from housetrain.inference.prediction import Prediction
from housetrain.inference.predictor import BATCH, Predictor
from housetrain.system import cluster
from housetrain.system.parcel import Parcel, pack, unpack

if TYPE_CHECKING:
    import pyarrow

    from housetrain.data.class_map import MapLike

BLOCK = 1024
"""Images per block: what a dead node costs at most, and what an actor decodes at a time."""
_GONE = "file not found"


class RayPredictor:
    """A model on a cluster, with what `housetrain.inference.batch_predict.predict_into` needs. A context manager.

    Args:
        path: A bundle folder or a run folder.
        address: See `housetrain.system.cluster.connect`; not ``ray://``.
        engine: See `Predictor.load`.
        class_map: See `Predictor.mapped`.
        note: Receives messages for people.

    Raises:
        RecipeError: The address begins with ``ray://``.
        HousetrainError: The model is refused, or the cluster cannot be reached.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        address: str | None = None,
        engine: str | None = None,
        class_map: MapLike | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        if address is not None and address.startswith("ray://"):
            raise RecipeError(
                "Ray Data, which predicts, does not work through ray://",
                do="give HOST:6379, on a machine that reaches all nodes, such as the head",
                address=address,
            )
        self._names, self._engine = ClassMap.of(class_map), engine
        with Predictor.load(path, engine=engine).mapped(self._names) as here:
            self.spec, self.classes, self.about = here.spec, here.classes, here.about
            self._rules = here
        self._connection = cluster.connect(address, need="--executor ray", note=note)
        folder, names = files_of_model(path, engine=engine)
        self._parcel = pack(self._connection.ray, folder, names)

    @property
    def decision(self) -> Decision:
        """How probabilities become predictions."""
        return self._rules.decision

    @property
    def accept(self) -> dict[str, float]:
        """Class -> its own threshold."""
        return self._rules.accept

    @property
    def set_level(self) -> float | None:
        """Level of prediction sets, or ``None``."""
        return self._rules.set_level

    def with_rules(self, *, set_level: float | None = None, accept: Mapping[str, float] | None = None) -> RayPredictor:
        """Let the nodes follow other rules. See `Predictor.with_rules`."""
        self._rules = self._rules.with_rules(set_level=set_level, accept=accept)
        self.about = self._rules.about
        return self

    def __enter__(self) -> RayPredictor:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def predict_many(
        self,
        images: Iterable[Path | str],
        *,
        batch_size: int = BATCH,
        workers: int | None = None,
        top: int | None = None,
    ) -> Iterator[Prediction]:
        """Yield a prediction for each image, in order. See `Predictor.predict_many`.

        Args:
            images: Paths or addresses that all nodes reach.
            batch_size: Images per step of the model.
            workers: Decoding processes of each node; one per core by default.
            top: Number of classes in `Prediction.top`; all by default.

        Raises:
            HousetrainError: A node cannot run the model, or does not see an image that is here.
        """
        names = [str(image) for image in images]
        if not names:
            return
        options = {"batch_size": batch_size, "workers": workers, "top": top}
        rules = {"set_level": self.set_level, "accept": self.accept}
        given = (self._parcel, self._engine, dict(self._names.names), options, cluster.versions(), rules)
        count = 0
        for row in _rows(self._connection.ray, names, given):
            one = Prediction.from_json(json.loads(row), image=names[count])
            if one.error == _GONE and Path(names[count]).exists():
                raise HousetrainError(
                    "A node of the cluster does not see an image",
                    do="put the images on storage that all nodes mount under the same path, or name its address",
                    image=names[count],
                )
            yield one
            count += 1
        if count != len(names):
            raise HousetrainError("The cluster lost predictions", do="try again", images=len(names), predictions=count)


class _Classify:
    """What an actor holds: the model."""

    def __init__(
        self,
        parcel: Parcel,
        engine: str | None,
        names: dict[str, Any],
        options: dict[str, Any],
        versions: Any,
        rules: dict[str, Any] | None = None,
    ) -> None:
        if reason := cluster.mismatch(versions):
            raise HousetrainError(reason, do="install the same versions on all nodes")
        import ray

        folder = unpack(ray, parcel, cache_folder() / "cluster")
        self._predictor = (
            Predictor.load(folder, engine=engine).mapped(ClassMap.of(names or None)).with_rules(**(rules or {}))
        )
        self._options = options

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        """Return a row of JSON for each name."""
        import pyarrow

        images = [os.fsdecode(name) for name in table.column("image").to_pylist()]
        rows = [json.dumps(one.to_json()) for one in self._predictor.predict_many(images, **self._options)]
        return pyarrow.table({"row": pyarrow.array(rows, pyarrow.string())})


def _rows(ray: Any, names: list[str], given: tuple[Any, ...]) -> Iterator[str]:
    """Yield the JSON of each prediction, in the order of the names."""
    import pyarrow

    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it announces every step
    actors, cpus = _actors([node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]])
    settings = data.DataContext.get_current().copy()
    settings.enable_progress_bars = False
    settings.execution_options.preserve_order = True
    settings.execution_options.verbose_progress = False
    blocks = [
        pyarrow.table({"image": pyarrow.array(map(os.fsencode, names[start : start + BLOCK]), pyarrow.binary())})
        for start in range(0, len(names), BLOCK)
    ]
    with data.DataContext.current(settings):
        pool = data.ActorPoolStrategy(min_size=1, max_size=min(actors, len(blocks)))
        found = data.from_arrow(blocks).map_batches(
            _Classify, batch_size=None, batch_format="pyarrow", compute=pool, num_cpus=cpus, fn_constructor_args=given
        )
        for batch in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.column("row").to_pylist()


def _actors(cores: list[float]) -> tuple[int, int]:
    """Return how many actors the nodes hold, and the cores of each: those of the smallest node.

    Raises:
        HousetrainError: No node has a core.
    """
    usable = [int(count) for count in cores if count >= 1]
    if not usable:
        raise HousetrainError("The cluster has no node with a core", nodes=len(cores))
    smallest = min(usable)
    return sum(count // smallest for count in usable), smallest
