"""Terminal output: results as lines and tables.

In: the values of the other packages. Out: lines on standard output (results) or standard error (errors). It makes no
decisions about images or models. Colors follow NO_COLOR and whether the output is a terminal.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.cli.table import console, headings, table
from housetrain.cli.waiting import over
from housetrain.cli.wrapping import columns_of, fitted, wrapped
from housetrain.errors import one_line
from housetrain.system.text import cell_width, format_count, format_percent

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.findings import Finding
    from housetrain.data.prepared import Prepared
    from housetrain.diagnosis import Diagnosis
    from housetrain.evaluation.evaluate import Evaluation
    from housetrain.evaluation.label_export import ExportedCopy
    from housetrain.evaluation.label_issues import LabelIssues
    from housetrain.exports.parity import Parity
    from housetrain.inference.prediction import Prediction
    from housetrain.models.setting_names import Setting
    from housetrain.sweeps.compare import Comparison
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.sweeps.runs import RunRow
    from housetrain.training.run import Run

_MOST_CLASSES = 20  # named in one line
_MOST_PATHS = 3  # named of a finding
_WIDE = 100  # columns; findings in a narrower terminal are paragraphs


def loss_text(value: float | None) -> str:
    """Return a loss with four digits; empty where there is none."""
    return "" if value is None else f"{value:.4f}"


def out(text: str, *, whole: bool = False) -> None:
    """Print lines of results on standard output. Other control characters, of a name for example, are escaped.

    On a terminal a line is wrapped between words, and a tab is two spaces, unless it is ``whole``, as JSON is.
    """
    over()
    for line in text.split("\n"):
        shown = "\t".join(map(one_line, line.split("\t")))
        if not whole and (width := columns_of(sys.stdout)):
            shown = wrapped(shown.replace("\t", "  "), width)
        sys.stdout.write(f"{shown}\n")


def note(text: str) -> None:
    """Print a message on standard error."""
    over()
    console(stderr=True).print(fitted(one_line(text), sys.stderr), markup=False)


def fail(text: str) -> None:
    """Print an error as one line on standard error."""
    from rich.text import Text

    over()

    mark = "Error: "
    shown = Text(fitted(mark + one_line(text), sys.stderr))
    shown.stylize("bold red", 0, len(mark))
    console(stderr=True).print(shown)


def findings(catalog: Catalog, found: Sequence[Finding]) -> None:
    """Print the results of a check: class counts, then one row per finding."""
    counts = catalog.counts()
    listed = ", ".join(f"{label} {count:,}" for label, count in list(counts.items())[:_MOST_CLASSES])
    if len(counts) > _MOST_CLASSES:
        listed += f" and {len(counts) - _MOST_CLASSES:,} more classes"
    out(f"{format_count(len(catalog.images), 'image')}, {sum(counts.values()):,} usable: {listed}")
    if catalog.ignored:
        out("Ignored: " + ", ".join(f"{count} {name}" for name, count in catalog.ignored.items()))
    if not found:
        out("No problems found.")
        return
    if (width := columns_of(sys.stdout)) and width < _WIDE:
        for finding in found:
            _finding(finding)
        return
    rows = []
    for finding in found:
        shown = _examples(finding)
        rows.append((finding.severity, finding.kind, finding.message, shown, len(finding.leaves_out) or "", finding.do))
    columns = ("severity", "kind", "what", "where", "left out", "do")
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    table("", [columns[index] for index in used], [[row[index] for index in used] for row in rows], right=("left out",))


def _examples(finding: Finding) -> str:
    """Return the first paths of a finding, and how many more there are."""
    more = f" and {len(finding.paths) - _MOST_PATHS:,} more" if len(finding.paths) > _MOST_PATHS else ""
    return ", ".join(finding.paths[:_MOST_PATHS]) + more


def _finding(finding: Finding) -> None:
    """Print a finding as a paragraph, for a terminal on which the columns of a table would be too narrow to read."""
    out(f"{finding.severity}: {finding.message} ({finding.kind})")
    if finding.paths:
        left_out = f" ({len(finding.leaves_out):,} left out)" if finding.leaves_out else ""
        out(f"  Where  {_examples(finding)}{left_out}")
    if finding.do:
        out(f"  Do     {finding.do}")


def prepared(found: Prepared) -> None:
    """Print the size of each split, and where the arrays are."""
    from housetrain.data.split_counts import class_sizes, sizes_of_each, split_sizes

    label, width = "Images   ", columns_of(sys.stdout)
    each = sizes_of_each(found.split)
    if each and (width is None or cell_width(label + each) <= width):
        out(f"{label}{each}")
    else:
        out(f"{label}{split_sizes(found.split)}")
        out(f"Classes  {class_sizes(found.split)}")
    out(f"Balance  {found.balance}")
    out(f"Arrays   {found.folder}")
    out(f"Next     housetrain train {quoted(found.folder)} --model cnn")


def finetuned(before: Run, after: Run) -> None:
    """Print the validation loss before and after fine-tuning, and which of the two runs to test."""
    old, new = ((run.result or {}).get("val_loss", float("nan")) for run in (before, after))
    better = new < old
    out(f"Run      {after.folder}")
    out(f"         val_loss {old:.4f} before, {new:.4f} after{'' if better else ': the original run is better'}")
    out(f"Next     housetrain evaluate {quoted((after if better else before).folder)}")


def print_run(run: Run) -> None:
    """Print a run as JSON: its folder, result and history."""
    from housetrain.training.cross_validation import kept

    value = {"run": str(run.folder), "result": run.result, "history": run.history}
    print_json(value | ({"cross_validation": crossed} if (crossed := kept(run)) else {}))


def evaluation(result: Evaluation) -> None:
    """Print a test result: a summary, then one row per class."""
    out(result.summary())
    for remark in result.elsewhere.remarks() if result.elsewhere else ():
        out(f"{remark}.")
    shown = list(result.per_class.items())
    if len(shown) > _MOST_CLASSES:
        known = [item for item in shown if item[1].support]
        shown = sorted(known, key=lambda item: item[1].f1 or 0.0)[:_MOST_CLASSES]
        out(
            f"{len(result.classes):,} classes, mean recall {format_percent(result.macro_recall)}; the {len(shown)} "
            "with the lowest F1 (all are in the report):"
        )
    rows = [
        (name, *(_score(value) for value in (scores.precision, scores.recall, scores.f1)), f"{scores.support:,}")
        for name, scores in shown
    ]
    columns = ("class", "precision", "recall", "F1", "images")
    table("", columns, rows, right=columns[1:])


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def leaderboard(board: Leaderboard, sort: str = "val_loss") -> None:
    """Print a leaderboard: one row per model in the order of ``sort`` (see `Leaderboard.rows_by`), then a summary."""
    from housetrain.sweeps.summary import sentences

    rows = []
    for row in board.rows_by(sort):
        mark = "" if row.rank is None else f"{row.rank}{'*' if row.tied else ''}"
        error = "" if row.val_loss_error is None else f"±{row.val_loss_error:.4f}"
        accuracy = "" if row.val_accuracy is None else format_percent(row.val_accuracy)
        seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
        rows.append(
            (
                mark,
                row.name,
                row.state,
                f"{loss_text(row.val_loss)} {error}".strip(),
                accuracy,
                f"{row.epochs}/{row.planned}",
                "" if row.parameters is None else f"{row.parameters:,}",
                "" if row.flops is None else f"{row.flops / 1e6:,.1f}",
                seconds,
                "" if row.images_per_s is None else f"{row.images_per_s:,.0f}",
                "" if row.model_bytes is None else f"{row.model_bytes / 1e6:,.2f}",
                "" if row.latency_ms is None else f"{row.latency_ms:.1f}",
                row.reason,
            )
        )
    columns = [
        "", "model", "state", "val_loss", "val_accuracy", "epochs", "parameters", "MFLOPs", "seconds", "images/s", "MB",
        "ms", "reason",
    ]  # fmt: skip
    shown = len(columns) if any(row.reason for row in board.rows) else len(columns) - 1
    drop = ["ms", "MB", "images/s", "MFLOPs", "parameters", "seconds", "epochs", "state"]
    table("", columns[:shown], [row[:shown] for row in rows], right=columns[3:12], drop=drop)
    for name, reason in board.infeasible.items():
        out(f"Left out: {name}: {reason}")
    out("")
    for sentence in sentences(board):
        out(sentence)
    if len(board.tied) > 1:
        out("* not shown to be worse than the best (model confidence set, 95 %)")


def runs(rows: Sequence[RunRow]) -> None:
    """Print a list of runs, one row a run."""
    if not rows:
        out("No runs yet.")
        return
    columns = ("run", "model", "state", "val_loss", "val_accuracy", "test_accuracy", "when (UTC)", "settings")
    cells = [
        (
            row.name,
            row.model,
            row.state,
            loss_text(row.val_loss),
            *("" if share is None else format_percent(share) for share in (row.val_accuracy, row.test_accuracy)),
            row.when,
            ", ".join(f"{name}={value}" for name, value in row.settings.items()),
        )
        for row in rows
    ]
    table("", columns, cells, right=columns[3:6], drop=("when (UTC)", "model", "val_accuracy", "state"))


_BESIDE_NAMES = 24  # columns of "epoch (or strength) kept"
_MOST_EPOCHS = 12


def comparison(found: Comparison) -> None:
    """Print two runs side by side, then a summary."""
    names = headings((found.first.name, found.second.name), beside=_BESIDE_NAMES)
    table("", ("", *names), found.rows(), right=names)
    out("")
    curves = found.curves()
    every = max(1, -(-len(curves) // _MOST_EPOCHS)) if console().is_terminal else 1
    kept = {found.first.best_epoch, found.second.best_epoch, curves[-1][0] if curves else 0}
    shown = [row for number, row in enumerate(curves) if not number % every or row[0] in kept]
    rows = [(epoch, loss_text(first), loss_text(second)) for epoch, first, second in shown]
    table("Validation loss", ("epoch or strength", *names), rows, right=("epoch or strength", *names))
    if len(shown) < len(curves):
        out(f"{len(shown)} of {len(curves)} rows; --json has all")
    out("")
    out(found.summary())


def predictions(results: Iterable[Prediction], *, top: int, as_json: bool) -> int:
    """Print predictions as they arrive; return the number of unreadable images."""
    failed = 0
    for one in results:
        failed += one.error is not None
        if as_json:
            print_prediction(one)
        else:
            out(_prediction_line(one, top))
    return failed


def print_prediction(one: Prediction) -> None:
    """Print a prediction as one line of JSON."""
    out(json.dumps(one.to_json()), whole=True)


def parity(table_: Sequence[Parity]) -> None:
    """Print how exported models compare with the Keras model."""
    from housetrain.exports.parity import COLUMNS, rows

    marks = ["" if row.good else "differs too much" for row in table_]
    drawn = [[*cells, mark] for cells, mark in zip(rows(table_), marks, strict=True)]
    columns = [*COLUMNS, ""] if any(marks) else list(COLUMNS)
    drop = ("load", "max difference", "images/s")
    table("", columns, [row[: len(columns)] for row in drawn], right=COLUMNS[1:], drop=drop)
    if table_:
        out(f"Compared on {format_count(table_[0].images, f'{table_[0].kind} image')}.")


def settings(listed: Sequence[Setting]) -> None:
    """Print settings: name, values and default in a line, the meaning below it, wrapped between words."""
    width = min(console().width, 100)
    for one in listed:
        out(f"{one.name}  ({one.type}; default {one.default})")
        out(textwrap.fill(one.meaning, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False))


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    out(json.dumps(value, indent=2, default=str), whole=True)


def here(path: Path) -> Path:
    """Return a path as a person in the working folder types it: relative, if it is inside."""
    working = Path(os.path.realpath("."))
    return path.relative_to(working) if path.is_absolute() and path.is_relative_to(working) else path


def quoted(path: Path) -> str:
    """Return a path quoted for the shell."""
    return shlex.quote(str(path))


def _prediction_line(one: Prediction, top: int) -> str:
    image = one_line(one.image)
    if one.error is not None:
        return f"{image}\tcould not be read: {one.error}"
    names = "  ".join(f"{name} {format_percent(probability)}" for name, probability in one.top[:top])
    seen = {"train": "  (training image)", "validation": "  (validation image)"}
    novel = "  (unlike the training images)" if one.novel else ""
    unsure = "  (unsure)" if one.unsure else ""
    held = f"  {{{', '.join(one.prediction_set)}}}" if one.prediction_set else ""
    return f"{image}\t{names}{held}{unsure}{novel}{seen.get(one.seen or '', '')}"


def label_issues(found: LabelIssues, most: int) -> None:
    """Print labels that are probably wrong, one row each, then a summary."""
    rows = [
        (
            number,
            one.path,
            one.given,
            one.suggested,
            format_percent(one.probability),
            f"{one.agree} of {one.asked}",
            ", ".join(near.path for near in one.neighbors),
        )
        for number, one in enumerate(found.issues[:most], 1)
    ]
    columns = ("", "image", "given", "suggested", "how sure", "similar ones agree", "similar images of other classes")
    if rows:
        table("", columns, rows, right=("", "how sure"), drop=(columns[6], columns[5]))
    if len(found) > most:
        out(f"and {len(found) - most:,} more; --csv FILE writes all")
    out(f"{found.summary()}.")


def exported_copy(made: ExportedCopy, *, as_json: bool) -> None:
    """Print what a corrected copy holds."""
    if as_json:
        print_json(made._asdict())
        return
    out(f"{made.relabeled:,} relabeled, {made.left_out:,} left out, {made.linked:,} linked, {made.copied:,} copied")
    out(f"Images   {made.folder}")
    out(f"Next     housetrain run {quoted(made.folder)}")


def diagnosis(found: Diagnosis) -> None:
    """Print the facts about the machine, then the remarks."""
    rows = [
        ("Python", found.python),
        ("system", found.system),
        ("processor", f"{found.processor}, {format_count(found.cores, 'core')}"),
        ("instruction sets", " ".join(found.instructions)),
        ("memory", f"{found.memory_free_bytes / 2**30:.1f} of {found.memory_bytes / 2**30:.1f} GiB free"),
        ("disk", f"{found.disk_free_bytes / 2**30:.1f} GiB free here"),
        ("GPU", ", ".join(found.gpus) or "none"),
        ("Keras backend", found.backend or "none"),
        ("image formats", ", ".join(found.formats)),
        *found.versions.items(),
    ]
    table("", ("", ""), rows)
    for remark in found.remarks:
        out(f"{remark.severity}: {remark.message}" + (f". Do: {remark.do}" if remark.do else ""))
