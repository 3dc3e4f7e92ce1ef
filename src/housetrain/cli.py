"""The command line: one thin function per verb.

In: words. Out: calls of the functions of the same names in `housetrain`, their results on standard output, news and
errors on standard error, and an exit code. Holds no decisions; everything heavy is imported inside the verbs, so
that ``housetrain --help`` is quick.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from housetrain import cli_deploy
from housetrain.options import (
    BALANCES,
    COLOURS,
    RESIZES,
    Augment,
    Balance,
    BatchSize,
    Colour,
    Conv,
    Dense,
    Deterministic,
    Epochs,
    Folder,
    Halving,
    Json,
    LearningRate,
    Model,
    Nodes,
    Out,
    Patience,
    Quiet,
    RecipeFile,
    Resize,
    Seed,
    Set,
    Size,
    SplitSeed,
    Test,
    TestPerClass,
    TimeLimit,
    Validation,
    Weights,
    Workers,
    one_of,
    plan_from,
    recipe_from,
    seconds,
)

app = typer.Typer(
    name="housetrain",
    help="From a folder of labelled pictures to an image classifier you can trust, on your own machine.",
    epilog="Start here:  housetrain run PetImages   (class folders inside: PetImages/Cat, PetImages/Dog)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich help takes 0.15 s of imports more; plain help prints at once
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import housetrain

        typer.echo(f"housetrain {housetrain.__version__}")
        raise typer.Exit


@app.command(epilog="Examples:  housetrain run PetImages  ·  housetrain run PetImages --model cnn --time-limit 10m")
def run(
    folder: Folder,
    model: Model = "best",
    weights: Weights = None,
    augment: Augment = None,
    out: Out = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Where the arrays are kept; by default in prepared/.", show_default=False)
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    conv: Conv = None,
    nodes: Nodes = None,
    dense: Dense = None,
    size: Size = None,
    colour: Colour = None,
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
    validation: Validation = 0.15,
    test: Test = 0.15,
    test_per_class: TestPerClass = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do the whole job, from folder to report and model.

    Check, split, prepare, train, test, report, bundle. Call it again after an interruption and it goes on where it was.
    """
    from housetrain import pipeline, terminal

    flags: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "size": size,
        "colour": colour,
        "resize": resize,
        "balance": balance,
        "patience": patience,
        "time_limit_s": seconds(time_limit),
        "seed": seed,
        "deterministic": deterministic or None,
        "weights": weights,
        "views": augment,
    }
    chosen = plan = None
    if sweep or halving:
        axes = {"conv": conv, "nodes": nodes, "dense": dense}
        words = {name: None if value is None else str(value) for name, value in axes.items()}
        net = "cnn" if model == "best" else model
        plan = plan_from(net, axes=words, settings=set_, halving=halving, **flags)
    else:
        chosen = recipe_from(recipe, model, conv=conv, nodes=nodes, dense=dense, settings=set_, **flags)
    outcome = pipeline.run(
        folder,
        out,
        recipe=chosen,
        sweep=plan,
        prepared=prepared,
        seed=split_seed,
        validation=validation,
        test=test,
        test_per_class=test_per_class,
        workers=workers,
        narrator=terminal.Terminal(quiet=quiet),
    )
    if json_:
        _print_json(outcome.to_json())
        return
    if outcome.leaderboard is not None:
        terminal.leaderboard(outcome.leaderboard)
    terminal.out("")
    terminal.out(outcome.evaluation.in_words())
    terminal.out("")
    terminal.out(f"Report   {outcome.report}")
    terminal.out(f"Model    {outcome.bundle}")
    terminal.out(f"Next     housetrain predict {_quoted(outcome.run.folder)} PHOTO.jpg")
    terminal.out(f"         housetrain board {_quoted(outcome.run.folder)}")


@app.command(
    epilog="Exit code: 0 clean, 1 findings, 2 unusable.  Example:  housetrain check PetImages --csv findings.csv"
)
def check(
    folder: Folder,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row per finding and picture to this file.", show_default=False)
    ] = None,
    catalog_: Annotated[
        Path | None,
        typer.Option("--catalog", help="Write what every picture is to this file (JSON).", show_default=False),
    ] = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is wrong with the pictures. Changes nothing.

    Broken, duplicated, mislabelled and unbalanced pictures are listed with what to do about them.
    """
    import housetrain as ht
    from housetrain import terminal
    from housetrain.data.checks import write_findings
    from housetrain.data.output import refuse_inside
    from housetrain.runs import store

    for output in (csv, catalog_):
        if output is not None:
            refuse_inside(folder, output)
    narrator = terminal.Terminal(quiet=quiet)
    with narrator.counting("Reading") as progress:
        catalog = ht.scan(folder, workers=workers, progress=progress)
    findings = ht.check(catalog)
    if csv is not None:
        write_findings(findings, csv)
    if catalog_ is not None:
        store.write_json_atomic(catalog_, catalog.to_json())
    if json_:
        _print_json(
            {
                "folder": str(catalog.root),
                "pictures": len(catalog.pictures),
                "usable": catalog.counts(),
                "ignored": catalog.ignored,
                "fingerprint": catalog.fingerprint,
                "findings": [vars_of(finding) for finding in findings],
            }
        )
    else:
        terminal.findings(catalog, findings)
    if findings:
        raise typer.Exit(1)


@app.command(epilog="Example:  housetrain show PetImages --out sheet.png")
def show(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; by default <folder>-sheet.png here.", show_default=False)
    ] = None,
    per_class: Annotated[int, typer.Option(help="Samples per class.", min=1, max=100)] = 8,
    sizes: Annotated[str, typer.Option(help="Sizes to show the prepared picture at, in pixels.")] = "50,100",
    colour: Colour = "gray",
    seed: Annotated[int, typer.Option(help="Another number shows other samples.")] = 0,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Draw contact sheets, before and after preparing."""
    import housetrain as ht
    from housetrain import terminal
    from housetrain.data.output import refuse_inside
    from housetrain.errors import RecipeError

    try:
        pixels = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise RecipeError("The sizes are not numbers", expected="pixels, such as 50,100", sizes=sizes) from None
    target = out or Path(f"{Path(os.path.realpath(folder)).name}-sheet.png")
    refuse_inside(folder, target)
    with terminal.Terminal(quiet=quiet).counting("Reading") as progress:
        catalog = ht.scan(folder, workers=workers, progress=progress)
    terminal.out(
        str(
            ht.contact_sheet(
                catalog, target, per_class=per_class, sizes=pixels, colour=one_of("colour", colour, COLOURS), seed=seed
            )
        )
    )


@app.command(epilog="Example:  housetrain prepare PetImages --size 50 --colour gray")
def prepare(
    folder: Folder,
    size: Size = 50,
    colour: Colour = "gray",
    resize: Resize = "stretch",
    out: Annotated[
        Path | None, typer.Option(help="Where the arrays are kept; by default in prepared/.", show_default=False)
    ] = None,
    balance: Balance = "weights",
    split_seed: SplitSeed = 0,
    validation: Validation = 0.15,
    test: Test = 0.15,
    test_per_class: TestPerClass = None,
    workers: Workers = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make arrays of one size, split three ways, once."""
    import housetrain as ht
    from housetrain import pipeline, terminal
    from housetrain.data.output import refuse_inside
    from housetrain.data.prepare import default_prepared_folder

    if out is not None:
        refuse_inside(folder, out)
    spec = ht.InputSpec(
        height=size or 50,
        width=size or 50,
        colour=one_of("colour", colour, COLOURS),
        resize=one_of("resize", resize, RESIZES),
    )
    narrator = terminal.Terminal(quiet=quiet)
    _, _, division = pipeline.look(
        folder,
        seed=split_seed,
        validation=validation,
        test=test,
        test_per_class=test_per_class,
        balance=one_of("balance", balance, BALANCES),
        workers=workers,
        narrator=narrator,
    )
    target = out or default_prepared_folder(folder, spec, division)
    with narrator.counting("Preparing") as progress:
        prepared = ht.prepare(
            division,
            target,
            size=(spec.height, spec.width),
            colour=spec.colour,
            resize=spec.resize,
            workers=workers,
            progress=progress,
        )
    if json_:
        _print_json(
            {
                "prepared": str(prepared.folder),
                "fingerprint": prepared.fingerprint,
                "counts": prepared.split.counts(),
                "left_out": [vars_of(row) for row in prepared.split.left_out],
            }
        )
        return
    terminal.out(f"{pipeline.counts_in_words(prepared.split)}; balance: {one_of('balance', balance, BALANCES)}")
    for row in prepared.split.left_out:
        narrator.say(f"left out: {row.path} ({row.reason})")
    terminal.out(f"Arrays   {prepared.folder}")
    terminal.out(f"Next     housetrain train {_quoted(prepared.folder)} --model cnn")


@app.command(
    epilog="Example:  housetrain train prepared/PetImages-50x50-gray --model cnn --conv 3 --nodes 64 --dense 0"
)
def train(
    prepared: Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")],
    model: Model = "cnn",
    weights: Weights = None,
    augment: Augment = None,
    out: Out = None,
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
    """Train one model on prepared pictures. Call it again after an interruption and it goes on."""
    import housetrain as ht
    from housetrain import pipeline, terminal

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
    target = out or pipeline.free_run_folder(
        arrays.folder.with_name(f"{arrays.folder.name}-{chosen.name}"), arrays, chosen
    )
    trained = ht.train(arrays, chosen, target, progress=None if quiet else "rich")
    if json_:
        _print_json({"run": str(trained.folder), "result": trained.result, "history": trained.history})
        return
    terminal.out(f"Run      {trained.folder}")
    terminal.out(f"Next     housetrain evaluate {_quoted(trained.folder)}")


@app.command(
    epilog="Examples:  housetrain sweep PREPARED  ·  housetrain sweep PREPARED --conv 2,3 "
    "--set learning_rate=1e-3,3e-4 --seeds 3  ·  housetrain sweep PREPARED --search optuna --trials 50 --time-limit 1h"
)
def sweep(
    prepared: Annotated[Path, typer.Argument(help="A folder that `housetrain prepare` made.", metavar="PREPARED")],
    model: Model = "cnn",
    out: Annotated[
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
    seeds: Annotated[int, typer.Option(help="Train every cell with this many seeds.", min=1)] = 1,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    patience: Patience = None,
    seed: Seed = None,
    deterministic: Deterministic = False,
    search: Annotated[str, typer.Option(help="grid: every cell. optuna: ask for the next trial.")] = "grid",
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
    from housetrain import pipeline, terminal

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
    board = pipeline.run_sweep(
        ht.Prepared.load(prepared),
        asked,
        out,
        workers=workers,
        time_limit_s=seconds(time_limit),
        retry_failed=retry_failed,
        narrator=terminal.Terminal(quiet=quiet),
    )
    if json_:
        _print_json({"sweep": str(board.folder), **board.to_json()})
        return
    terminal.leaderboard(board)
    terminal.out("")
    terminal.out(f"Sweep    {board.folder}")
    terminal.out(f"Page     {board.folder / 'leaderboard.html'}")
    if board.ranked:
        terminal.out(f"Next     housetrain evaluate {_quoted(board.best_run.folder)}")
        terminal.out(f"         housetrain board {_quoted(board.folder)}")


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

    from housetrain import terminal
    from housetrain.runs.leaderboard import Leaderboard
    from housetrain.runs.watch import look

    if live:
        with terminal.Terminal().watching() as watch:
            while not (snapshot := look(sweep)).board.complete:
                if watch:
                    watch(snapshot)
                time.sleep(1)
    board = Leaderboard.read(sweep)
    if json_:
        _print_json(board.to_json())
    elif csv:
        typer.echo(board.to_csv(), nl=False)
    elif html:
        from housetrain.results.sweep_report import write_leaderboard

        terminal.out(str(write_leaderboard(board)))
    else:
        terminal.leaderboard(board)


@app.command(epilog="Example:  housetrain compare runs/PetImages runs/PetImages-2")
def compare(
    first: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    second: Annotated[Path, typer.Argument(help="Another one of the same pictures.", metavar="RUN")],
    json_: Json = False,
) -> None:
    """Say what differs between two runs, and whether luck explains it. Never opens the test."""
    import housetrain as ht
    from housetrain import terminal
    from housetrain.results.compare import compare as compare_runs

    found = compare_runs(ht.Run.open(first), ht.Run.open(second))
    if json_:
        _print_json(found.to_json())
    else:
        terminal.comparison(found)


@app.command(epilog="Example:  housetrain finetune runs/PetImages --layers 30 --epochs 5")
def finetune(
    run: Annotated[Path, typer.Argument(help="A finished run of a pretrained model.", metavar="RUN")],
    layers: Annotated[int, typer.Option(help="Train this many of the net's last layers.", min=1)] = 30,
    out: Annotated[
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
    from housetrain import pipeline, terminal

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
    tuned = pipeline.finetune(before, out, layers=layers, progress=None if quiet else "rich", **settings)
    if json_:
        _print_json({"run": str(tuned.folder), "result": tuned.result, "history": tuned.history})
        return
    old, new = ((item.result or {}).get("val_loss", float("nan")) for item in (before, tuned))
    terminal.out(f"Run      {tuned.folder}")
    terminal.out(f"         val_loss {old:.4f} before, {new:.4f} now{'' if new < old else ': keep the run before'}")
    terminal.out(f"Next     housetrain evaluate {_quoted(tuned.folder if new < old else before.folder)}")


@app.command(epilog="Example:  housetrain classify photo.jpg --model xception --top 5")
def classify(
    pictures: Annotated[list[str], typer.Argument(help="Photos, folders or globs.", metavar="PICTURE...")],
    model: Annotated[
        str, typer.Option(help="xception, efficientnetv2-b0, mobilenetv3-large, resnet50 or convnext-tiny.")
    ] = "xception",
    top: Annotated[int, typer.Option(help="Name this many classes.", min=1, max=1000)] = 5,
    weights: Annotated[
        str,
        typer.Option(help="imagenet (downloaded once), or a file of weights with the top.", metavar="imagenet|PATH"),
    ] = "imagenet",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture and line.")] = False,
) -> None:
    """Name what is in pictures with the thousand names of ImageNet. Nothing is trained."""
    from housetrain import terminal
    from housetrain.deploy.predictor import expand
    from housetrain.training.classify import classify as guesses

    failed = 0
    for guess in guesses([Path(path) for path in expand(pictures)], model, weights=weights, top=top):
        failed += bool(guess.error)
        if json_:
            typer.echo(json.dumps(guess.to_json()))
            continue
        terminal.out(f"{guess.source}" + (f": {guess.error}" if guess.error else ""))
        for name, probability in guess.names:
            terminal.out(f"  {probability:7.2%}  {name}")
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example:  housetrain evaluate runs/PetImages")
def evaluate(run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")], json_: Json = False) -> None:
    """Test a finished run on the pictures set aside. Each opening of the test split is counted."""
    import housetrain as ht
    from housetrain import terminal

    opened = ht.Run.open(run)
    result = ht.evaluate(opened)
    report = ht.write_report(opened, evaluation=result)
    if json_:
        _print_json({key: value for key, value in result.to_json().items() if key != "rows"})
        return
    terminal.evaluation(result)
    terminal.out(f"Report   {report}")


@app.command(
    epilog="Examples:  housetrain sample digits sample/digits  ·  housetrain sample mnist mnist --source ../mnist-files"
)
def sample(
    name: Annotated[str, typer.Argument(help="digits, fashion-mnist, mnist or cats-vs-dogs.", metavar="NAME")],
    dest: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DEST")],
    source: Annotated[
        Path | None, typer.Option(help="A folder that already has the data set's files.", show_default=False)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a ready-made data set into class folders of pictures."""
    import housetrain as ht
    from housetrain import terminal

    with terminal.Terminal(quiet=quiet).counting("Writing") as progress:
        made = ht.sample(name, dest, source=source, progress=progress)
    terminal.out(f"Pictures {made}")
    terminal.out(f"Next     housetrain run {_quoted(made)}")


@app.command(epilog="Example:  housetrain board runs")
def board(
    runs: Annotated[Path, typer.Argument(help="A run, or a folder of runs.", metavar="RUNS")],
    port: Annotated[int, typer.Option(help="Port on this machine.", min=0, max=65535)] = 6006,
) -> None:
    """Open TensorBoard on this machine only (127.0.0.1)."""
    from housetrain.training.tracking import board as open_board

    open_board(runs, port=port)


@app.command(epilog="Examples:  housetrain studio PetImages  ·  housetrain studio --data-root ~/Pictures --no-browser")
def studio(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of class folders to begin with.", metavar="[FOLDER]")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="Folders are chosen below this one, and nowhere else; by default the current folder.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Another than this machine's own needs HOUSETRAIN_STUDIO_PASSWORD.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
) -> None:
    """Open the studio: the whole job on a web page, on this machine only.

    It works in the current folder, as the other commands do, and shows what they do. Closing it stops no training.
    """
    from housetrain.studio.launch import launch

    launch(folder, data_root=data_root, address=address, port=port, browser=not no_browser)


@app.command(epilog="Example:  housetrain doctor --json")
def doctor(json_: Json = False) -> None:
    """Say what on this machine will be slow or fail."""
    from housetrain import terminal
    from housetrain.doctor import diagnose

    diagnosis = diagnose()
    if json_:
        _print_json(diagnosis.to_json())
    else:
        terminal.diagnosis(diagnosis)
    if any(remark.severity == "error" for remark in diagnosis.remarks):
        raise typer.Exit(1)


# predict, export, benchmark, explain
app.registered_commands += cli_deploy.app.registered_commands


# --- from values to words ----------------------------------------------------------------------------------------
def vars_of(value: Any) -> dict[str, Any]:
    """Return a frozen dataclass as JSON-plain values."""
    from dataclasses import asdict

    return asdict(value)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _asked_for(verb: list[str]) -> typer.Typer:
    """Return the app with no other verb than the one asked for: Typer builds every option of every verb, 0.1 s."""
    named = [one for one in app.registered_commands if [str(one.name or one.callback.__name__)] == verb]  # type: ignore[union-attr]
    if not named:
        return app
    small = copy.copy(app)
    small.registered_commands = named
    return small


def main() -> NoReturn:
    """Run the command line: errors become one line and an exit code, Ctrl-C becomes 130."""
    from housetrain.errors import HousetrainError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are not for the user
    try:
        words = sys.argv[1:]
        if words[:1] == ["predict"] and len(words) > 2 and not any(word.startswith("-") for word in words):
            # Nothing to convert: Typer would import pydantic for it, which takes longer than the model to answer.
            cli_deploy.predict(Path(words[1]), words[2:])
        else:
            _asked_for(words[:1])(standalone_mode=True)
    except typer.Exit as left:
        sys.exit(left.exit_code)
    except HousetrainError as error:
        from housetrain.terminal import fail

        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        from housetrain.terminal import fail

        fail("Interrupted. Everything finished so far is kept: the same command goes on from there.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) left; not an error
        sys.exit(0)
    sys.exit(0)
