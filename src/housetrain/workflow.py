"""The main job: from a folder of class folders to a report and a usable bundle, in one call.

In: a folder and a `Recipe`. Out: an `Outcome` that names everything written. Each stage restarts from what it left
on disk, so the same call resumes after a kill and is nearly free once everything is done. It does not know who follows
the work: callbacks receive its events.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from housetrain.system.events import Callback, Callbacks

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.label_source import LabelOptions
    from housetrain.data.prepare import Prepared
    from housetrain.data.split import SplitOptions
    from housetrain.data.split_manifest import SplitManifest
    from housetrain.evaluation.evaluate import Evaluation
    from housetrain.models.recipe import Recipe
    from housetrain.sweeps.grid import Grid
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.sweeps.plan import Plan
    from housetrain.training.run import Run


@dataclass(frozen=True)
class Outcome:
    """Everything one main job left behind."""

    catalog: Catalog
    findings: tuple[Finding, ...]
    prepared: Prepared
    run: Run
    evaluation: Evaluation
    report: Path
    bundle: Path
    leaderboard: Leaderboard | None = None

    def to_json(self) -> dict[str, Any]:
        """Return where things are and the test result, JSON-plain."""
        return {
            "run": str(self.run.folder),
            "report": str(self.report),
            "bundle": str(self.bundle),
            "prepared": str(self.prepared.folder),
            "findings": len(self.findings),
            "left_out": len(self.prepared.split.left_out),
            "result": self.run.result,
            "leaderboard": self.leaderboard.to_json() if self.leaderboard else None,
            "evaluation": {key: value for key, value in self.evaluation.to_json().items() if key != "rows"},
        }


def run(
    folder: Path | str,
    output: Path | str | None = None,
    *,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    sweep: Plan | Grid | Mapping[str, Recipe] | Sequence[Recipe] | None = None,
    prepared: Path | str | None = None,
    seed: int = 0,
    validation_split: float = 0.15,
    test_split: float = 0.15,
    test_per_class: int | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    **label_options: Unpack[LabelOptions],
) -> Outcome:
    """Check, split, prepare, train, evaluate, report and bundle. Call it again to resume.

    Args:
        folder: Class folders of images: ``folder/<class>/**/image``. Only read.
        output: The run folder; by default the first of ``runs/<name>``, ``runs/<name>-2``, ... that is free or holds
            this very run.
        recipe: What to train; by default `choose` picks a preset by the images. Its size, color and balance decide how
            images are prepared; see `suited` for what it leaves open.
        settings: Recipe fields that replace those of the chosen preset; only without ``recipe``.
        sweep: Train these recipes, such as ``Grid()``, and continue with the one of the lowest validation loss;
            ``output`` is then the sweep folder. See `housetrain.sweep`.
        prepared: Where the arrays are kept; by default a folder in ``prepared/`` named after its settings.
        seed: Seed of the split, any integer. The recipe has a seed of its own for training.
        validation_split: Share of the images for validation, in (0, 1).
        test_split: Share of the images set aside for the one test, in (0, 1).
        test_per_class: Set aside exactly this many test images of each class instead.
        workers: Processes that read images; all cores by default.
        callbacks: Follow the stages, such as `housetrain.ProgressBar`.
        **label_options: Where the labels come from, if not from class folders: see `housetrain.scan`.

    Returns:
        The `Outcome`.

    Raises:
        FolderError: The folder cannot be used; nothing was written.
        HousetrainError: Any other error of the tree in `housetrain.errors`.
    """
    from housetrain.data.output import refuse_inside
    from housetrain.data.prepare import default_prepared_folder, prepare
    from housetrain.errors import RecipeError
    from housetrain.evaluation.evaluate import evaluate
    from housetrain.exports.bundle import export
    from housetrain.models.choose import candidates, choose, spec_of, suited
    from housetrain.models.nets import check_feasible
    from housetrain.report.report import write_report
    from housetrain.report.sweep_report import write_leaderboard
    from housetrain.sweeps.driver import sweep as train_all
    from housetrain.sweeps.plan import Plan, plan
    from housetrain.training.train import train

    if sweep is not None and not isinstance(sweep, Plan):
        sweep = plan(sweep)
    told = Callbacks(callbacks)
    if settings and (recipe or sweep):
        raise RecipeError(
            "Settings replace those of the preset that is chosen by the images", do="put them in the recipe"
        )
    presets = {} if recipe or sweep else candidates(settings or {})
    recipe = first_recipe(sweep) if sweep else recipe or next(iter(presets.values()))
    source = Path(folder)
    for target in (output, prepared):
        if target is not None:
            refuse_inside(source, Path(target))
    if sweep is None:
        check_feasible(recipe, spec_of(recipe))  # before the images are read
    catalog, findings, manifest = look(
        source, seed=seed, validation_split=validation_split, test_split=test_split, test_per_class=test_per_class,
        balance=recipe.balance, workers=workers, callbacks=callbacks, label_options=label_options,
    )  # fmt: skip
    if sweep is None:
        if presets:
            recipe, why = choose(presets, catalog)
            told.note(f"Model {recipe.model}: {why}")
        recipe = suited(recipe, catalog)
    spec = spec_of(recipe)
    arrays_folder = Path(prepared) if prepared else default_prepared_folder(manifest.root, spec, manifest)
    arrays = prepare(manifest, arrays_folder, spec=spec, workers=workers, callbacks=callbacks)
    told.note(
        f"Prepared {counts_in_words(arrays.split)} as {spec.height}x{spec.width} {spec.color_mode} in {arrays.folder}"
    )
    board = None
    if sweep is None:
        run_folder = Path(output) if output else free_run_folder(manifest.root, arrays, recipe)
        trained = train(arrays, recipe, run_folder, callbacks=callbacks)
    else:
        board = train_all(arrays, sweep, output, workers=workers, callbacks=callbacks)
        write_leaderboard(board)
        trained = board.best_run
        told.note(f"Chosen by validation loss, to be tested once: {board.best.name}")
    evaluation = evaluate(trained, prepared=arrays, callbacks=callbacks)
    bundle = export(trained).folder
    report = write_report(trained, catalog=catalog, findings=findings, evaluation=evaluation)
    return Outcome(catalog, findings, arrays, trained, evaluation, report, bundle, board)


def finetune(
    source: Run | Path | str,
    output: Path | str | None = None,
    *,
    layers: int = 30,
    prepared: Prepared | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Train the last layers of a transfer run's net as well, with tiny steps, into a run of its own.

    Batch norm stays in inference mode: its statistics and scales are those of the many images it was trained on.

    Args:
        source: A complete run of a pretrained model.
        output: The new run folder; ``<run>-finetuned`` by default.
        layers: How many of the net's last layers are trained, as `keras.Model.layers` counts them.
        prepared: The images; by default those that the run remembers.
        callbacks: Follow the training, such as `housetrain.ProgressBar`.
        **settings: Recipe fields that differ: by default 5 epochs of Adam at a learning rate of 1e-5.

    Returns:
        The new complete run; its ``model.keras`` is that of the best epoch by validation loss.

    Raises:
        IncompleteError: The run is not finished, or its images are gone.
        RecipeError: Its model is not a pretrained one, or the settings cannot be trained.
    """
    from housetrain.errors import IncompleteError, RecipeError
    from housetrain.evaluation.evaluate import prepared_of
    from housetrain.models.recipe import Recipe as RecipeType
    from housetrain.training.run import Run as RunType
    from housetrain.training.train import train

    run = source if isinstance(source, RunType) else RunType.open(Path(source))
    recipe = RecipeType.from_json(run.recipe_json)
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
    defaults = RecipeType.of(recipe.model)
    tuned = recipe.but(
        **{
            "weights": str(run.model_path.absolute()),
            "unfreeze": layers,
            "head": defaults.head,
            "views": 0,
            "epochs": 5,
            "optimizer": "adam",
            "learning_rate": 1e-5,
            "schedule": "constant",
            "warmup_epochs": 0.0,
            "weight_decay": 0.0,
        }
        | settings
    )
    folder = Path(output) if output is not None else run.folder.with_name(f"{run.name}-finetuned")
    return train(prepared or prepared_of(run), tuned, folder, callbacks=callbacks)


def first_recipe(sweep: Plan) -> Recipe:
    """Return the recipe whose size, color and balance decide how the images of a sweep are prepared.

    Raises:
        RecipeError: The recipes of the sweep do not agree about them.
    """
    from housetrain.errors import RecipeError
    from housetrain.models.recipe import Recipe as RecipeType

    recipes = list(sweep.recipes.values()) or [RecipeType.of(**sweep.fixed)]
    wanted = {json.dumps([recipe.prepare_options, recipe.balance]) for recipe in recipes}
    if len(wanted) > 1:
        raise RecipeError(
            "The recipes of a sweep need the same images", expected="one size, color, resize and balance for all"
        )
    return recipes[0]


def look(
    folder: Path,
    *,
    workers: int | None,
    callbacks: Sequence[Callback] = (),
    label_options: LabelOptions,
    **options: Unpack[SplitOptions],
) -> tuple[Catalog, tuple[Finding, ...], SplitManifest]:
    """Scan, check and split a folder, and report what was found."""
    from housetrain.data.catalog import scan
    from housetrain.data.checks import check
    from housetrain.data.split import split

    told = Callbacks(callbacks)
    catalog = scan(folder, workers=workers, callbacks=callbacks, **label_options)
    findings = check(catalog)
    manifest = split(catalog, findings=findings, **options)
    told.note(f"Read {len(catalog.images):,} images of {len(catalog.classes)} classes in {folder}")
    if findings:
        told.note(f"Found {len(findings)} things worth a look; left out, with reasons: {len(manifest.left_out)} images")
    return catalog, findings, manifest


def counts_in_words(manifest: SplitManifest) -> str:
    """Return for instance ``5,600 train (cats 2,801, dogs 2,799), 1,200 validation (...), 1,200 test (...)``."""
    parts = []
    for name, per_class in manifest.counts().items():
        listed = ", ".join(f"{label} {count:,}" for label, count in list(per_class.items())[:12])
        more = ", ..." if len(per_class) > 12 else ""
        parts.append(f"{sum(per_class.values()):,} {name} ({listed}{more})")
    return ", ".join(parts)


def free_run_folder(source: Path, prepared: Prepared, recipe: Recipe) -> Path:
    """Return the folder of the run of this recipe and these images if there is one, else a free ``runs/<name>[-N]``."""
    from housetrain.training.run import Run

    name = Path(os.path.realpath(source)).name or "images"
    number = 1
    while True:
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or not any(folder.iterdir()) or Run(folder).matches(recipe, prepared):
            return folder
        number += 1
