"""How things look in a terminal: one console for news, progress bars, tables.

In: the values of the other rooms. Out: lines on standard error (news, progress) or standard output (results).
Holds no decisions about images or models. Color follows NO_COLOR and whether a terminal listens.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from housetrain.data.catalog import Catalog
    from housetrain.data.checks import Finding
    from housetrain.diagnosis import Diagnosis
    from housetrain.evaluation.evaluate import Evaluation
    from housetrain.exports.parity import Parity
    from housetrain.inference.prediction import Prediction
    from housetrain.sweeps.compare import Comparison
    from housetrain.sweeps.leaderboard import Leaderboard
    from housetrain.sweeps.status import Snapshot
    from housetrain.training.run import Run
    from housetrain.workflow import Outcome, Progress


PROGRESS_FILE = "HOUSETRAIN_PROGRESS_FILE"
"""Environment variable: a file with the progress of the work on images, for other processes to read."""
_NOTED_EVERY_S = 0.2


def console(*, stderr: bool = False) -> Console:
    """Return a console for results (standard output) or news (standard error)."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


class Terminal:
    """A narrator on standard error: news as lines, work on images as a bar with speed and time left."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.live = not quiet

    @functools.cached_property
    def _console(self) -> Console:
        return console(stderr=True)  # Rich takes 0.1 s to import: not for who says nothing

    def say(self, text: str) -> None:
        """Print one line of news."""
        if self.live:
            self._console.print(one_line(text), markup=False)

    @contextmanager
    def counting(self, title: str) -> Iterator[Progress | None]:
        """Show a bar; the value of the context is called with (done, total)."""
        if file := os.environ.get(PROGRESS_FILE):
            yield _noting(Path(file), title)
            return
        if not self.live or not self._console.is_terminal:
            yield None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(f"{title} images", total=None, speed="")

            def advance(done: int, total: int) -> None:
                elapsed = bars.tasks[0].elapsed or 0.0
                speed = f"{done / elapsed:,.0f} images/s" if elapsed > 0.5 else ""
                bars.update(task, completed=done, total=total, speed=speed)

            yield advance

    @contextmanager
    def watching(self) -> Iterator[Callable[[Snapshot], None] | None]:
        """Show how a sweep stands: a live table on a terminal, else a line for each trial that ends."""
        if not self.live:
            yield None
            return
        if not self._console.is_terminal:
            seen: set[str] = set()

            def tell(snapshot: Snapshot) -> None:
                for row in snapshot.board.rows:
                    if row.state in ("complete", "pruned", "failed") and row.name not in seen:
                        seen.add(row.name)
                        loss = f"val_loss {row.val_loss:.4f}" if row.val_loss is not None else row.reason
                        done = f"{snapshot.done}/{snapshot.total}"
                        self.say(f"{done}  {row.name}  {row.state}  {loss}{_left(snapshot.eta_s)}")

            yield tell
            return
        from rich.live import Live

        with Live(console=self._console, transient=True, auto_refresh=False) as live:
            yield lambda snapshot: live.update(sweep_table(snapshot, self._console.height), refresh=True)


def _noting(file: Path, title: str) -> Progress:
    """Return what writes progress down for a page that watches this process."""
    from housetrain.system import store

    started, last = time.monotonic(), -_NOTED_EVERY_S

    def note(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _NOTED_EVERY_S or done >= total:
            last = now
            value = {"title": title, "done": done, "total": total, "seconds": round(now - started, 2)}
            store.write_json_atomic(file, value, durable=False)

    return note


def _left(seconds: float | None) -> str:
    from housetrain.training.progress import in_words

    return "" if seconds is None else f"  {in_words(seconds)} left"


def sweep_table(snapshot: Snapshot, height: int = 40) -> Any:
    """Return a sweep as a Rich table: who is under way first, then the best, as many as there is room for."""
    from rich.table import Table
    from rich.text import Text

    title = f"{snapshot.done} of {snapshot.total} trials{_left(snapshot.eta_s)}"
    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in ("trial", "state", "epoch", "val_loss", "images/s"):
        drawn.add_column(column, justify="left" if column in ("trial", "state") else "right", no_wrap=True)
    for live in snapshot.live:
        epoch = f"{live.epoch}/{live.epochs} {live.share:4.0%}"
        drawn.add_row(Text(live.name), "trains", epoch, _plain(live.val_loss), f"{live.images_per_s:,.0f}")
    busy = {live.name for live in snapshot.live}
    rest = [row for row in snapshot.board.rows if not set(row.runs) & busy]
    room = max(3, height - len(busy) - 5)
    for row in rest[:room]:
        speed = f"{row.images_per_s:,.0f}" if row.images_per_s else ""
        style = {"complete": "green", "failed": "red"}.get(row.state, "dim")
        epoch = f"{row.epochs}/{row.planned}"
        drawn.add_row(Text(row.name), Text(row.state, style=style), epoch, _plain(row.val_loss), speed)
    if len(rest) > room:
        drawn.add_row(Text(f"and {len(rest) - room} more", style="dim"), "", "", "", "")
    return drawn


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print a table on standard output; ``right`` names the columns that are numbers."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(one_line(str(cell))) for cell in row))
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, 160)
    out.print(drawn)


def out(text: str) -> None:
    """Print result lines on standard output, as they are."""
    sys.stdout.write(text + "\n")


def fail(text: str) -> None:
    """Print one line about an error on standard error."""
    from rich.text import Text

    console(stderr=True).print(Text.assemble(("Error: ", "bold red"), one_line(text)))


def findings(catalog: Catalog, found: Sequence[Finding]) -> None:
    """Print what a check found: class counts, one row per kind of finding, then what is left out and why."""
    counts = catalog.counts()
    listed = ", ".join(f"{label} {count:,}" for label, count in counts.items())
    out(f"{len(catalog.images):,} images, {sum(counts.values()):,} usable: {listed}")
    if catalog.ignored:
        out("ignored: " + ", ".join(f"{count} {name}" for name, count in catalog.ignored.items()))
    if not found:
        out("Nothing to complain about.")
        return
    rows = []
    for finding in found:
        shown = ", ".join(finding.paths[:3]) + (f" and {len(finding.paths) - 3} more" if len(finding.paths) > 3 else "")
        rows.append((finding.severity, finding.kind, finding.message, shown, len(finding.leaves_out) or "", finding.do))
    table("", ("severity", "kind", "what", "where", "left out", "do"), rows, right=("left out",))


def outcome(found: Outcome) -> None:
    """Print what `housetrain run` made: the test result, and where everything is."""
    if found.leaderboard is not None:
        leaderboard(found.leaderboard)
    out("")
    out(found.evaluation.in_words())
    out("")
    out(f"Report   {found.report}")
    out(f"Model    {found.bundle}")
    out(f"Next     housetrain predict {quoted(found.run.folder)} PHOTO.jpg")
    out(f"         housetrain board {quoted(found.run.folder)}")


def sweep_result(board: Leaderboard) -> None:
    """Print the leaderboard of a sweep, and where its files are."""
    leaderboard(board)
    out("")
    out(f"Sweep    {board.folder}")
    out(f"Page     {board.folder / 'leaderboard.html'}")
    if board.ranked:
        out(f"Next     housetrain evaluate {quoted(board.best_run.folder)}")
        out(f"         housetrain board {quoted(board.folder)}")


def finetuned(before: Run, after: Run) -> None:
    """Print the validation loss before and after fine-tuning, and which of the two runs to test."""
    old, new = ((run.result or {}).get("val_loss", float("nan")) for run in (before, after))
    better = new < old
    out(f"Run      {after.folder}")
    out(f"         val_loss {old:.4f} before, {new:.4f} after{'' if better else ': the original run is better'}")
    out(f"Next     housetrain evaluate {quoted((after if better else before).folder)}")


def print_run(run: Run) -> None:
    """Print a run as JSON: its folder, result and history."""
    print_json({"run": str(run.folder), "result": run.result, "history": run.history})


def evaluation(result: Evaluation) -> None:
    """Print a test result: the verdict in words, then one row per class."""
    out(result.in_words())
    rows = [
        (name, *(_score(value) for value in (scores.precision, scores.recall, scores.f1)), f"{scores.support:,}")
        for name, scores in result.per_class.items()
    ]
    columns = ("class", "precision", "recall", "F1", "images")
    table("", columns, rows, right=columns[1:])


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def leaderboard(board: Leaderboard) -> None:
    """Print a sweep: one row a model, best first, then what to make of it."""
    rows = []
    for row in board.rows:
        mark = "" if row.rank is None else f"{row.rank}{'*' if row.tied else ''}"
        error = "" if row.val_loss_error is None else f"±{row.val_loss_error:.4f}"
        accuracy = "" if row.val_accuracy is None else f"{row.val_accuracy:.1%}"
        seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
        rows.append(
            (
                mark,
                row.name,
                row.state,
                f"{_plain(row.val_loss)} {error}".strip(),
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
        "", "model", "state", "val_loss", "val_accuracy", "epochs", "weights", "MFLOPs", "seconds", "images/s", "MB",
        "ms", "why",
    ]  # fmt: skip
    shown = len(columns) if any(row.reason for row in board.rows) else len(columns) - 1
    table("", columns[:shown], [row[:shown] for row in rows], right=columns[3:12])
    for name, reason in board.infeasible.items():
        out(f"left out: {name}: {reason}")
    out("")
    out(board.in_words())
    if len(board.tied) > 1:
        out("* within one standard error of the best")


def comparison(found: Comparison) -> None:
    """Print two runs side by side, then the verdict."""
    table("", ("", found.first.name, found.second.name), found.rows(), right=(found.first.name, found.second.name))
    out("")
    rows = [(epoch, _plain(first), _plain(second)) for epoch, first, second in found.curves()]
    columns = ("epoch", f"val_loss {found.first.name}", f"val_loss {found.second.name}")
    table("", columns, rows, right=columns)
    out("")
    out(found.in_words())


def predictions(results: Iterable[Prediction], *, top: int, as_json: bool) -> int:
    """Print predictions as they come; return how many images could not be read."""
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
    out(json.dumps(one.to_json()))


def parity(table_: Sequence[Parity]) -> None:
    """Print how the exported models compare with the Keras model."""
    from housetrain.exports.parity import COLUMNS, rows

    marks = ["" if row.good else "not good enough" for row in table_]
    drawn = [[*cells, mark] for cells, mark in zip(rows(table_), marks, strict=True)]
    columns = [*COLUMNS, ""] if any(marks) else list(COLUMNS)
    table("", columns, [row[: len(columns)] for row in drawn], right=COLUMNS[1:])
    if table_:
        out(f"Compared on {table_[0].images:,} {table_[0].kind} images.")


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    out(json.dumps(value, indent=2, default=str))


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def _prediction_line(one: Prediction, top: int) -> str:
    image = one_line(one.image)
    if one.error is not None:
        return f"{image}\tcould not be read: {one.error}"
    names = "  ".join(f"{name} {probability:.1%}" for name, probability in one.top[:top])
    seen = {"train": "  (it was trained on this image)", "validation": "  (this image was in validation)"}
    unsure = "  (unsure)" if one.unsure else ""
    return f"{image}\t{names}{unsure}{seen.get(one.seen or '', '')}"


def diagnosis(found: Diagnosis) -> None:
    """Print what the machine is, then what will be slow or fail on it."""
    rows = [
        ("Python", found.python),
        ("system", found.system),
        ("processor", f"{found.processor}, {found.cores} cores"),
        ("instruction sets", " ".join(found.instructions)),
        ("memory", f"{found.memory_free_bytes / 2**30:.1f} of {found.memory_bytes / 2**30:.1f} GiB free"),
        ("disk", f"{found.disk_free_bytes / 2**30:.1f} GiB free here"),
        ("GPU", ", ".join(found.gpus) or "none"),
        ("Keras backend", found.backend or "none"),
        *found.versions.items(),
    ]
    table("", ("", ""), rows)
    for remark in found.remarks:
        out(f"{remark.severity}: {remark.message}" + (f". Do: {remark.do}" if remark.do else ""))
