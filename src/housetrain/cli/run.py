"""The verb that does the whole job. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from housetrain.cli.options import (
    Augment,
    Balance,
    BatchSize,
    ColorMode,
    Conv,
    Dense,
    Deterministic,
    Epochs,
    Folder,
    Halving,
    ImageSize,
    Json,
    LearningRate,
    Model,
    Nodes,
    Output,
    Patience,
    Quiet,
    RecipeFile,
    Resize,
    Seed,
    Set,
    SplitSeed,
    TestPerClass,
    TestSplit,
    TimeLimit,
    ValidationSplit,
    Weights,
    Workers,
    overrides_from,
    plan_from,
    recipe_from,
    seconds,
)

app = typer.Typer()


@app.command(epilog="Examples:  housetrain run PetImages  ·  housetrain run PetImages --model cnn --time-limit 10m")
def run(
    folder: Folder,
    model: Model = "auto",
    weights: Weights = None,
    augment: Augment = None,
    output: Output = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Where the arrays are kept; by default in prepared/.", show_default=False)
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    conv: Conv = None,
    nodes: Nodes = None,
    dense: Dense = None,
    image_size: ImageSize = None,
    color_mode: ColorMode = None,
    resize: Resize = None,
    balance: Balance = None,
    patience: Patience = None,
    time_limit: TimeLimit = None,
    seed: Seed = None,
    deterministic: Deterministic = False,
    set_: Set = None,
    recipe: RecipeFile = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Train the tutorials' 27 models, choose the best, test that one.")
    ] = False,
    halving: Halving = False,
    split_seed: SplitSeed = 0,
    validation_split: ValidationSplit = 0.15,
    test_split: TestSplit = 0.15,
    test_per_class: TestPerClass = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do the whole job, from folder to report and model.

    Check, split, prepare, train, test, report, bundle. Rerun the same command to resume after an interruption.
    """
    from housetrain import workflow
    from housetrain.cli import terminal

    flags: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "image_size": image_size,
        "color_mode": color_mode,
        "resize": resize,
        "balance": balance,
        "patience": patience,
        "time_limit_s": seconds(time_limit),
        "seed": seed,
        "deterministic": deterministic or None,
        "weights": weights,
        "views": augment,
    }
    chosen = plan = automatic = None
    if sweep or halving:
        axes = {"conv": conv, "nodes": nodes, "dense": dense}
        words = {name: None if value is None else str(value) for name, value in axes.items()}
        net = "cnn" if model == "auto" else model
        plan = plan_from(net, axes=words, settings=set_, halving=halving, **flags)
    elif model == "auto" and recipe is None:
        automatic = overrides_from(settings=set_, conv=conv, nodes=nodes, dense=dense, **flags)
    else:
        chosen = recipe_from(recipe, model, conv=conv, nodes=nodes, dense=dense, settings=set_, **flags)
    outcome = workflow.run(
        folder,
        output,
        recipe=chosen,
        settings=automatic,
        sweep=plan,
        prepared=prepared,
        seed=split_seed,
        validation_split=validation_split,
        test_split=test_split,
        test_per_class=test_per_class,
        workers=workers,
        narrator=terminal.Terminal(quiet=quiet),
    )
    if json_:
        terminal.print_json(outcome.to_json())
        return
    if outcome.leaderboard is not None:
        terminal.leaderboard(outcome.leaderboard)
    terminal.out("")
    terminal.out(outcome.evaluation.in_words())
    terminal.out("")
    terminal.out(f"Report   {outcome.report}")
    terminal.out(f"Model    {outcome.bundle}")
    terminal.out(f"Next     housetrain predict {terminal.quoted(outcome.run.folder)} PHOTO.jpg")
    terminal.out(f"         housetrain board {terminal.quoted(outcome.run.folder)}")
