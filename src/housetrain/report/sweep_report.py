"""A sweep as a page: who won, by how much, and which settings made the difference.

In: a `Leaderboard`. Out: ``SWEEP/leaderboard.html``, self-contained as the report of a run is; and the section that the
report of a chosen run shows. The page itself is in ``templates/``. It never opens the test split.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import HousetrainError
from housetrain.evaluation import text
from housetrain.report.plots import sweep_plots as plots
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.system import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from housetrain.training.run import Run

NAME = "leaderboard.html"
TOP = 5
TEMPLATES = Path(__file__).with_name("templates")


def write_leaderboard(board: Leaderboard) -> Path:
    """Write ``SWEEP/leaderboard.html``, replacing the old one in one step. The sweep need not be finished.

    Returns:
        The path of the page.

    Raises:
        DiskFull: It cannot be written; an earlier page is intact.
    """
    from markupsafe import Markup

    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    context = {
        "board": board,
        "sweep": section(board),
        "classes": store.read_json(board.folder / "sweep.json")["classes"],
        "name": board.folder.resolve().name,
        "written": time.strftime("%-d %B %Y"),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "words": text,
        "alone": True,
    }
    page = environment().get_template("leaderboard.html.j2").render(context)
    store.write_bytes_atomic(board.folder / NAME, page.encode("utf-8", errors="backslashreplace"))
    return board.folder / NAME


def section_of(run: Run) -> dict[str, Any] | None:
    """Return what the report of a run says of the sweep that it came from, ``None`` if it came from none."""
    folder = run.folder.resolve().parent.parent
    if run.folder.resolve().parent.name != "trials" or not (folder / "leaderboard.json").is_file():
        return None
    try:
        board = leaderboard(folder)
    except HousetrainError:
        return None  # the sweep was thinned out since; the run's own report needs none of it
    return section(board, chosen=run.name)


def section(board: Leaderboard, *, chosen: str = "") -> dict[str, Any]:
    """Return what the templates show of a sweep.

    Args:
        board: The leaderboard.
        chosen: Name of the trial that was chosen, if one was.
    """
    ranked = board.ranked
    found = plots.factors(ranked)
    histories = {row.name: board.run_of(row).history for row in ranked[:TOP]}
    curves = plots.best_curves(ranked, histories)
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
        "key": [(style, curve) for style, curve in zip(plots.STYLES, curves, strict=False)],
        "parallel": plots.draw_parallel(ranked, found) if found and len(ranked) > 1 else None,
        "factors": [(one, plots.draw_factor(one, low=min(losses), high=max(losses))) for one in found],
        "effects": _effects(found),
        "again": f"housetrain leaderboard {shlex.quote(str(board.folder))}",
    }


def _why(board: Leaderboard, row: Any) -> str:
    if row is None:
        return ""
    if row.rank == 1:
        reason = f"It has the smallest validation loss of the {len(board.ranked)} models."
    else:
        reason = f"It was chosen by hand: by validation loss it is number {row.rank} of {len(board.ranked)}."
    return f"{reason} The test images had no say in the choice and were opened for this model only."


def _effects(found: Sequence[plots.Factor]) -> str:
    """Return which settings matter, in a sentence."""
    if not found:
        return ""
    listed = text.listed(
        [f"{one.name} (best on average: {one.best}, worth {one.effect:.3f})" for one in found], limit=8
    )
    return f"By how far the mean validation loss moves with each setting: {listed}."


def environment() -> Any:
    """Return the Jinja environment of the pages: everything is escaped, nothing may be undefined."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: text.shown(value) if type(value) is str else value,
    )
    names = ("percent", "interval", "number", "duration", "size", "plural", "sentence")
    environment.filters |= {name: getattr(text, name) for name in names}
    return environment
