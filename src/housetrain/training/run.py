"""One training run is one folder of plain files.

In: the folder. Out: its contents as plain values. It does not know how a run is trained (`housetrain.training.trainer`
writes these files), and it never writes: any number of processes may read while one trains.

```
recipe.json   input.json   split.json   env.json     the request, the model input, the split, and the versions,
                                                     machine and command line of the process that trained last
environment.txt                                      the installed packages with their versions
history.jsonl                                        one line per epoch
progress.json                                        progress of the running epoch (replaced about twice a second)
checkpoints/                                         the last two epochs, complete enough to resume bit for bit
model.keras                                          the weights of the best epoch; model.xml and model.bin in its
                                                     place where the backbone is an encoder of the user's own
validation.npy                                       its outputs for the validation images
failed.json                                          only when training stopped by itself: the reason
result.json                                          written last: its presence means complete
```
"""

from __future__ import annotations

import functools
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from housetrain.errors import CorruptError, HousetrainError, IncompleteError, one_line
from housetrain.system import json_text, json_types, store
from housetrain.system.lock import Lock
from housetrain.system.near_folders import instead_of
from housetrain.training import run_types
from housetrain.training.history import unit_of

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitManifest
    from housetrain.images.input_spec import InputSpec
    from housetrain.inference.engine import Probabilities
    from housetrain.models.recipe import Recipe

STAGES_FILE, FOLDS_FILE = "stages.json", "folds.json"
"""In a run that was selected among stages: what each of them gave. See `housetrain.training.ladder`."""

State = Literal["new", "running", "stopped", "failed", "complete"]


class History(list[dict[str, Any]]):
    """One row per epoch, as a list of plain dicts."""

    def to_frame(self) -> Any:
        """Return the rows as a ``pandas.DataFrame`` with the epoch, or the step of a path, as its index.

        Raises:
            HousetrainError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
            raise HousetrainError(
                "History.to_frame needs pandas, which is not installed", do="pip install pandas"
            ) from error
        frame = pandas.DataFrame(list(self))
        return frame.set_index(unit_of(self)) if len(self) else frame


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder. Every property reads the files as they are now, so a running training can be watched.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    def __repr__(self) -> str:
        try:
            found = self.result or {}
        except HousetrainError:  # a damaged file must not break a traceback that shows this run
            found = {}
        names = ("best_epoch", "val_loss", "val_accuracy")
        facts = [f"{name}={found[name]:.4g}" for name in names if isinstance(found.get(name), int | float)]
        return f"Run({', '.join([repr(str(self.folder)), self.state, *facts])})"

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """Return the run in ``folder``.

        Raises:
            IncompleteError: It is not a run folder.
        """
        folder = Path(folder)
        if not (folder / "recipe.json").is_file():
            raise IncompleteError(
                "This is not a run folder" if folder.is_dir() else "There is no such run folder",
                expected="a folder with recipe.json, as `housetrain train` and `housetrain run` write it",
                do=instead_of(folder, "recipe.json"),
                folder=str(folder),
            )
        return cls(folder)

    # ------------------------------------------------------------------------------------- same run or another
    def matches(self, recipe: Recipe, prepared: Prepared, *, own_model: str = "") -> bool:
        """Return whether this is a run of ``recipe`` on these prepared images, finished or not.

        The only decision of this kind: resuming, choosing a run folder and refusing another run's folder all use it.

        Args:
            recipe: The settings.
            prepared: The images.
            own_model: Hash of the architecture of a Keras model given to `train`; empty for the recipe's model.
        """
        return not differences(self, recipe, prepared, own_model=own_model)

    # ------------------------------------------------------------------------------------- what was asked for
    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @functools.cached_property
    def recipe_json(self) -> dict[str, Any]:
        """The settings, as ``Recipe`` wrote them."""
        path = self.folder / "recipe.json"
        return dict(json_types.must_fit(store.read_json(path), dict[str, json_types.Scalar], path))

    @functools.cached_property
    def input_json(self) -> dict[str, Any]:
        """The model input: ``spec``, ``classes``, ``data`` (the arrays' fingerprint), ``decoder``, ``counts``."""
        path = self.folder / "input.json"
        return dict(json_types.must_fit(store.read_json(path), run_types.Input, path))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the model's outputs."""
        return tuple(_described(self, "classes"))

    @property
    def spec(self) -> InputSpec:
        """Size, color and resize rule of the model's input."""
        from housetrain.images.input_spec import InputSpec

        return InputSpec.from_json(_described(self, "spec"))

    @property
    def split(self) -> SplitManifest:
        """Which image was in which split."""
        from housetrain.data.split_manifest import SplitManifest

        return SplitManifest.load(self.folder)

    # ------------------------------------------------------------------------------------- what happened
    @property
    def history(self) -> History:
        """One row per epoch: epoch (from 1), loss, accuracy, val_loss, val_accuracy, lr, seconds, images_per_s.

        The logistic head of a pretrained model has a row per regularization strength instead: step (from 1), l2, loss,
        accuracy, val_loss, val_accuracy, iterations, seconds, images_per_s.
        """
        path = self.folder / "history.jsonl"
        rows = json_types.must_fit(store.read_lines(path), list[run_types.Epoch] | list[run_types.Step], path)
        return History({**dict.fromkeys(run_types.SCORES), **row} for row in rows)

    @property
    def progress(self) -> dict[str, Any] | None:
        """Progress of a running training, or where it stopped: epoch, step, steps, loss, images_per_s, eta_s."""
        path = self.folder / "progress.json"
        return json_types.must_fit(store.read_json(path), run_types.Progress, path) if path.is_file() else None

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a complete run, else ``None``: best_epoch, val_loss, val_accuracy, seconds, parameters, ..."""
        path = self.folder / "result.json"
        return json_types.must_fit(store.read_json(path), run_types.Result, path) if path.is_file() else None

    @property
    def complete(self) -> bool:
        """Whether training is finished."""
        return (self.folder / "result.json").is_file()

    @property
    def failure(self) -> str | None:
        """Why training stopped by itself (a loss that is not a number), or ``None``."""
        path = self.folder / "failed.json"
        return str(store.read_object(path, "reason")["reason"]) if path.is_file() else None

    @property
    def state(self) -> State:
        """``complete``, ``running`` (a process trains it now), ``failed``, ``stopped`` (can be resumed) or ``new``."""
        if self.complete:
            return "complete"
        if Lock.held(self.folder):
            return "running"
        if self.complete:  # it finished between the two checks
            return "complete"
        if (self.folder / "failed.json").is_file():
            return "failed"
        begun = (self.folder / "history.jsonl").is_file() or bool(store.committed(self.checkpoints, "epoch-"))
        return "stopped" if begun else "new"

    @property
    def model_path(self) -> Path:
        """The file with the weights of the best epoch: Keras, or OpenVINO with an encoder of the user's own.

        Raises:
            IncompleteError: No epoch is finished yet.
        """
        from housetrain.inference.model_folder import model_file

        return model_file(self.folder)

    @property
    def model_sha256(self) -> str:
        """The sha256 of the current model, computed once per process and file."""
        from housetrain.inference.model_folder import model_sha256

        return model_sha256(self.folder)

    def load_model(self) -> Any:
        """Return the ``keras.Model`` of the best epoch, not compiled.

        It takes uint8 ``(N, height, width, channels)`` in [0, 255], as `Prepared.train` holds them (scaling is part of
        the model), and returns ``(N, classes)`` probabilities, or ``(N, 1)`` for two classes: that of the second.

        Raises:
            IncompleteError: No epoch is finished yet.
            ModelError: The file is damaged, or holds anything but built-in Keras layers; or there is no Keras model,
                because the backbone is an encoder of the user's own.
            MissingExtra: Keras or its backend is not installed.
        """
        from housetrain.inference.formats import format_named

        keras_format = format_named("keras")
        return keras_format.open(self.model_path, classes=len(self.classes), input_shape=self.spec.shape).model

    def validation_probabilities(self, images: int) -> Probabilities | None:
        """Return the best epoch's probabilities for the validation images, float32 (``images``, classes).

        ``None`` where the run did not keep them, or kept them for another number of images.
        """
        from housetrain.inference.model_folder import validation_probabilities

        if not all((self.folder / name).is_file() for name in ("validation.npy", "input.json")):
            return None
        return validation_probabilities(self.folder, classes=len(self.classes), images=images)

    @property
    def checkpoints(self) -> Path:
        """The folder of the last two epochs' checkpoints."""
        return self.folder / "checkpoints"


def _described(run: Run, name: str) -> Any:
    if name not in run.input_json:
        raise CorruptError(f"The input of the run has no {name}", do="train again", path=str(run.folder / "input.json"))
    return run.input_json[name]


def differences(
    run: Run, recipe: Recipe, prepared: Prepared, *, own_model: str = "", apart_from: Set[str] = frozenset()
) -> list[str]:
    """Return how a run differs from one of ``recipe`` on these images, a phrase each; empty for the same run.

    A setting that the run's recipe lacks, because an earlier version wrote it, has its default. Settings in
    ``apart_from`` may differ.
    """
    from housetrain.models.recipe import Recipe

    try:
        kept = json_text.plain(Recipe.from_json(run.recipe_json).to_json())
        begun = (run.folder / "input.json").exists()
        data = run.input_json.get("data") if begun else prepared.fingerprint
        model = run.input_json.get("own_model", "") if begun else own_model
    except (OSError, ValueError, HousetrainError) as error:
        return [f"its files cannot be read ({one_line(str(error))})"]
    asked = json_text.plain(recipe.to_json())
    found = [
        f"{name} is {kept.get(name)!r} there and {asked.get(name)!r} here"
        for name in sorted((kept.keys() | asked.keys()) - apart_from)
        if kept.get(name) != asked.get(name)
    ]
    found += ["the prepared images differ"] if data != prepared.fingerprint else []
    return [*found, "the architecture of your own model differs"] if model != own_model else found
