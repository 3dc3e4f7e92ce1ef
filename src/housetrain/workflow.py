"""The whole workflow: from class folders of images to a report and a bundle, in one call.

In: a folder and a `Recipe`. Out: an `Outcome` that names everything written. Each stage resumes from
its files, so the same call continues after a kill, and takes almost no time once everything is done.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack

from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe
from housetrain.system.events import Callback, Callbacks
from housetrain.system.text import file_name, format_count
from housetrain.training.run import STAGES_FILE, Run

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.groups import Groups
    from housetrain.data.label_source import LabelOptions
    from housetrain.data.prepare import Prepared
    from housetrain.data.split import SplitOptions
    from housetrain.data.split_groups import Keep
    from housetrain.data.split_manifest import SplitManifest
    from housetrain.evaluation.evaluate import Evaluation
    from housetrain.images.input_spec import InputSpec
    from housetrain.models.choose import Ways
    from housetrain.sweeps.executors import Executor
    from housetrain.sweeps.grid import Grid
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.sweeps.plan import Plan
    from housetrain.training.ladder import Selected, StageRow


@dataclass(frozen=True)
class Outcome:
    """Everything that `run` made; ``evaluation`` is ``None`` where no test split was set aside."""

    catalog: Catalog
    findings: tuple[Finding, ...]
    prepared: Prepared
    run: Run
    evaluation: Evaluation | None
    report: Path
    bundle: Path
    leaderboard: Leaderboard | None = None
    stages: tuple[StageRow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the paths and the test result, JSON-plain."""
        return {
            "run": str(self.run.folder),
            "report": str(self.report),
            "bundle": str(self.bundle),
            "prepared": str(self.prepared.folder),
            "findings": len(self.findings),
            "left_out": len(self.prepared.split.left_out),
            "result": self.run.result,
            "stages": [asdict(row) for row in self.stages],
            "leaderboard": self.leaderboard.to_json() if self.leaderboard else None,
            "evaluation": {key: value for key, value in self.evaluation.to_json().items() if key != "rows"}
            if self.evaluation
            else None,
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
    keep_duplicates_together: Keep = "near",
    classes: Sequence[str] | None = None,
    groups: Groups | None = None,
    workers: int | None = None,
    executor: Executor | Literal["processes", "in-process", "ray"] = "processes",
    folds: int | None = None,
    callbacks: Sequence[Callback] = (),
    **label_options: Unpack[LabelOptions],
) -> Outcome:
    """Check, split, prepare, train, evaluate, report and bundle. Call it again to resume.

    Args:
        folder: Class folders of images: ``folder/<class>/**/image``. Only read.
        output: The run folder; by default the first of ``runs/<name>[-<model>[-N]]`` that is free or holds this run.
        recipe: What to train; by default what suits the images, by validation loss: pretrained features, training from
            scratch, or both where in doubt; with ``time_limit_s`` in the settings also fine-tuning.
        settings: Recipe fields that replace those of the chosen preset; only without ``recipe``.
        sweep: Train these recipes (see `housetrain.sweep`) into ``output``; continue with the best by validation.
        prepared: Where the arrays are kept; by default a folder in ``prepared/``.
        seed: Seed of the split, any integer; the recipe has its own.
        validation_split: Share of the images for validation, in (0, 1).
        test_split: Share of the images set aside for the test, in [0, 1); 0: validation only.
        test_per_class: Set aside exactly this many test images of each class instead.
        keep_duplicates_together: See `housetrain.split`.
        classes: See `housetrain.split`.
        groups: Which images belong together: ``"parent"``, a regular expression, ... See `housetrain.split`.
        workers: Processes that read images; all cores by default.
        executor: With ``sweep``: where trials run. See `housetrain.sweep`.
        folds: Also train the chosen recipe once for each of so many folds: see `housetrain.cross_validate`.
        callbacks: Follow the stages.
        **label_options: Where the labels come from, if not from class folders: see `housetrain.scan`.

    Raises:
        HousetrainError: Such as `FolderError`, where the folder cannot be used; nothing was written then.
    """
    _refuse_inside(Path(folder), output, prepared)
    request = _Request.of(recipe, settings, sweep)
    catalog, findings, manifest = look(
        Path(folder), seed=seed, validation_split=validation_split, test_split=test_split, classes=classes,
        test_per_class=test_per_class, keep_duplicates_together=keep_duplicates_together, callbacks=callbacks,
        groups=groups, balance=request.recipe.balance, workers=workers, prepared=prepared, label_options=label_options,
    )  # fmt: skip
    if not isinstance(chosen := request.suited(catalog, _noted(manifest, callbacks)), Recipe):
        best = _selected(manifest, chosen, output, prepared, workers=workers, callbacks=callbacks)
        return replace(_finished(best.run, None, best.prepared, catalog, findings, folds, callbacks), stages=best.rows)
    arrays = _prepared(manifest, chosen, prepared, workers=workers, callbacks=callbacks)
    done = _trained(arrays, chosen, request.plan, manifest, output, workers, executor, callbacks)
    return _finished(*done, arrays, catalog, findings, folds, callbacks)


def _refuse_inside(images: Path, *targets: Path | str | None) -> None:
    from housetrain.data.output import refuse_inside

    for target in targets:
        if target is not None:
            refuse_inside(images, Path(target))


def _noted(manifest: SplitManifest, callbacks: Sequence[Callback]) -> Callbacks:
    """Report the sizes of the classes that were split; return the callbacks for what comes next."""
    from housetrain.data.split_counts import class_sizes

    events = Callbacks(callbacks)
    events.note(f"Classes: {class_sizes(manifest)}")
    return events


class _Request(NamedTuple):
    """What to train, before the images are known.

    Attributes:
        recipe: Decides how images are prepared, unless another preset suits them better.
        presets: The presets to choose from; empty where the recipe is given.
        plan: The sweep, if there is one.
    """

    recipe: Recipe
    presets: Mapping[str, Recipe]
    plan: Plan | None

    @classmethod
    def of(
        cls,
        recipe: Recipe | None,
        settings: Mapping[str, Any] | None,
        sweep: Plan | Grid | Mapping[str, Recipe] | Sequence[Recipe] | None,
    ) -> _Request:
        """Return the checked request.

        Raises:
            RecipeError: The settings contradict each other, or the recipe does not fit its image size.
        """
        from housetrain.models.choose import candidates, spec_of
        from housetrain.models.nets import check_feasible
        from housetrain.sweeps.plan import Plan, plan

        if settings and (recipe or sweep is not None):
            raise RecipeError(
                "Settings replace those of the preset that is chosen by the images", do="put them in the recipe"
            )
        if sweep is not None:
            planned = sweep if isinstance(sweep, Plan) else plan(sweep)
            return cls(first_recipe(planned), {}, planned)
        presets = {} if recipe else candidates(settings or {})
        chosen = recipe or next(iter(presets.values()))
        check_feasible(chosen, spec_of(chosen))
        return cls(chosen, presets, None)

    def suited(self, catalog: Catalog, events: Callbacks) -> Recipe | Ways:
        """Return the recipe with what it leaves open set by the images; or all ways, where the images choose."""
        from housetrain.models.choose import suited, ways_of

        if self.plan is not None:
            return self.recipe
        if not self.presets:
            return suited(self.recipe, catalog)
        chosen, why = ways_of(self.presets, catalog)
        events.note(f"Model {why}")
        return chosen


def _selected(
    manifest: SplitManifest,
    ways: Ways,
    output: Path | str | None,
    folder: Path | str | None,
    *,
    workers: int | None,
    callbacks: Sequence[Callback],
) -> Selected:
    """Train in stages, and return the run with the lowest validation loss."""
    from housetrain.models.choose import spec_of
    from housetrain.system.machine import cores
    from housetrain.training.auto_stages import advice, stages_of
    from housetrain.training.ladder import climb, holds

    request = {"first": ways.recipe.to_json(), "data": manifest.fingerprint, "time_limit_s": ways.time_limit_s}
    arrays: dict[InputSpec, Prepared] = {}

    def prepare(recipe: Recipe) -> Prepared:
        spec = spec_of(recipe)
        if spec not in arrays:
            target = None if folder is None else Path(folder)
            if target is not None and spec != spec_of(ways.recipe):
                target = target.with_name(f"{target.name}-{spec.height}x{spec.width}-{spec.color_mode}")
            arrays[spec] = _prepared(manifest, recipe, target, workers=workers, callbacks=callbacks)
        return arrays[spec]

    images = sum(manifest.counts()["train"].values())
    stages = stages_of(ways, images=images, cores=cores())
    target = Path(output) if output else _free_folder(manifest.root, "auto", lambda found: holds(found, request))
    best = climb(
        target, stages, prepare, first=ways.recipe, request=request, time_limit_s=ways.time_limit_s, callbacks=callbacks
    )
    if more := advice(best.rows, ways, images, cores()):
        Callbacks(callbacks).note(more)
    return best


def _prepared(
    manifest: SplitManifest,
    recipe: Recipe,
    folder: Path | str | None,
    *,
    workers: int | None,
    callbacks: Sequence[Callback],
) -> Prepared:
    from housetrain.data.prepare import default_prepared_folder, prepare
    from housetrain.data.split_counts import split_sizes
    from housetrain.models.choose import spec_of

    spec = spec_of(recipe)
    target = Path(folder) if folder else default_prepared_folder(manifest.root, spec, manifest)
    arrays = prepare(manifest, target, spec=spec, workers=workers, callbacks=callbacks)
    Callbacks(callbacks).note(
        f"Prepared {split_sizes(arrays.split)} as {spec.height}x{spec.width} {spec.color_mode} in {arrays.folder}"
    )
    return arrays


def _trained(
    arrays: Prepared,
    recipe: Recipe,
    plan: Plan | None,
    manifest: SplitManifest,
    output: Path | str | None,
    workers: int | None,
    executor: Executor | Literal["processes", "in-process", "ray"],
    callbacks: Sequence[Callback],
) -> tuple[Run, Leaderboard | None]:
    from housetrain.report.sweep_report import write_leaderboard
    from housetrain.sweeps.driver import sweep
    from housetrain.training.train import train

    if plan is None:
        folder = Path(output) if output else free_run_folder(manifest.root, arrays, recipe)
        return train(arrays, recipe, folder, callbacks=callbacks), None
    board = sweep(arrays, plan, output, workers=workers, executor=executor, callbacks=callbacks)
    write_leaderboard(board)
    Callbacks(callbacks).note(f"Chosen by validation loss, to be tested once: {board.best.name}")
    return board.best_run, board


def _finished(
    run: Run,
    board: Leaderboard | None,
    arrays: Prepared,
    catalog: Catalog,
    findings: tuple[Finding, ...],
    folds: int | None,
    callbacks: Sequence[Callback],
) -> Outcome:
    from housetrain.evaluation.evaluate import evaluate
    from housetrain.exports.about import is_current
    from housetrain.exports.bundle import export
    from housetrain.report.report import write_report
    from housetrain.training.folds import cross_validate, possible_folds

    if folds := possible_folds(run, folds, callbacks):
        cross_validate(run, folds=folds, prepared=arrays, callbacks=callbacks)
    evaluation = evaluate(run, prepared=arrays, callbacks=callbacks) if len(arrays.test) else None
    bundle = run.folder / "bundle"
    if not is_current(bundle, run):
        export(run, callbacks=callbacks)
    report = write_report(run, catalog=catalog, findings=findings, evaluation=evaluation)
    return Outcome(catalog, findings, arrays, run, evaluation, report, bundle, board)


def first_recipe(sweep: Plan) -> Recipe:
    """Return the recipe whose size, color and balance decide how the images of a sweep are prepared.

    Raises:
        RecipeError: The recipes of the sweep do not agree about them.
    """
    recipes = list(sweep.recipes.values()) or [Recipe.of(**sweep.fixed)]
    wanted = {json.dumps([recipe.prepare_options, recipe.balance]) for recipe in recipes}
    if len(wanted) > 1:
        raise RecipeError(
            "The recipes of a sweep need the same images", expected="one size, color, resize and balance for all"
        )
    return recipes[0]


def free_run_folder(source: Path, prepared: Prepared, recipe: Recipe) -> Path:
    """Return the folder of the run of this recipe and these images, else of one that it continues, else a free one.

    The candidates are ``runs/<images>``, ``runs/<images>-<model>``, ``runs/<images>-<model>-2`` and so on.
    """
    from housetrain.training.longer import continues

    def matches(folder: Path) -> bool:
        return not (folder / STAGES_FILE).exists() and Run(folder).matches(recipe, prepared)

    def shorter(folder: Path) -> bool:
        return not (folder / STAGES_FILE).exists() and continues(Run(folder), recipe, prepared)

    exact = _free_folder(source, recipe.model, matches)
    return exact if (exact / "recipe.json").is_file() else _free_folder(source, recipe.model, shorter)


def _free_folder(source: Path, model: str, matches: Callable[[Path], bool]) -> Path:
    images = file_name(Path(os.path.realpath(source)).name) or "images"
    numbered = (f"{images}-{model}-{number}" for number in itertools.count(2))
    folders = (Path("runs") / name for name in itertools.chain((images, f"{images}-{model}"), numbered))
    return next(one for one in folders if not one.exists() or not any(one.iterdir()) or matches(one))


def look(
    folder: Path,
    *,
    workers: int | None,
    callbacks: Sequence[Callback] = (),
    prepared: Path | str | None = None,
    label_options: LabelOptions,
    **options: Unpack[SplitOptions],
) -> tuple[Catalog, tuple[Finding, ...], SplitManifest]:
    """Scan, check and split a folder, and report what was found.

    Images that were prepared before, in ``prepared`` or in a folder of that name, keep their split.
    """
    from housetrain.data.catalog import scan
    from housetrain.data.checks import check
    from housetrain.data.earlier_split import earlier_split
    from housetrain.data.group_proposals import without_proposals
    from housetrain.data.groups import groups_of
    from housetrain.data.label_source import typed
    from housetrain.data.split import split
    from housetrain.data.split_findings import split_findings

    events = Callbacks(callbacks)
    catalog = scan(folder, workers=workers, callbacks=callbacks, **label_options)
    findings = without_proposals(check(catalog), options.get("groups"))
    named = groups_of(catalog, options.get("groups"))
    options["groups"] = named
    earlier = earlier_split(catalog, options, Path(prepared) if prepared else None)
    manifest = split(catalog, findings=findings, earlier=earlier, **options)
    about_split = split_findings(manifest)
    findings = (*findings, *about_split)
    events.note(f"Read {len(catalog.images):,} images of {len(catalog.classes)} classes in {folder}")
    if named:
        events.note(f"Groups: {named.describe(len(catalog.usable))}")
    if findings:
        events.note(
            f"{format_count(len(findings), 'finding')}; {format_count(len(manifest.left_out), 'image')} left out; "
            f"to see them: housetrain check {shlex.quote(str(folder))}{typed(label_options)}"
        )
    for finding in about_split:
        events.note(f"{finding.message}. Do: {finding.do}")
    return catalog, findings, manifest
