"""Elements that all pages share: headings, metrics, images, progress, errors.

In: values of the other packages. Out: elements on the page. Text from files (names, reasons) is escaped by `plain`, so
that it cannot format or break the page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from housetrain.errors import HousetrainError, one_line
from housetrain.studio import jobs, shelf
from housetrain.studio.jobs import Job
from housetrain.studio.settings import Settings
from housetrain.system.text import format_duration
from housetrain.training.run import Run

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")
_STYLE = """
<style>
  [data-testid="stMainBlockContainer"] { max-width: 1120px; padding-top: 3.2rem; padding-bottom: 5rem; }
  [data-testid="stMetric"] { padding: 0.7rem 1rem; }
  [data-testid="stMetricValue"] { font-size: 1.55rem; font-variant-numeric: tabular-nums; }
  .ht-lead { opacity: 0.72; margin: -0.6rem 0 0.4rem; font-size: 1.02rem; }
  .ht-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(var(--side, 168px), 1fr)); gap: 12px; }
  .ht-card { border: 1px solid rgba(128,128,128,0.22); border-radius: 10px; padding: 8px; min-width: 0;
             background: rgba(128,128,128,0.05); }
  .ht-pair { display: flex; gap: 6px; justify-content: center; }
  .ht-frame { flex: 1; min-width: 0; aspect-ratio: 1; display: flex; align-items: center; justify-content: center;
              border-radius: 6px; overflow: hidden; background: rgba(128,128,128,0.08); font-size: 0.78rem;
              text-align: center; }
  .ht-frame img { width: 100%; height: 100%; object-fit: contain; display: block; }
  .ht-frame img.ht-pixels { image-rendering: pixelated; }
  .ht-name { font-size: 0.8rem; margin-top: 6px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  .ht-note { font-size: 0.76rem; opacity: 0.72; line-height: 1.3; overflow-wrap: anywhere; }
  .ht-empty { text-align: center; padding: 0 1rem 0.4rem; }
  .ht-empty b { display: block; font-size: 1.15rem; margin-bottom: 0.3rem; }
  .ht-empty span { opacity: 0.75; }
  .ht-scroll { overflow-x: auto; padding-bottom: 6px; }
  @media (max-width: 640px) {
    [data-testid="stMainBlockContainer"] { padding: 3.4rem 0.9rem 4rem; }
    .ht-grid { grid-template-columns: repeat(auto-fill, minmax(min(var(--side, 140px), 46%), 1fr)); gap: 8px; }
    [data-testid="stMetricValue"] { font-size: 1.25rem; }
  }
</style>
"""


def style() -> None:
    """Add the page's CSS."""
    st.html(_STYLE)


def plain(text: object) -> str:
    """Return text escaped for Markdown, on one line and as valid Unicode."""
    return _SPECIAL.sub(r"\\\1", readable(text))


def readable(text: object) -> str:
    """Return text on one line and as valid Unicode: undecodable bytes become ``?``."""
    return one_line(str(text).encode("utf-8", "replace").decode())


def header(title: str, lead: str) -> None:
    """Draw the title of a page and its purpose."""
    style()
    st.title(title, anchor=False)
    st.html(f'<p class="ht-lead">{html.escape(lead)}</p>')


def section(title: str, help_: str | None = None) -> None:
    """Draw the title of a section."""
    st.subheader(title, anchor=False, help=help_)


def empty(title: str, text: str, *, icon: str) -> None:
    """Draw an empty state: what is missing and what to do.

    Args:
        title: What is missing.
        text: What to do.
        icon: Name of a Material symbol, which Streamlit ships.
    """
    with st.container(horizontal_alignment="center", gap=None):
        st.space("small")
        st.markdown(f"## :gray[:material/{icon}:]", width="content")
    st.html(f'<div class="ht-empty"><b>{html.escape(title)}</b><span>{html.escape(text)}</span></div>')


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Show an error of this package as a message and continue with the rest of the page."""
    try:
        yield
    except HousetrainError as error:
        st.error(plain(error), icon=":material/error:")


def metrics(*numbers: tuple[str, str, str]) -> None:
    """Draw metrics side by side; they wrap on narrow screens.

    Args:
        *numbers: (label, value, explanation).
    """
    with st.container(horizontal=True, gap="small"):
        for label, value, meaning in numbers:
            st.metric(label, value, help=meaning or None, border=True, width="stretch")


# ------------------------------------------------------------------------------------------------- images
class Tile(NamedTuple):
    """An image to show: one or two views, a name and a note.

    Attributes:
        views: ``data:`` URLs; ``""`` shows a placeholder.
        name: Text below the image.
        note: Smaller text below the name.
        pixels: Whether the last view is enlarged without smoothing.
    """

    views: tuple[str, ...]
    name: str
    note: str = ""
    pixels: bool = False


def gallery(tiles: Sequence[Tile], *, side: int = 168) -> None:
    """Draw images as a responsive grid."""
    cards = []
    for tile in tiles:
        frames = []
        for number, view in enumerate(tile.views):
            last = tile.pixels and number == len(tile.views) - 1
            kind = ' class="ht-pixels"' if last else ""
            drawn = f'<img src="{view}"{kind} alt="{html.escape(readable(tile.name))}">' if view else "no image"
            frames.append(f'<div class="ht-frame">{drawn}</div>')
        name = html.escape(readable(tile.name))
        note = f'<div class="ht-note">{html.escape(readable(tile.note))}</div>' if tile.note else ""
        cards.append(
            f'<div class="ht-card"><div class="ht-pair">{"".join(frames)}</div>'
            f'<div class="ht-name" title="{name}">{name}</div>{note}</div>'
        )
    st.html(f'<div class="ht-grid" style="--side:{side}px">{"".join(cards)}</div>')


# ------------------------------------------------------------------------------------------------- processes
def start(words: Sequence[str | Path], *, target: Path | None = None) -> Job | None:
    """Start a command; show an error if that fails."""
    settings = Settings.of()
    with in_one_sentence():
        return jobs.start(settings.jobs, words, target=target, work=settings.work)
    return None


def watch(job: Job, title: str, *, stoppable: bool = True) -> None:
    """Show the live progress of a command; redraw the page when it ends."""

    @st.fragment(run_every=0.7, key=f"watch-{job.folder.name}")
    def live() -> None:
        if not job.active:
            st.rerun()
        progress = job.progress
        if progress and progress["total"]:
            done, total = int(progress["done"]), int(progress["total"])
            rate = done / progress["seconds"] if progress["seconds"] else 0.0
            left = f", {format_duration((total - done) / rate)} left" if rate and done < total else ""
            st.progress(min(1.0, done / total), text=f"{plain(progress['title'])} {done:,} of {total:,} images{left}")
        else:
            st.progress(0.0, text=f"{title} …")
        if stoppable and st.button("Stop", key=f"stop-{job.folder.name}", icon=":material/stop:"):
            with in_one_sentence():
                job.stop()

    live()


def outcome(job: Job | None) -> bool:
    """Show why a command failed, if it did; return whether it succeeded."""
    if job is None:
        return False
    state = job.state
    if state in ("failed", "killed"):
        st.error(plain(job.error), icon=":material/error:")
    elif state == "stopped":
        st.info("Stopped. Completed work is kept.", icon=":material/pause:")
    return state == "done"


# ------------------------------------------------------------------------------------------------- runs
STATES = {
    "running": ("running", "blue"),
    "complete": ("finished", "green"),
    "stopped": ("stopped", "orange"),
    "failed": ("failed", "red"),
    "new": ("starting", "gray"),
}


def choose_run(
    label: str, *, keep: Callable[[Run], bool] = lambda run: True, trials: bool = True, key: str = "run"
) -> Run | None:
    """Draw a selection of runs; the URL keeps the choice across reloads.

    Args:
        label: Label of the box.
        keep: Filter of the runs to list.
        trials: Whether trials of sweeps are listed, too.
        key: Key of the widget and of the URL parameter.
    """
    work = Settings.of().work
    found = {shelf.label_of(run, work): run for run in shelf.runs_in(work, trials=trials) if keep(run)}
    if not found:
        return None
    names = list(found)
    chosen = st.session_state.pop("choose-run", None)  # set by `go_to`
    if chosen in names:
        st.session_state[key] = chosen
    elif st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    name = st.selectbox(label, names, key=key, bind="query-params", format_func=readable)
    return found[name] if name in found else found[names[0]]


def choose_view(words: dict[str, str], *, key: str, default: str) -> str:
    """Draw the tabs of a page; the URL keeps the choice across reloads.

    Streamlit's own binding would write the labels into the URL, and they contain a number that changes.

    Args:
        words: View -> its current label.
        key: Key of the widget; the URL parameter is ``view``.
        default: The view if neither the session nor the URL names one.
    """
    asked = st.query_params.get("view", default)
    options: dict[str, Any] = {} if key in st.session_state else {"default": asked if asked in words else default}
    chosen = st.segmented_control(
        "View",
        list(words),
        required=True,
        key=key,
        persist_state="session",
        format_func=words.__getitem__,
        label_visibility="collapsed",
        **options,
    )
    view = str(chosen or default)
    if st.query_params.get("view") != view:
        st.query_params["view"] = view
    return view


def go_to(page: str, run: Run | None = None) -> None:
    """Open another page with this run selected."""
    if run is not None:
        st.session_state["choose-run"] = shelf.label_of(run, Settings.of().work)
    st.switch_page(st.session_state["pages"][page])
