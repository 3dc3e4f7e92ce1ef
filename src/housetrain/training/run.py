"""One training run is one folder of plain files.

In: the folder. Out: what is in it, as plain values. It does not know how a run is trained (``training/session.py``
writes these files), and it never writes: any number of readers may look while one process trains.

```
recipe.json   input.json   split.json   env.json     the request, the model input, the split, where
history.jsonl                                        one line an epoch
progress.json                                        how far the running epoch is (replaced about twice a second)
checkpoints/                                         the last two epochs, complete enough to go on bit for bit
model.keras                                          the weights of the best epoch
validation.npy                                       what it says of each validation image
failed.json                                          only when training stopped by itself: the reason
result.json                                          written last: its presence means complete
```
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from housetrain.errors import HousetrainError, IncompleteError, one_line
from housetrain.system import store
from housetrain.system.lock import Lock

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared
    from housetrain.data.split_manifest import SplitManifest
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.recipe import Recipe

State = Literal["new", "running", "stopped", "failed", "complete"]


@dataclass(frozen=True)
class Run:
    """A run folder, read when asked. Every property looks at the files as they are now, so a live run may be watched.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Return the run in ``folder``.

        Raises:
            IncompleteError: It is not a run folder.
        """
        folder = Path(folder)
        if not (folder / "recipe.json").is_file():
            raise IncompleteError(
                "This is not a run folder" if folder.is_dir() else "There is no such run folder",
                expected="a folder with recipe.json, as `housetrain train` and `housetrain run` write it",
                folder=str(folder),
            )
        return cls(folder)

    # ------------------------------------------------------------------------------------- is it the same run?
    def matches(self, recipe: Recipe, prepared: Prepared) -> bool:
        """Return whether this is a run of ``recipe`` on these prepared images, finished or not.

        The only decision of this kind: resuming, choosing a run folder and refusing another run's folder all ask it.
        """
        return not self.differences(recipe, prepared)

    def differences(self, recipe: Recipe, prepared: Prepared) -> list[str]:
        """Return what differs from a run of ``recipe`` on these images, a phrase each; empty for the same run.

        A setting that the kept recipe lacks, because an earlier version wrote it, has its default.
        """
        from housetrain.models.recipe import Recipe

        try:
            kept = store.plain(Recipe.from_json(self.recipe_json).to_json())
            data = self.input_json.get("data") if (self.folder / "input.json").exists() else prepared.fingerprint
        except (OSError, ValueError, HousetrainError) as error:
            return [f"its files cannot be read ({one_line(str(error))})"]
        asked = store.plain(recipe.to_json())
        found = [
            f"{name} is {kept.get(name)!r} there and {asked.get(name)!r} here"
            for name in sorted(kept.keys() | asked.keys())
            if kept.get(name) != asked.get(name)
        ]
        return [*found, "the prepared images differ"] if data != prepared.fingerprint else found

    # ------------------------------------------------------------------------------------- what was asked for
    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @functools.cached_property
    def recipe_json(self) -> dict[str, Any]:
        """The settings, as ``Recipe`` wrote them."""
        return dict(store.read_json(self.folder / "recipe.json"))

    @property
    def env(self) -> dict[str, Any]:
        """Versions, machine and command line of the process that trained last."""
        return dict(store.read_json(self.folder / "env.json"))

    @functools.cached_property
    def input_json(self) -> dict[str, Any]:
        """What the model eats: ``spec``, ``classes``, ``data`` (the arrays' fingerprint), ``decoder``, ``counts``."""
        return dict(store.read_json(self.folder / "input.json"))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the model's outputs."""
        return tuple(self.input_json["classes"])

    @property
    def spec(self) -> InputSpec:
        """Size, color and resize rule of the model's input."""
        from housetrain.images.input_spec import InputSpec

        return InputSpec.from_json(self.input_json["spec"])

    @property
    def split(self) -> SplitManifest:
        """Which image was in which split."""
        from housetrain.data.split_manifest import SplitManifest

        return SplitManifest.load(self.folder)

    # ------------------------------------------------------------------------------------- what happened
    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch: epoch (from 1), loss, accuracy, val_loss, val_accuracy, lr, seconds, images_per_s."""
        return store.read_lines(self.folder / "history.jsonl")

    @property
    def progress(self) -> dict[str, Any] | None:
        """How far a running training is, or was when it stopped: epoch, step, steps, loss, images_per_s, eta_s."""
        path = self.folder / "progress.json"
        return dict(store.read_json(path)) if path.is_file() else None

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a complete run, else ``None``: best_epoch, val_loss, val_accuracy, seconds, parameters, ..."""
        path = self.folder / "result.json"
        return dict(store.read_json(path)) if path.is_file() else None

    @property
    def complete(self) -> bool:
        """Whether training ended as it should."""
        return (self.folder / "result.json").is_file()

    @property
    def failure(self) -> str | None:
        """Why training stopped by itself (a loss that is not a number), or ``None``."""
        path = self.folder / "failed.json"
        return str(store.read_json(path)["reason"]) if path.is_file() else None

    @property
    def state(self) -> State:
        """``complete``, ``running`` (a process holds it now), ``failed``, ``stopped`` (can go on) or ``new``."""
        if self.complete:
            return "complete"
        if Lock.held(self.folder):
            return "running"
        if self.complete:  # it ended between these two looks
            return "complete"
        if (self.folder / "failed.json").is_file():
            return "failed"
        begun = (self.folder / "history.jsonl").is_file() or bool(store.committed(self.checkpoints, "epoch-"))
        return "stopped" if begun else "new"

    @property
    def model_path(self) -> Path:
        """Where the weights of the best epoch are, as a Keras file.

        Raises:
            IncompleteError: No epoch is finished yet.
        """
        from housetrain.inference.model_folder import model_file

        return model_file(self.folder)

    @property
    def model_sha256(self) -> str:
        """The sha256 of the current model file, computed once per process and file."""
        return store.known_sha256(self.model_path)

    @property
    def checkpoints(self) -> Path:
        """The folder of the last two epochs' checkpoints."""
        return self.folder / "checkpoints"
