"""Fine-tuning: the last layers of a pretrained run's base, trained with a small learning rate.

In: a complete run of a pretrained model. Out: a new run. It does not know how a model is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import IncompleteError, RecipeError
from housetrain.models.recipe import Recipe
from housetrain.system.events import Callback
from housetrain.training.run import Run
from housetrain.training.run_data import prepared_of
from housetrain.training.train import train

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared

LAYERS = 30
_FINETUNING: dict[str, Any] = {
    "views": 0,
    "test_time_flips": "none",
    "epochs": 5,
    "optimizer": "adam",
    "learning_rate": 1e-5,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
}


def finetune(
    source: Run | Path | str,
    output: Path | str | None = None,
    *,
    layers: int = LAYERS,
    prepared: Prepared | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Train the last layers of a pretrained run's base as well, with a small learning rate, into a new run.

    Batch normalization stays in inference mode: it keeps the statistics and scales of its pretraining.

    Args:
        source: A complete run of a pretrained model.
        output: The new run folder; ``<run>-finetuned`` by default.
        layers: How many of the base's last layers are trained, as `keras.Model.layers` counts them.
        prepared: The images; by default those of the run.
        callbacks: Follow the training, such as `housetrain.ProgressBar`.
        **settings: Recipe fields that differ: by default 5 epochs of Adam at a learning rate of 1e-5.

    Returns:
        The new complete run; its ``model.keras`` is that of the best epoch by validation loss.

    Raises:
        IncompleteError: The run is not finished, or its images are gone.
        RecipeError: Its model is not a pretrained one, or the settings cannot be trained.
    """
    run = source if isinstance(source, Run) else Run.open(Path(source))
    recipe = Recipe.from_json(run.recipe_json)
    if not recipe.pretrained:
        raise RecipeError(
            "Only a run of a pretrained model can be fine-tuned",
            expected="a run of `housetrain run --model xception` or another pretrained model",
            run=str(run.folder),
            model=recipe.model,
        )
    if not run.complete:
        raise IncompleteError(
            "The run is not finished", do="let it finish first: run the same command again", run=str(run.folder)
        )
    tuned = finetuned_recipe(run, layers=layers, **settings)
    folder = Path(output) if output is not None else run.folder.with_name(f"{run.name}-finetuned")
    return train(prepared or prepared_of(run), tuned, folder, callbacks=callbacks)


def finetuned_recipe(run: Run, *, layers: int = LAYERS, **settings: Any) -> Recipe:
    """Return the recipe that trains the last layers of a complete pretrained run's base as well.

    Args:
        run: The run; its model's weights are the initial ones.
        layers: How many of the base's last layers are trained.
        **settings: Recipe fields that differ from fine-tuning's own.
    """
    recipe = Recipe.from_json(run.recipe_json)
    weights = str(run.model_path.absolute())
    fixed = {"weights": weights, "unfreeze": layers, "head": Recipe.of(recipe.model).head}
    return recipe.but(**_FINETUNING | fixed | settings)
