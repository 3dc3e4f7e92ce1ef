"""The page of a sweep: the leaderboard, and the effect of each setting.

In: a `Leaderboard`. Out: ``SWEEP/leaderboard.html``, self-contained; and the section that the report of a selected run
shows. The page itself is in ``templates/``. It never opens the test split.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import HousetrainError
from housetrain.report.page import title_of, write_page
from housetrain.report.plots import sweep_plots as plots
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.system import store
from housetrain.system.text import format_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from housetrain.sweeps.results import Row
    from housetrain.training.run import Run

NAME = "leaderboard.html"
TOP = 5


def write_leaderboard(board: Leaderboard) -> Path:
    """Write ``SWEEP/leaderboard.html``, replacing the old one in one step. The sweep need not be finished.

    Returns:
        The path of the page.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    classes = store.read_json(board.folder / "sweep.json")["classes"]
    context = {
        "board": board,
        "sweep": section(board),
        "every": _every_curve(board),
        "classes": classes,
        "title": title_of(classes),
        "name": board.folder.resolve().name,
        "alone": True,
    }
    return write_page(board.folder / NAME, "leaderboard.html.j2", context)


def _every_curve(board: Leaderboard) -> list[dict[str, Any]]:
    """Return the curves of all ranked models, once by loss and once by accuracy, the best of each in color."""
    histories = {row.name: board.run_of(row).history for row in board.ranked}
    drawn = []
    measures: tuple[tuple[plots.Measure, str], ...] = (("val_loss", "loss"), ("val_accuracy", "accuracy"))
    for measure, name in measures:
        rows = [row for row in board.rows_by(measure) if row.rank is not None]
        curves = plots.curves_of(rows, histories, measure)
        if len(curves) > TOP:
            key = [*plots.curves_legend(curves[:TOP]), ("line thread-rest", "others")]
            drawing = plots.draw_best_curves(curves[:TOP], curves[TOP:], measure=measure)
            drawn.append({"name": name, "count": len(curves), "drawing": drawing, "key": key})
    return drawn


def section_of(run: Run) -> dict[str, Any] | None:
    """Return what the report of a run shows of its sweep, ``None`` if it was not part of one."""
    folder = run.folder.resolve().parent.parent
    if run.folder.resolve().parent.name != "trials" or not (folder / "leaderboard.json").is_file():
        return None
    try:
        board = leaderboard(folder)
    except HousetrainError:
        return None  # the sweep is no longer complete; the report of the run does not need it
    return section(board, chosen=run.name)


def section(board: Leaderboard, *, chosen: str = "") -> dict[str, Any]:
    """Return what the templates show of a sweep.

    Args:
        board: The leaderboard.
        chosen: Name of the selected trial, if one was selected.
    """
    ranked = board.ranked
    found = plots.factors(ranked)
    histories = {row.name: board.run_of(row).history for row in ranked[:TOP]}
    curves = plots.best_curves(ranked[:TOP], histories)
    row = next((row for row in board.rows if chosen in row.runs), None)
    losses = [row.val_loss for row in ranked if row.val_loss is not None]
    return {
        "board": board,
        "chosen": row,
        "why": _why(board, row),
        "top": ranked[:TOP],
        "rows": board.rows,
        "several_seeds": any(row.spread is not None for row in board.rows),
        "curves": plots.draw_best_curves(curves) if curves else None,
        "key": plots.curves_legend(curves),
        "parallel_legend": plots.PARALLEL_LEGEND,
        "parallel": plots.draw_parallel(ranked, found) if found and len(ranked) > 1 else None,
        "factors": [(one, plots.draw_factor(one, low=min(losses), high=max(losses))) for one in found],
        "effects": _effects(found),
        "again": f"housetrain leaderboard {shlex.quote(str(board.folder))}",
    }


def _why(board: Leaderboard, row: Row | None) -> str:
    if row is None:
        return ""
    if row.rank == 1:
        reason = f"The selected model has the lowest validation loss of the {len(board.ranked)} models."
    else:
        reason = f"The model was selected by hand: it ranks {row.rank} of {len(board.ranked)} by validation loss."
    best = board.best_run
    if (best.folder / "split.json").is_file() and not best.split.of("test"):
        return f"{reason} {NO_TEST}."
    return f"{reason} The test split did not influence the selection; only this model was tested."


def _effects(found: Sequence[plots.Factor]) -> str:
    """Return the effect of each setting, in a sentence."""
    if not found:
        return ""
    effects = [f"{one.name} {one.effect:.3f} (best on average: {one.best})" for one in found]
    return f"Range of the mean validation loss over the values of a setting: {format_list(effects, limit=8)}."
