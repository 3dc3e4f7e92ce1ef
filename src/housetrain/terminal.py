"""How things look in a terminal: one console for news, progress bars, tables.

In: the values of the other rooms. Out: lines on standard error (news, progress) or standard output (results).
Holds no decisions about pictures or models. Colour follows NO_COLOR and whether a terminal listens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from housetrain.errors import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from housetrain.data.catalog import Catalog
    from housetrain.data.checks import Finding
    from housetrain.deploy.predictor import Prediction
    from housetrain.doctor import Diagnosis
    from housetrain.pipeline import Progress
    from housetrain.results.evaluate import Evaluation


def console(*, stderr: bool = False) -> Console:
    """Return a console for results (standard output) or news (standard error)."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


class Terminal:
    """A narrator on standard error: news as lines, work on pictures as a bar with speed and time left."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.live = not quiet
        self._console = console(stderr=True)

    def say(self, text: str) -> None:
        """Print one line of news."""
        if self.live:
            self._console.print(one_line(text), markup=False)

    @contextmanager
    def counting(self, title: str) -> Iterator[Progress | None]:
        """Show a bar; the value of the context is called with (done, total)."""
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
            task = bars.add_task(f"{title} pictures", total=None, speed="")

            def advance(done: int, total: int) -> None:
                elapsed = bars.tasks[0].elapsed or 0.0
                speed = f"{done / elapsed:,.0f} pictures/s" if elapsed > 0.5 else ""
                bars.update(task, completed=done, total=total, speed=speed)

            yield advance


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
    out(f"{len(catalog.pictures):,} pictures, {sum(counts.values()):,} usable: {listed}")
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


def evaluation(result: Evaluation) -> None:
    """Print a test result: the verdict in words, then one row per class."""
    out(result.in_words())
    rows = [
        (name, *(_score(value) for value in (scores.precision, scores.recall, scores.f1)), f"{scores.support:,}")
        for name, scores in result.per_class.items()
    ]
    columns = ("class", "precision", "recall", "F1", "pictures")
    table("", columns, rows, right=columns[1:])


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def predictions(
    results: Iterable[Prediction],
    *,
    total: int,
    top: int,
    csv: Path | None,
    as_json: bool,
    progress: Progress | None,
) -> int:
    """Print or write predictions as they come, flat in memory; return how many pictures could not be read."""
    from contextlib import nullcontext

    failed = 0
    with csv.open("w", newline="", encoding="utf-8", errors="surrogateescape") if csv else nullcontext() as file:
        writer = None
        if file is not None:
            from csv import writer as csv_writer

            writer = csv_writer(file)
            writer.writerow(["picture", "label", "probability", "margin", "seen_in_training", "error"])
        for number, one in enumerate(results, 1):
            failed += one.error is not None
            if writer:
                writer.writerow(
                    [
                        one.source,
                        one.label,
                        f"{one.probability:.6f}",
                        f"{one.margin:.6f}",
                        one.seen or "",
                        one.error or "",
                    ]
                )
            if as_json:
                import json

                out(json.dumps(one.to_json()))
            elif not writer:
                out(_prediction_line(one, top))
            if progress:
                progress(number, total)
    if csv and not as_json:
        out(f"{total:,} pictures named in {csv}" + (f", {failed:,} could not be read" if failed else ""))
    return failed


def _prediction_line(one: Prediction, top: int) -> str:
    source = one_line(str(one.source))
    if one.error is not None:
        return f"{source}\tcould not be read: {one.error}"
    names = "  ".join(f"{name} {probability:.1%}" for name, probability in one.top[:top])
    seen = {"train": "  (it was trained on this picture)", "validation": "  (this picture was in validation)"}
    return f"{source}\t{names}{seen.get(one.seen or '', '')}"


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
