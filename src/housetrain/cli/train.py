"""The verbs that train, compare and test models. See `housetrain.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from housetrain.cli.backbone_options import Backbone, BackbonePreprocessing, recipe_on
from housetrain.cli.cluster_options import TRIAL_OPTIONS, executor_of
from housetrain.cli.label_options import LABEL_OPTIONS, parsed
from housetrain.cli.log_options import with_log
from housetrain.cli.options import (
    SET,
    Folds,
    Halving,
    Json,
    Model,
    Output,
    PreparedOption,
    Quiet,
    RecipeFile,
    Set,
    TimeLimit,
    plan_from,
    recipe_from,
    recipe_options,
    settings_from,
    with_options,
)
from housetrain.cli.progress_bar import callbacks_for
from housetrain.cli.tracking import Track, followed
from housetrain.cli.waiting import waiting
from housetrain.system.events import Callbacks

app = typer.Typer()
_PreparedArg = Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")]
_RunArg = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
_FROM_PREPARED = ("image_size", "color_mode", "resize", "balance")  # fixed when the images were prepared


@app.command(
    epilog="Example:  housetrain train prepared/PetImages-50x50-grayscale --model cnn --conv 3 --nodes 64 --dense 0"
)
@recipe_options(*_FROM_PREPARED)
@with_log
def train(
    prepared: _PreparedArg,
    *,
    model: Model = "cnn",
    backbone: Backbone = None,
    backbone_preprocessing: BackbonePreprocessing = "",
    flags: dict[str, Any],
    set_: Set = None,
    recipe: RecipeFile = None,
    folds: Folds = None,
    output: Output = None,
    track: Track = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one model on prepared images. Rerun the same command to resume after an interruption."""
    import housetrain as ht
    from housetrain import workflow
    from housetrain.cli import results, terminal

    arrays = ht.Prepared.open(prepared)
    settings = {**flags, **settings_from(set_)}
    if backbone is not None or backbone_preprocessing:
        others = {"--model": model != "cnn", "--recipe": recipe}
        chosen = recipe_on(backbone, backbone_preprocessing, settings, others=others, image_size=arrays.spec.height)
    else:
        chosen = recipe_from(recipe, model, settings)
    target = output or workflow.free_run_folder(
        arrays.folder.with_name(f"{arrays.folder.name}-{chosen.name}"), arrays, chosen
    )
    with followed(track, quiet=quiet) as (callbacks, tracker):
        trained = ht.train(arrays, chosen, target, callbacks=callbacks)
        if folds:
            ht.cross_validate(trained, folds=folds, prepared=arrays, callbacks=callbacks)
        if tracker is not None:
            tracker.finish(trained)
    if json_:
        terminal.print_run(trained)
        return
    results.cross_validation(trained)
    terminal.out(f"Run      {trained.folder}")
    results.next_step(trained)


@app.command(
    epilog="Examples:  housetrain sweep PREPARED  ·  housetrain sweep PREPARED --conv 2,3 "
    "--set learning_rate=1e-3,3e-4 --seeds 3  ·  housetrain sweep PREPARED --search optuna --trials 50 --time-limit 1h"
)
@recipe_options(*_FROM_PREPARED, "weights", "views", "conv", "nodes", "dense", "learning_rate", "time_limit_s")
@with_options("cluster", TRIAL_OPTIONS)
@with_log
def sweep(
    prepared: _PreparedArg,
    *,
    model: Model = "cnn",
    flags: dict[str, Any],
    conv: Annotated[str | None, typer.Option(help="Convolution layers: 1,2,3.")] = None,
    nodes: Annotated[str | None, typer.Option(help="Filters and units: 32,64,128.")] = None,
    dense: Annotated[str | None, typer.Option(help="Dense layers: 0,1,2.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting: one value, V1,V2 or LOW..HIGH. `--set help` lists all.", **SET),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Train each recipe with this many seeds.", min=1)] = 1,
    search: Annotated[str, typer.Option(help="grid (every combination) or optuna (TPE).")] = "grid",
    trials: Annotated[int, typer.Option(help="Number of trials with --search optuna.", min=1)] = 30,
    halving: Halving = False,
    time_limit: TimeLimit = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed trials again.")] = False,
    workers: Annotated[int | None, typer.Option(help="Trials in parallel; by default one per core.", min=1)] = None,
    cluster: dict[str, Any],
    output: Annotated[Path | None, typer.Option(help="Sweep folder; by default a new folder in sweeps/.")] = None,
    track: Track = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train many models in parallel and rank them. Rerun the same command to resume after an interruption.

    By default: 27 CNNs, dense 0,1,2 x nodes 32,64,128 x conv 1,2,3, 10 epochs each.
    """
    import housetrain as ht
    from housetrain.cli import results, terminal
    from housetrain.report.sweep_report import write_leaderboard

    axes = {"conv": conv, "nodes": nodes, "dense": dense}
    plan = plan_from(model, flags, set_, axes=axes, seeds=seeds, search=search, trials=trials, halving=halving)
    with followed(track, quiet=quiet) as (callbacks, tracker):
        executor = executor_of(cluster, workers=workers, callbacks=callbacks)
        board = ht.sweep(
            ht.Prepared.open(prepared), plan, output, executor=executor, workers=workers, time_limit_s=time_limit,
            retry_failed=retry_failed, callbacks=callbacks,
        )  # fmt: skip
        page = write_leaderboard(board)
        if tracker is not None and board.complete:
            tracker.finish(board.best_run, artifacts=[page])
    if json_:
        terminal.print_json({"sweep": str(board.folder), **board.to_json()})
    else:
        results.sweep_result(board)


@app.command(
    epilog="Examples:  housetrain leaderboard sweeps/pets --sort val_accuracy  ·  "
    "housetrain leaderboard sweeps/pets --live"
)
def leaderboard(
    sweep: Annotated[Path, typer.Argument(help="A sweep folder, finished or not.", metavar="SWEEP")],
    sort: Annotated[
        str,
        typer.Option(
            help="Order of the rows; the rank stays that of the validation loss.",
            metavar="val_loss|val_accuracy|parameters|flops|seconds|images_per_s|model_bytes|latency_ms",
        ),
    ] = "val_loss",
    json_: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write leaderboard.html and print its path.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Follow a running sweep until it ends.")] = False,
) -> None:
    """Rank the models of a sweep by validation loss. Never uses the test split."""
    import time

    from housetrain.cli import terminal
    from housetrain.sweeps.leaderboard import leaderboard as read_leaderboard
    from housetrain.sweeps.status import look

    if live:
        events = Callbacks(callbacks_for(quiet=False))
        with events.stage("sweep"):
            while not (snapshot := look(sweep)).board.complete:
                events.progress("sweep", snapshot.done, snapshot.total, snapshot=snapshot)
                time.sleep(1)
    board = read_leaderboard(sweep)
    if json_:
        terminal.print_json(board.to_json(sort))
    elif csv:
        typer.echo(board.to_csv(sort), nl=False)
    elif html:
        from housetrain.report.sweep_report import write_leaderboard

        terminal.out(str(write_leaderboard(board)))
    else:
        terminal.leaderboard(board, sort)


@app.command(epilog="Examples:  housetrain runs  ·  housetrain runs sweeps/PetImages --sort val_accuracy")
def runs(
    folder: Annotated[
        Path, typer.Argument(help="Where the run folders are; also a sweep folder.", metavar="FOLDER")
    ] = Path("runs"),
    sort: Annotated[
        str, typer.Option(help="Sort by this column.", metavar="when|name|val_loss|val_accuracy|test_accuracy")
    ] = "when",
    json_: Json = False,
) -> None:
    """List what was tried: model, the settings that differ, validation and test results. Never uses the test split."""
    from housetrain.cli import terminal
    from housetrain.sweeps.runs import runs as list_runs

    rows = list_runs(folder, sort=sort)
    if json_:
        terminal.print_json([row.to_json() for row in rows])
    else:
        terminal.runs(rows)


@app.command(epilog="Example:  housetrain compare runs/PetImages runs/PetImages-cnn")
def compare(
    first: _RunArg,
    second: Annotated[Path, typer.Argument(help="Another run on the same images.", metavar="RUN")],
    json_: Json = False,
) -> None:
    """Compare two runs: settings, curves, and whether the difference is significant (validation only)."""
    from housetrain.cli import terminal
    from housetrain.sweeps.compare import compare as compare_runs

    found = compare_runs(first, second)
    if json_:
        terminal.print_json(found.to_json())
    else:
        terminal.comparison(found)


@app.command(epilog="Examples:  housetrain reproduce runs/PetImages  ·  housetrain reproduce runs/PetImages --json")
@with_log
def reproduce(
    run: _RunArg,
    *,
    output: Annotated[Path | None, typer.Option(help="The new run folder; by default RUN-again.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do a run again from its image files, and tell where the two part: pixels, weights or predictions.

    Images that are missing or changed are named first. The test split is not used. The exit code is 1 where one of the
    two runs is significantly more accurate.
    """
    import housetrain as ht
    from housetrain.cli import terminal

    found = ht.reproduce(run, output, callbacks=callbacks_for(quiet=quiet))
    if json_:
        terminal.print_json(found.to_json())
    else:
        terminal.out(found.summary())
        terminal.out(f"Again    {terminal.here(found.again.folder)}")
    raise typer.Exit(int(found.verdict == "different"))


@app.command(epilog="Example:  housetrain finetune runs/PetImages --layers 30 --epochs 5")
@recipe_options(*_FROM_PREPARED, "weights", "views", "conv", "nodes", "dense")
@with_log
def finetune(
    run: Annotated[Path, typer.Argument(help="A finished run of a pretrained model.", metavar="RUN")],
    *,
    flags: dict[str, Any],
    layers: Annotated[int, typer.Option(help="Number of the model's last layers to train.", min=1)] = 30,
    output: Annotated[Path | None, typer.Option(help="The new run folder; by default RUN-finetuned.")] = None,
    prepared: PreparedOption = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a pretrained model: train its last layers at a small learning rate, into a new run.

    By default 5 epochs of Adam at a learning rate of 1e-5. Batch normalization stays in inference mode. The epoch with
    the lowest validation loss is kept.
    """
    import housetrain as ht
    from housetrain.cli import terminal

    before = ht.Run.open(run)
    arrays = ht.Prepared.open(prepared) if prepared else None
    callbacks = callbacks_for(quiet=quiet)
    tuned = ht.finetune(before, output, layers=layers, prepared=arrays, callbacks=callbacks, **flags)
    if json_:
        terminal.print_run(tuned)
    else:
        terminal.finetuned(before, tuned)


@app.command(
    epilog="Examples:  housetrain evaluate runs/PetImages  ·  housetrain evaluate runs/PetImages --on photos-of-2027"
)
@with_options("label_options", {name: option for name, option in LABEL_OPTIONS.items() if not name.endswith("_dir")})
@with_log
def evaluate(
    run: _RunArg,
    *,
    on: Annotated[
        Path | None,
        typer.Option(
            "--on",
            help="Test on this labeled folder instead, such as next year's photos; does not use the test split.",
            metavar="FOLDER",
        ),
    ] = None,
    label_options: dict[str, Any],
    prepared: PreparedOption = None,
    json_: Json = False,
) -> None:
    """Test a finished run on the held-out test split, or on another folder.

    Every use of the test split is counted.
    """
    import housetrain as ht
    from housetrain.cli import terminal

    opened = ht.Run.open(run)
    arrays = ht.Prepared.open(prepared) if prepared else None
    options = parsed(label_options)
    with waiting("Loading the model"):
        result = ht.evaluate(opened, on=on, prepared=arrays, callbacks=callbacks_for(quiet=False), **options)
    report = ht.write_report(opened, evaluation=result)
    if json_:
        terminal.print_json({key: value for key, value in result.to_json().items() if key != "rows"})
        return
    terminal.evaluation(result)
    terminal.out(f"Report   {report}")
