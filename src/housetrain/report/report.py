"""One HTML file that tells a colleague everything about a run.

In: a run folder, and where they are at hand the catalog, the findings and the evaluation. Out: ``RUN/report.html``,
self-contained: no request leaves it, and it reads well without its few lines of script, on a phone, in the dark and on
paper. What the catalog and the findings say is kept in ``RUN/data.json`` and ``RUN/findings.csv``, so that the report
can be written again later. It does not know how anything was computed; the page itself is in ``templates/``, a file a
section.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import CorruptError, HousetrainError, IncompleteError, one_line
from housetrain.evaluation import text
from housetrain.evaluation.evaluate import FOLDER, prepared_of
from housetrain.evaluation.evaluation import Evaluation
from housetrain.models.layers import read_layers
from housetrain.report import explain_page
from housetrain.report.plots import bars, diagram, evaluation_plots
from housetrain.report.sweep_report import section_of
from housetrain.report.thumbnails import Album, Thumbnail
from housetrain.system import store
from housetrain.training.overfitting import overfitting

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.prepare import Prepared
    from housetrain.training.run import Run

NAME = "report.html"
DATA = "data.json"
FINDINGS = "findings.csv"
MISTAKES_SHOWN = 24
_SHOWN_PER_KIND = 12
_TEMPLATES = Path(__file__).with_name("templates")
_SEVERITIES = ("error", "warning", "note")


def write_report(
    run: Run,
    *,
    catalog: Catalog | None = None,
    findings: Sequence[Finding] | None = None,
    evaluation: Evaluation | None = None,
) -> Path:
    """Write ``RUN/report.html``, replacing the old one in one step.

    Everything that is not there yet (a test, findings, even a finished training) is left out of the page with a word.

    Args:
        run: The run; it need not be finished.
        catalog: The catalog of its images; by default what an earlier report kept of it.
        findings: What `housetrain.data.checks.check` found; by default what an earlier report kept.
        evaluation: The test result; by default the run's own, if it is of the present weights.

    Returns:
        The path of the report.

    Raises:
        DiskFull: It cannot be written; an earlier report is intact.
    """
    facts = _remember(run, catalog, findings)
    page = _render(run, facts, _evaluation_of(run) if evaluation is None else evaluation)
    store.write_bytes_atomic(run.folder / NAME, page.encode("utf-8", errors="backslashreplace"))
    return run.folder / NAME


# ------------------------------------------------------------------------------------------------- what is known
def _remember(run: Run, catalog: Catalog | None, findings: Sequence[Finding] | None) -> dict[str, Any]:
    """Keep what the catalog and the findings say; return it, or what was kept before."""
    path = run.folder / DATA
    try:
        facts = dict(store.read_json(path))
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
        return kept if kept.weights == store.file_sha256(run.model_path) else None
    except (IncompleteError, CorruptError):
        return None


def _prepared_or_none(run: Run) -> Prepared | None:
    try:
        return prepared_of(run)
    except HousetrainError:
        return None  # the arrays may be long gone; images then come from their folder


# ------------------------------------------------------------------------------------------------- the page
def _render(run: Run, facts: Mapping[str, Any], evaluation: Evaluation | None) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Names of files and classes are anybody's: control characters are made visible, then all is escaped.
        finalize=lambda value: text.shown(value) if type(value) is str else value,
    )
    environment.filters |= {
        name: getattr(text, name)
        for name in ("percent", "interval", "number", "duration", "size", "plural", "sentence")
    }
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    split = run.split
    album = Album(split.root, run.spec, prepared=_prepared_or_none(run))
    history = run.history
    kinds = Counter(str(finding["kind"]) for finding in facts.get("findings", []))
    context = {
        "run": run,
        "title": _title(run),
        "classes": run.classes,
        "written": time.strftime("%-d %B %Y"),
        "script": Markup(script),
        "script_hash": digest,
        "style": Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "evaluation": evaluation,
        "result": run.result or {},
        "state": run.state,
        "limits": text.limits(
            evaluation, split.counts(), findings=kinds, left_out=len(split.left_out), history=history
        ),
        "test": _test_section(evaluation, album) if evaluation else None,
        "data": _data_section(run, facts, album),
        "training": _training_section(run, history),
        "model": _model_section(run),
        "use": _use_section(run, evaluation),
        "made": _made_section(run, evaluation),
        "sweep": section_of(run),
        "explain": explain_page.section_of(run),
        "words": text,
    }
    return environment.get_template("report.html.j2").render(context)


def _title(run: Run) -> str:
    names = run.classes
    return f"{text.listed(names, limit=5, last='or')}?" if len(names) <= 5 else f"Which of {len(names)} classes?"


def _test_section(evaluation: Evaluation, album: Album) -> dict[str, Any]:
    confusion = evaluation_plots.confusion_table(evaluation.classes, evaluation.confusion)
    reliability = evaluation_plots.reliability_table(evaluation.bins, classes=len(evaluation.classes))
    scores = bars.score_table(evaluation.per_class)
    certainty = (
        evaluation_plots.certainty_table(evaluation.rows, classes=len(evaluation.classes)) if evaluation.rows else None
    )
    return {
        "headline": text.headline(evaluation),
        "confusion": evaluation_plots.draw_confusion(confusion),
        "confusion_words": text.confusion_in_words(confusion),
        "pairs": confusion.pairs[:10],
        "more_pairs": max(0, len(confusion.pairs) - 10),
        "hidden_classes": confusion.left_out,
        "reliability": evaluation_plots.draw_reliability(reliability),
        "reliability_words": text.calibration_in_words(reliability, evaluation.ece),
        "certainty": evaluation_plots.draw_certainty(certainty) if certainty else None,
        "scores": bars.draw_scores(scores) if len(scores) > 2 else None,
        "mistakes": [
            {"answer": answer, "thumbnail": album.thumbnail(answer.path, answer.sha256)}
            for answer in evaluation.mistakes[:MISTAKES_SHOWN]
        ],
    }


def _data_section(run: Run, facts: Mapping[str, Any], album: Album) -> dict[str, Any]:
    split = run.split
    rows = bars.counts_table(split.counts())
    per_class = next(most for classes, most in ((2, 8), (4, 4), (12, 3), (30, 2), (10**9, 1)) if len(rows) <= classes)
    samples: dict[str, list[Thumbnail]] = {row.name: [] for row in rows[:48]}
    for row in split.of("train"):
        if row.label in samples and len(samples[row.label]) < per_class:
            samples[row.label].append(album.thumbnail(row.path, row.sha256))
    reasons: dict[str, list[str]] = {}
    for gone in split.left_out:
        reasons.setdefault(gone.reason, []).append(gone.path)
    return {
        "counts": rows,
        "totals": [sum(getattr(row, name) for row in rows) for name in ("train", "validation", "test", "total")],
        "chart": bars.draw_counts(rows),
        "balance": split.options.get("balance"),
        "options": split.options,
        "spec": run.spec,
        "samples": samples,
        "reasons": sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])),
        "left_out": len(split.left_out),
        "facts": facts.get("catalog"),
        "findings": _findings(facts.get("findings", ()), album),
        "checked": "findings" in facts,
    }


def _findings(findings: Sequence[Mapping[str, Any]], album: Album) -> list[dict[str, Any]]:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        kinds.setdefault(str(finding["kind"]), []).append(finding)
    found = []
    for group in kinds.values():
        each = max(2, _SHOWN_PER_KIND // len(group))
        shown = group[:_SHOWN_PER_KIND]
        found.append(
            {
                "title": group[0]["title"],
                "severity": group[0]["severity"],
                "images": len({path for one in group for path in one["paths"]}),
                "left_out": len({path for one in group for path in one["leaves_out"]}),
                "do": group[0]["do"],
                "items": [_finding(one, album, at_most=each) for one in shown],
                "more": len(group) - len(shown),
            }
        )
    return sorted(found, key=lambda one: (_SEVERITIES.index(str(one["severity"])), str(one["title"])))


def _finding(finding: Mapping[str, Any], album: Album, *, at_most: int) -> dict[str, Any]:
    paths = finding["paths"][:at_most]
    details = [*finding.get("details", ()), *[""] * len(paths)]
    # What the checks could not read is not tried again here: a decoder that hangs once hangs twice.
    hidden = finding["kind"] == "unreadable"
    return {
        "message": finding["message"],
        "thumbnails": [
            (Thumbnail(path, None, reason=detail or "no image") if hidden else album.thumbnail(path), detail)
            for path, detail in zip(paths, details, strict=False)
        ],
        "more": len(finding["paths"]) - len(paths),
        "leaves_out": set(finding["leaves_out"]),
    }


def _training_section(run: Run, history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not history:
        return None
    result = run.result or {}
    curves = evaluation_plots.curve_table(history, best=result.get("best_epoch"), overfitting=overfitting(history))
    return {
        "words": text.training_in_words(curves, history),
        "curves": curves,
        "loss": evaluation_plots.draw_curves(curves, "loss"),
        "accuracy": evaluation_plots.draw_curves(curves, "accuracy"),
        "history": history,
        "failure": run.failure,
    }


def _model_section(run: Run) -> dict[str, Any]:
    layers = read_layers(run.folder / "model.keras")
    slabs = diagram.slab_table(layers)
    return {
        "name": _recipe_name(run),
        "layers": layers,
        "diagram": diagram.draw_model(slabs, run.classes) if len(slabs) > 1 else None,
        "parameters": (run.result or {}).get("parameters") or _parameters(layers),
        "recipe": run.recipe_json,
        "differences": _differences(run),
        "bytes": (run.folder / "model.keras").stat().st_size if (run.folder / "model.keras").is_file() else None,
    }


def _parameters(layers: Sequence[Any]) -> int | None:
    counts = [layer.parameters for layer in layers]
    return None if not counts or None in counts else sum(counts)


def _recipe_name(run: Run) -> str:
    from housetrain.models.recipe import Recipe

    try:
        return Recipe.from_json(run.recipe_json).name
    except HousetrainError:
        return str(run.recipe_json.get("model", "model"))


def _differences(run: Run) -> set[str]:
    """Return the settings that are not the preset's."""
    from housetrain.models.recipe import Recipe

    try:
        return set(Recipe.from_json(run.recipe_json).differences)
    except HousetrainError:
        return set()


def _use_section(run: Run, evaluation: Evaluation | None) -> dict[str, Any]:
    folder = _near(run.folder)
    bundle = folder / "bundle" if (run.folder / "bundle").is_dir() else folder
    example = evaluation.rows[0] if evaluation and evaluation.rows else None
    return {
        "run": shlex.quote(one_line(str(folder))),
        "bundle": shlex.quote(one_line(str(bundle))),
        "bundle_text": repr(str(bundle)),
        "label": repr(example.predicted if example else run.classes[0]),
        "probability": f"{example.probability:.2f}" if example else "0.97",
    }


def _near(folder: Path) -> Path:
    """Return the folder as one would type it: relative where it lies below here."""
    absolute = folder.resolve()
    here = Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def _made_section(run: Run, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    """Return what it takes to make the run again, as (name, value). No host name: the page is passed around."""
    result, split = run.result or {}, run.split
    try:
        env = run.env
    except (IncompleteError, CorruptError):
        env = {}
    versions = {"Python": env.get("python"), **dict(env.get("versions") or {})}
    machine = [env.get("cpu"), env.get("cores") and f"{env['cores']} cores"]
    machine += [env.get("memory_bytes") and f"{text.size(env['memory_bytes'])} of memory"]
    times = "" if evaluation is None else "once" if evaluation.opened == 1 else f"{evaluation.opened} times"
    rows: list[tuple[str, Any]] = [
        ("Command", env.get("command")),
        ("Images", split.root),
        ("Split", _options_in_words(split.options)),
        ("Seed of the training", run.recipe_json.get("seed")),
        ("Begun", env.get("started")),
        ("Training took", _training_took(result)),
        ("Test opened", evaluation and f"{times}; last on {evaluation.when.replace('T', ' ')}"),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Backend", " in ".join(str(env[key]) for key in ("backend", "precision") if env.get(key))),
        ("Machine", ", ".join(str(one) for one in machine if one)),
        ("Fingerprint of the images", run.input_json.get("data")),
        ("Fingerprint of the split", split.fingerprint),
        ("Fingerprint of the weights", evaluation and evaluation.weights),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _training_took(result: Mapping[str, Any]) -> str:
    if not result:
        return ""
    took = f"{text.duration(result.get('seconds'))}, {text.plural(int(result.get('epochs_run', 0)), 'epoch')}"
    reason = result.get("reason")
    return took if reason in (None, "all epochs") else f"{took}, ended by {reason}"


def _options_in_words(options: Mapping[str, Any]) -> str:
    """Return the split's options; those that are off are left out, a seed of 0 is not."""
    named = [
        (name.replace("_", " "), value)
        for name, value in options.items()
        if value is not None and value is not False and name != "catalog"
    ]
    return ", ".join(name if value is True else f"{name} {value}" for name, value in named)
