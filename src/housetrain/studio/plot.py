"""The plots of `housetrain.report.plots` on the page: immediate tooltips, cells to click, light and dark.

In: an SVG drawing and its legend. Out: an element on the page; the key of the mark that was clicked. It does not know
what is drawn. ``plot.js`` runs in the browser. All text in a drawing is escaped by `housetrain.report.plots.svg`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import streamlit as st

from housetrain.report.page import PLOTS_CSS
from housetrain.report.plots.svg import legend as legend_of

_CSS = """
:host { display: block; --card: var(--st-background-color, light-dark(#ffffff, #0e1117)); }
.plot { position: relative; }
.drawing { overflow-x: auto; scrollbar-width: thin; }
.plot svg:not(.fixed) { max-width: 560px; }
.plot.selectable svg.fixed { max-width: 100%; min-width: 380px; }
.plot [data-key] { cursor: pointer; }
.plot [data-key]:focus-visible, .plot [data-key].selected { outline: none; stroke: var(--ink); stroke-width: 2.5; }
.tip { position: absolute; z-index: 9; pointer-events: none; max-width: 20rem; padding: 3px 8px; border-radius: 6px;
       font-size: 13px; line-height: 1.35; background: var(--ink); color: var(--card); overflow-wrap: anywhere; }
@media (max-width: 720px) { .plot svg:not(.fixed) { font-size: 14px; } }
"""

_COMPONENT = st.components.v2.component(
    "housetrain_plot",
    html='<div class="plot"><div class="drawing"></div><div class="tip" hidden></div></div>',
    css=PLOTS_CSS.read_text(encoding="utf-8") + _CSS,
    js=Path(__file__).with_name("plot.js").read_text(encoding="utf-8"),
)


def show(drawing: str, *, key: str, legend: Iterable[tuple[str, str]] = ()) -> None:
    """Draw a plot.

    Args:
        drawing: SVG of `housetrain.report.plots`.
        key: Of the element.
        legend: (CSS classes of the mark, text).
    """
    _mount(drawing, key, legend, None)


def choose(drawing: str, *, key: str, legend: Iterable[tuple[str, str]] = ()) -> str | None:
    """Draw a plot whose marks can be clicked; return the ``data-key`` of the clicked one.

    Args:
        drawing: As for `show`.
        key: Of the element.
        legend: As for `show`.
    """
    selected = (st.session_state.get(key) or {}).get("selected")
    result = _mount(drawing, key, legend, selected, on_selected_change=lambda: None)
    return result.selected or None


def _mount(drawing: str, key: str, legend: Iterable[tuple[str, str]], selected: str | None, **events: Any) -> Any:
    marks = tuple(legend)
    data = {
        "drawing": (str(legend_of(marks)) if marks else "") + str(drawing),
        "dark": st.context.theme.type == "dark",
        "selectable": bool(events),
        "selected": selected,
    }
    return _COMPONENT(key=key, data=data, **events)
