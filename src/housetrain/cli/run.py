"""The verb `run`, from a folder of images to a tested model. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from housetrain.cli.backbone_options import Backbone, BackbonePreprocessing, recipe_on
from housetrain.cli.cluster_options import TRIAL_OPTIONS, executor_of
from housetrain.cli.label_options import Folder, source_of, with_label_options
from housetrain.cli.log_options import with_log
from housetrain.cli.options import (
    Folds,
    Halving,
    Json,
    Model,
    Output,
    Quiet,
    RecipeFile,
    Set,
    Workers,
    plan_from,
    recipe_from,
    recipe_options,
    settings_from,
    with_options,
)
from housetrain.cli.split_options import split_options_from, with_split_options
from housetrain.cli.tracking import Track, followed
from housetrain.errors import RecipeError

app = typer.Typer()


@app.command(epilog="Examples:  housetrain run PetImages  ·  housetrain run PetImages --model cnn --time-limit 10m")
@with_label_options
@recipe_options()
@with_split_options
@with_options("cluster", TRIAL_OPTIONS)
@with_log
def run(
    folder: Folder = None,
    *,
    model: Model = "auto",
    backbone: Backbone = None,
    backbone_preprocessing: BackbonePreprocessing = "",
    flags: dict[str, Any],
    set_: Set = None,
    recipe: RecipeFile = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Train the 27 CNNs of the grid; test only the best.")] = False,
    halving: Halving = False,
    folds: Folds = None,
    output: Output = None,
    prepared: Annotated[Path | None, typer.Option(help="Folder of the arrays; by default one in prepared/.")] = None,
    split_options: dict[str, Any],
    label_options: dict[str, Any],
    workers: Workers = None,
    cluster: dict[str, Any],
    track: Track = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier from a folder of images: check, split, prepare, train, test, report, export.

    Rerun the same command to resume after an interruption.
    """
    from housetrain import workflow
    from housetrain.cli import results, terminal

    folder, source = source_of(folder, label_options)
    chosen = plan = automatic = None
    if backbone is not None or backbone_preprocessing:
        others = {"--model": model != "auto", "--recipe": recipe, "--sweep": sweep, "--halving": halving}
        chosen = recipe_on(backbone, backbone_preprocessing, {**flags, **settings_from(set_)}, others=others)
    elif sweep or halving:
        axes = {name: str(flags.pop(name)) if name in flags else None for name in ("conv", "nodes", "dense")}
        plan = plan_from("cnn" if model == "auto" else model, flags, set_, axes=axes, halving=halving)
    elif model == "auto" and recipe is None:
        automatic = {**flags, **settings_from(set_)}
    else:
        chosen = recipe_from(recipe, model, {**flags, **settings_from(set_)})
    if cluster and plan is None:
        raise RecipeError("One training runs on one machine", do="add --sweep, or omit the options of a cluster")
    with followed(track, quiet=quiet) as (callbacks, tracker):
        executor = executor_of(cluster, workers=None, callbacks=callbacks)
        outcome = workflow.run(
            folder, output, recipe=chosen, settings=automatic, sweep=plan, prepared=prepared, workers=workers,
            executor=executor, folds=folds, callbacks=callbacks, **split_options_from(split_options), **source,
        )  # fmt: skip
        if tracker is not None:
            tracker.finish(outcome.run, artifacts=[outcome.bundle, outcome.report], evaluation=outcome.evaluation)
    if json_:
        terminal.print_json(outcome.to_json())
    else:
        results.outcome(outcome)
