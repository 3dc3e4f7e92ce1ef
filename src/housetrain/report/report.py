"""The report of a run: one HTML file with its data, training, test result and limits.

In: a run folder, and where they are available the catalog, the findings and the evaluation. Out: ``RUN/report.html``,
self-contained: it loads nothing, and it reads well without its script, on a phone, in dark mode and on paper. The
catalog's summary and the findings are kept in ``RUN/data.json`` and ``RUN/findings.csv``, so that the report can be
written again later. It does not know how anything was computed; the page itself is in ``templates/``, one file per
section.

    housetrain report RUN
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import CorruptError, HousetrainError, IncompleteError
from housetrain.evaluation.elsewhere import Elsewhere
from housetrain.evaluation.evaluate import FOLDER
from housetrain.evaluation.evaluate_on import FOLDER as EVALUATIONS
from housetrain.evaluation.evaluation import Evaluation
from housetrain.models.layers import total
from housetrain.models.saved_layers import read_layers
from housetrain.report import explain_page, sweep_report
from housetrain.report.data_section import Facts, data_section
from housetrain.report.limits import limits
from housetrain.report.page import title_of, write_page
from housetrain.report.plots import bars, calibration, confusion, coverage, curves, diagram
from housetrain.report.provenance import provenance, usage
from housetrain.report.thumbnails import Album
from housetrain.system import json_types, store
from housetrain.system.files import refuse_links
from housetrain.training.cross_validation import describe, kept
from housetrain.training.overfitting import overfitting
from housetrain.training.run import STAGES_FILE, Run
from housetrain.training.run_data import prepared_of
from housetrain.training.run_types import Stages

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.prepare import Prepared

NAME = "report.html"
DATA = "data.json"
FINDINGS = "findings.csv"
MISTAKES_SHOWN = 24


def write_report(
    run: Run | Path | str,
    *,
    catalog: Catalog | None = None,
    findings: Sequence[Finding] | None = None,
    evaluation: Evaluation | None = None,
) -> Path:
    """Write ``RUN/report.html``, replacing the old one in one step.

    The page states what is missing: a test, findings, even a finished training. The result of a test on another folder
    has a page of its own, ``RUN/evaluations/on-NAME/report.html``.

    Args:
        run: The run, or its folder; it need not be finished.
        catalog: The catalog of its images; by default what an earlier report kept of it.
        findings: What `housetrain.data.checks.check` found; by default what an earlier report kept.
        evaluation: The test result; by default the run's own, if it belongs to the current model.

    Returns:
        The path of the report.

    Raises:
        CorruptError: The run holds links, which could lead elsewhere what is written.
        DiskFull: It cannot be written; an earlier report is intact.
    """
    run = Run.open(run) if isinstance(run, Path | str) else run
    refuse_links(run.folder)
    if evaluation is not None and evaluation.elsewhere is not None:
        page = _write_elsewhere(run, evaluation, evaluation.elsewhere)
        write_report(run)  # it links the page
        return page
    facts = _kept_facts(run, catalog, findings)
    if evaluation is None:
        evaluation = _evaluation_of(run)
    return write_page(run.folder / NAME, "report.html.j2", _context(run, facts, evaluation))


def _write_elsewhere(run: Run, evaluation: Evaluation, about: Elsewhere) -> Path:
    album = Album(Path(about.folder), run.spec)
    context = {
        "run": run,
        "title": title_of(evaluation.classes),
        "classes": evaluation.classes,
        "evaluation": evaluation,
        "crossed": None,  # that is about the run's own split
        "elsewhere": [],
        "test": _test_section(evaluation, album),
    }
    return write_page(run.folder / EVALUATIONS / about.name / NAME, "elsewhere.html.j2", context)


def _kept_facts(run: Run, catalog: Catalog | None, findings: Sequence[Finding] | None) -> dict[str, Any]:
    """Keep what is needed of the catalog and the findings; return it, or what was kept before."""
    path = run.folder / DATA
    try:
        facts = dict(json_types.must_fit(store.read_json(path), Facts, path))
    except (IncompleteError, CorruptError):
        facts = {}
    if catalog is not None:
        facts["catalog"] = _facts_of(catalog)
    if findings is not None:
        from housetrain.data.findings import write_findings

        facts["findings"] = [asdict(finding) for finding in findings]
        with store.disk_errors(run.folder / FINDINGS):
            write_findings(findings, run.folder / FINDINGS)
    if catalog is not None or findings is not None:
        store.write_json_atomic(path, facts)
    return facts


def _facts_of(catalog: Catalog) -> dict[str, Any]:
    usable = catalog.usable
    areas = sorted(usable, key=lambda image: image.header.width * image.header.height)
    sizes = [areas[0], areas[len(areas) // 2], areas[-1]] if areas else []
    return {
        "images": len(catalog.images),
        "usable": len(usable),
        "bytes": sum(image.stamp.bytes for image in catalog.images),
        "formats": dict(Counter(image.header.format for image in usable).most_common()),
        "sizes": [[image.header.width, image.header.height] for image in sizes],
        "ignored": dict(catalog.ignored),
        "empty_classes": list(catalog.empty_classes),
        "ready_made": catalog.ready_made,
        "root": str(catalog.root),
    }


def _evaluation_of(run: Run) -> Evaluation | None:
    try:
        kept = Evaluation.load(run.folder / FOLDER)
        return kept if kept.opening and kept.opening.model_sha256 == run.model_sha256 else None
    except (IncompleteError, CorruptError):
        return None


def _prepared_or_none(run: Run) -> Prepared | None:
    try:
        return prepared_of(run)
    except HousetrainError:
        return None  # the arrays may be deleted; the images then come from their folder


def _context(run: Run, facts: Mapping[str, Any], evaluation: Evaluation | None) -> dict[str, Any]:
    split, history = run.split, run.history
    album = Album(split.root, run.spec, prepared=_prepared_or_none(run))
    kinds = Counter(str(finding["kind"]) for finding in facts.get("findings", []))
    return {
        "run": run,
        "title": title_of(run.classes),
        "classes": run.classes,
        "evaluation": evaluation,
        "result": run.result or {},
        "no_test": "" if split.of("test") else NO_TEST,
        "state": run.state,
        "limits": limits(evaluation, split.counts(), findings=kinds, left_out=len(split.left_out), history=history),
        "test": _test_section(evaluation, album) if evaluation else None,
        "data": data_section(run, facts, album),
        "training": _training_section(run, history),
        "model": _model_section(run),
        "use": usage(run, evaluation),
        "provenance": provenance(run, evaluation),
        "sweep": sweep_report.section_of(run),
        "stages": _stages_section(run),
        "elsewhere": _elsewhere_section(run),
        "crossed": describe(crossed) if (crossed := kept(run)) else None,
        "explain": explain_page.section_of(run),
    }


def _elsewhere_section(run: Run) -> list[tuple[str, Evaluation]]:
    """Return the page, relative to the run, and the result of each test on another folder."""
    found = []
    for page in sorted((run.folder / EVALUATIONS).glob(f"on-*/{NAME}")):
        with contextlib.suppress(IncompleteError, CorruptError):
            found.append((page.relative_to(run.folder).as_posix(), Evaluation.load(page.parent)))
    return [(page, evaluation) for page, evaluation in found if evaluation.elsewhere is not None]


def _stages_section(run: Run) -> list[dict[str, Any]] | None:
    """Return what each way of training gave, where the run was selected among several."""
    try:
        path = run.folder / STAGES_FILE
        return list(json_types.must_fit(store.read_json(path), Stages, path)["rows"])
    except (IncompleteError, CorruptError):
        return None


def _test_section(evaluation: Evaluation, album: Album) -> dict[str, Any]:
    matrix = confusion.confusion_table(evaluation.classes, evaluation.confusion)
    reliability = calibration.reliability_table(evaluation.bins, classes=len(evaluation.classes))
    scores = bars.score_table(evaluation.per_class)
    covered = coverage.coverage_table(evaluation.rows, evaluation.decision)
    return {
        "confusion": confusion.draw_confusion(matrix),
        "confusion_legend": confusion.LEGEND,
        "confusion_text": confusion.describe_confusion(matrix),
        "pairs": matrix.pairs[:10],
        "more_pairs": max(0, len(matrix.pairs) - 10),
        "hidden_classes": matrix.left_out,
        "reliability": calibration.draw_reliability(reliability),
        "reliability_text": calibration.describe_calibration(
            reliability,
            evaluation.calibration,
            before=evaluation.calibration_before,
            temperature=evaluation.decision.temperature,
        ),
        "coverage": coverage.draw_coverage(covered, evaluation.decision),
        "coverage_text": coverage.describe_coverage(covered, evaluation.decision),
        "confidence": calibration.draw_confidence(
            calibration.confidence_table(evaluation.rows, classes=len(evaluation.classes))
        ),
        "scores": bars.draw_scores(scores) if len(scores) > 2 else None,
        "mistakes": [
            {"row": row, "thumbnail": album.thumbnail(row.path, row.sha256)}
            for row in evaluation.mistakes[:MISTAKES_SHOWN]
        ],
    }


def _training_section(run: Run, history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not history:
        return None
    result = run.result or {}
    best = result.get("best_epoch", result.get("best_step"))
    table = curves.curve_table(history, best=best, overfitting=overfitting(history))
    return {
        "text": curves.describe_training(table, history),
        "curves": table,
        "legend": (*curves.LEGEND, *([("overfit", "overfitting")] if table.overfitting else [])),
        "loss": curves.draw_curves(table, "loss"),
        "accuracy": curves.draw_curves(table, "accuracy"),
        "history": history,
        "failure": run.failure,
    }


def _model_bytes(run: Run) -> int | None:
    files = [run.folder / name for name in ("model.keras", "model.xml", "model.bin")]
    return sum(file.stat().st_size for file in files if file.is_file()) or None


def _model_section(run: Run) -> dict[str, Any]:
    from housetrain.models.recipe import Recipe

    layers = read_layers(run.folder / "model.keras")
    slabs = diagram.slab_table(layers)
    try:
        recipe = Recipe.from_json(run.recipe_json)
        name, differences = recipe.name, set(recipe.differences)
    except HousetrainError:  # written by another version
        name, differences = str(run.recipe_json.get("model", "model")), set()
    return {
        "name": name,
        "layers": layers,
        "diagram": diagram.draw_model(slabs, run.classes) if len(slabs) > 1 else None,
        "parameters": (run.result or {}).get("parameters") or total([layer.parameters for layer in layers]),
        "recipe": run.recipe_json,
        "differences": differences,
        "bytes": _model_bytes(run),
    }
