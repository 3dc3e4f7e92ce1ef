"""The verbs that make models, choose between them and test the chosen one. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from housetrain.cli.options import (
    Augment,
    BatchSize,
    Conv,
    Dense,
    Deterministic,
    Epochs,
    Halving,
    Json,
    LearningRate,
    Model,
    Nodes,
    Output,
    Patience,
    Quiet,
    RecipeFile,
    Seed,
    Set,
    TimeLimit,
    Weights,
    plan_from,
    recipe_from,
    seconds,
)

app = typer.Typer()


@app.command(
    epilog="Example:  housetrain train prepared/PetImages-50x50-grayscale --model cnn --conv 3 --nodes 64 --dense 0"
)
def train(
    prepared: Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")],
    model: Model = "cnn",
    weights: Weights = None,
    augment: Augment = None,
    output: Output = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    conv: Conv = None,
    nodes: Nodes = None,
    dense: Dense = None,
    patience: Patience = None,
    time_limit: TimeLimit = None,
    seed: Seed = None,
    deterministic: Deterministic = False,
    set_: Set = None,
    recipe: RecipeFile = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one model on prepared images. Call it again after an interruption and it goes on."""
    import housetrain as ht
    from housetrain import workflow
    from housetrain.cli import terminal

    arrays = ht.Prepared.load(prepared)
    chosen = recipe_from(
        recipe,
        model,
        conv=conv,
        nodes=nodes,
        dense=dense,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        time_limit_s=seconds(time_limit),
        seed=seed,
        deterministic=deterministic or None,
        weights=weights,
        views=augment,
        settings=set_,
    )
    target = output or workflow.free_run_folder(
        arrays.folder.with_name(f"{arrays.folder.name}-{chosen.name}"), arrays, chosen
    )
    trained = ht.train(arrays, chosen, target, progress=None if quiet else "rich")
    if json_:
        terminal.print_json({"run": str(trained.folder), "result": trained.result, "history": trained.history})
        return
    terminal.out(f"Run      {trained.folder}")
    terminal.out(f"Next     housetrain evaluate {terminal.quoted(trained.folder)}")


@app.command(
    epilog="Examples:  housetrain sweep PREPARED  ·  housetrain sweep PREPARED --conv 2,3 "
    "--set learning_rate=1e-3,3e-4 --seeds 3  ·  housetrain sweep PREPARED --search optuna --trials 50 --time-limit 1h"
)
def sweep(
    prepared: Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")],
    model: Model = "cnn",
    output: Annotated[
        Path | None, typer.Option(help="Where the sweep is kept; by default a folder in sweeps/.", show_default=False)
    ] = None,
    conv: Annotated[str | None, typer.Option(help="Convolution layers: 1,2,3.", show_default=False)] = None,
    nodes: Annotated[str | None, typer.Option(help="Filters and units: 32,64,128.", show_default=False)] = None,
    dense: Annotated[str | None, typer.Option(help="Dense layers: 0,1,2.", show_default=False)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any other setting: NAME=VALUE for all, NAME=V1,V2 to sweep it, NAME=LOW..HIGH to search it.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Train every recipe with this many seeds.", min=1)] = 1,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    patience: Patience = None,
    seed: Seed = None,
    deterministic: Deterministic = False,
    search: Annotated[str, typer.Option(help="grid: every combination. optuna: propose the next trial.")] = "grid",
    trials: Annotated[int, typer.Option(help="With --search optuna: how many.", min=1)] = 30,
    halving: Halving = False,
    time_limit: Annotated[
        str | None, typer.Option(help="Stop the sweep after this long: 90s, 10m, 1h.", show_default=False)
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give failed trials another try.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Trainings side by side; one a core by default.", min=1, show_default=False)
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train many models side by side and rank them. Call it again after an interruption and it goes on.

    Without options: the tutorials' 27, dense 0,1,2 x nodes 32,64,128 x conv 1,2,3, 10 epochs each.
    """
    import housetrain as ht
    from housetrain import workflow
    from housetrain.cli import terminal

    asked = plan_from(
        model,
        axes={"conv": conv, "nodes": nodes, "dense": dense},
        settings=set_,
        seeds=seeds,
        search=search,
        trials=trials,
        halving=halving,
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        deterministic=deterministic or None,
    )
    board = workflow.run_sweep(
        ht.Prepared.load(prepared),
        asked,
        output,
        workers=workers,
        time_limit_s=seconds(time_limit),
        retry_failed=retry_failed,
        narrator=terminal.Terminal(quiet=quiet),
    )
    if json_:
        terminal.print_json({"sweep": str(board.folder), **board.to_json()})
        return
    terminal.leaderboard(board)
    terminal.out("")
    terminal.out(f"Sweep    {board.folder}")
    terminal.out(f"Page     {board.folder / 'leaderboard.html'}")
    if board.ranked:
        terminal.out(f"Next     housetrain evaluate {terminal.quoted(board.best_run.folder)}")
        terminal.out(f"         housetrain board {terminal.quoted(board.folder)}")


@app.command(epilog="Examples:  housetrain leaderboard sweeps/pets  ·  housetrain leaderboard sweeps/pets --live")
def leaderboard(
    sweep: Annotated[Path, typer.Argument(help="A sweep folder, finished or not.", metavar="SWEEP")],
    json_: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write leaderboard.html and print where it is.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Stay, and show how the sweep stands until it ends.")] = False,
) -> None:
    """Rank the models of a sweep by validation loss. Never opens the test."""
    import time

    from housetrain.cli import terminal
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.sweeps.status import look

    if live:
        with terminal.Terminal().watching() as watch:
            while not (snapshot := look(sweep)).board.complete:
                if watch:
                    watch(snapshot)
                time.sleep(1)
    board = Leaderboard.read(sweep)
    if json_:
        terminal.print_json(board.to_json())
    elif csv:
        typer.echo(board.to_csv(), nl=False)
    elif html:
        from housetrain.report.sweep_report import write_leaderboard

        terminal.out(str(write_leaderboard(board)))
    else:
        terminal.leaderboard(board)


@app.command(epilog="Example:  housetrain compare runs/PetImages runs/PetImages-2")
def compare(
    first: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    second: Annotated[Path, typer.Argument(help="Another one of the same images.", metavar="RUN")],
    json_: Json = False,
) -> None:
    """Say what differs between two runs, and whether luck explains it. Never opens the test."""
    import housetrain as ht
    from housetrain.cli import terminal
    from housetrain.sweeps.compare import compare as compare_runs

    found = compare_runs(ht.Run.open(first), ht.Run.open(second))
    if json_:
        terminal.print_json(found.to_json())
    else:
        terminal.comparison(found)


@app.command(epilog="Example:  housetrain finetune runs/PetImages --layers 30 --epochs 5")
def finetune(
    run: Annotated[Path, typer.Argument(help="A finished run of a pretrained model.", metavar="RUN")],
    layers: Annotated[int, typer.Option(help="Train this many of the net's last layers.", min=1)] = 30,
    output: Annotated[
        Path | None, typer.Option(help="The new run folder; by default <RUN>-finetuned.", show_default=False)
    ] = None,
    epochs: Epochs = 5,
    learning_rate: Annotated[float, typer.Option(help="Step size of the optimizer.")] = 1e-5,
    batch_size: BatchSize = None,
    patience: Patience = None,
    time_limit: TimeLimit = None,
    seed: Seed = None,
    deterministic: Deterministic = False,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on from a pretrained model's run: train the top of its net as well, with tiny steps. A new run.

    Batch norm stays in inference mode. The best epoch by validation loss is kept.
    """
    import housetrain as ht
    from housetrain import workflow
    from housetrain.cli import terminal

    flags = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "patience": patience,
        "time_limit_s": seconds(time_limit),
        "seed": seed,
        "deterministic": deterministic or None,
    }
    before = ht.Run.open(run)
    settings: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    tuned = workflow.finetune(before, output, layers=layers, progress=None if quiet else "rich", **settings)
    if json_:
        terminal.print_json({"run": str(tuned.folder), "result": tuned.result, "history": tuned.history})
        return
    old, new = ((item.result or {}).get("val_loss", float("nan")) for item in (before, tuned))
    terminal.out(f"Run      {tuned.folder}")
    terminal.out(f"         val_loss {old:.4f} before, {new:.4f} now{'' if new < old else ': keep the run before'}")
    terminal.out(f"Next     housetrain evaluate {terminal.quoted(tuned.folder if new < old else before.folder)}")


@app.command(epilog="Example:  housetrain evaluate runs/PetImages")
def evaluate(run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")], json_: Json = False) -> None:
    """Test a finished run on the images set aside. Each opening of the test split is counted."""
    import housetrain as ht
    from housetrain.cli import terminal

    opened = ht.Run.open(run)
    result = ht.evaluate(opened)
    report = ht.write_report(opened, evaluation=result)
    if json_:
        terminal.print_json({key: value for key, value in result.to_json().items() if key != "rows"})
        return
    terminal.evaluation(result)
    terminal.out(f"Report   {report}")
