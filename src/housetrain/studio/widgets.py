"""What all pages share: headings, numbers, images, progress, errors in one sentence.

In: values of the other rooms. Out: elements on the page. Everything that comes from a file (names, reasons) is shown
through `plain`, so that it can neither format nor break the page.
"""

from __future__ import annotations

import base64
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
from housetrain.system.durations import format_duration
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
    """Put the page's few own rules in place."""
    st.html(_STYLE)


def plain(text: object) -> str:
    """Return text as it is, for where Streamlit would read it as Markdown; one line, no halves of characters."""
    return _SPECIAL.sub(r"\\\1", readable(text))


def readable(text: object) -> str:
    """Return text that can be sent: one line, bytes that are no text as ``?``."""
    return one_line(str(text).encode("utf-8", "replace").decode())


def header(title: str, lead: str) -> None:
    """Draw the title of a page and what it is for."""
    style()
    st.title(title, anchor=False)
    st.html(f'<p class="ht-lead">{html.escape(lead)}</p>')


def section(title: str, help_: str | None = None) -> None:
    """Draw the title of a part of a page."""
    st.subheader(title, anchor=False, help=help_)


def empty(title: str, text: str, *, icon: str) -> None:
    """Say what is not there yet, and what to do about it.

    Args:
        title: What is not there.
        text: What to do.
        icon: Name of a Material symbol; those come along with Streamlit, emoji do not.
    """
    with st.container(horizontal_alignment="center", gap=None):
        st.space("small")
        st.markdown(f"## :gray[:material/{icon}:]", width="content")
    st.html(f'<div class="ht-empty"><b>{html.escape(title)}</b><span>{html.escape(text)}</span></div>')


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Show an error of this package as one sentence; the rest of the page goes on."""
    try:
        yield
    except HousetrainError as error:
        st.error(plain(error), icon=":material/error:")


def metrics(*numbers: tuple[str, str, str]) -> None:
    """Draw numbers side by side; they wrap on a phone.

    Args:
        *numbers: (label, value, what it means in plain words).
    """
    with st.container(horizontal=True, gap="small"):
        for label, value, meaning in numbers:
            st.metric(label, value, help=meaning or None, border=True, width="stretch")


def chart(spec: dict[str, Any], *, key: str, alt: str, on_select: Any = "ignore") -> Any:
    """Draw a specification of `housetrain.studio.charts`."""
    return st.vega_lite_chart(spec=spec, key=key, width="stretch", on_select=on_select, alt=alt)


# ------------------------------------------------------------------------------------------------- images
class Tile(NamedTuple):
    """An image to show: one or two views, and words.

    Attributes:
        views: ``data:`` addresses; ``""`` shows the note instead.
        name: Below it.
        note: Below that, smaller.
        pixels: Whether the last view is enlarged without smoothing.
    """

    views: tuple[str, ...]
    name: str
    note: str = ""
    pixels: bool = False


def gallery(tiles: Sequence[Tile], *, side: int = 168) -> None:
    """Draw images as a grid that fits any width."""
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


def as_address(data: bytes, kind: str = "jpeg") -> str:
    """Return an image's bytes as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


# ------------------------------------------------------------------------------------------------- processes
def start(words: Sequence[str | Path], *, target: Path | None = None) -> Job | None:
    """Start a command; show one sentence if that fails."""
    settings = Settings.of()
    with in_one_sentence():
        return jobs.start(settings.jobs, words, target=target, work=settings.work)
    return None


def watch(job: Job, title: str, *, stoppable: bool = True) -> None:
    """Show how far a command is, live; when it ends, the page is drawn anew."""

    @st.fragment(run_every=0.7, key=f"watch-{job.folder.name}")
    def live() -> None:
        if not job.active:
            st.rerun()
        told = job.progress
        if told and told["total"]:
            done, total = int(told["done"]), int(told["total"])
            rate = done / told["seconds"] if told["seconds"] else 0.0
            left = f", {format_duration((total - done) / rate)} left" if rate and done < total else ""
            st.progress(min(1.0, done / total), text=f"{plain(told['title'])} {done:,} of {total:,} images{left}")
        else:
            st.progress(0.0, text=f"{title} …")
        if stoppable and st.button("Stop", key=f"stop-{job.folder.name}", icon=":material/stop:"):
            with in_one_sentence():
                job.stop()

    live()


def outcome(job: Job | None) -> bool:
    """Show why a command failed, if it did; return whether it ended well."""
    if job is None:
        return False
    state = job.state
    if state in ("failed", "killed"):
        st.error(plain(job.error), icon=":material/error:")
    elif state == "stopped":
        st.info("You stopped it. What was finished is kept.", icon=":material/pause:")
    return state == "done"


# ------------------------------------------------------------------------------------------------- runs
STATES = {
    "running": ("running", "blue"),
    "complete": ("finished", "green"),
    "stopped": ("stopped", "orange"),
    "failed": ("failed", "red"),
    "new": ("just begun", "gray"),
}


def choose_run(
    label: str, *, keep: Callable[[Run], bool] = lambda run: True, trials: bool = True, key: str = "run"
) -> Run | None:
    """Let a run be chosen; the choice stands in the address, so that a reload finds it again.

    Args:
        label: Above the box.
        keep: Which runs to offer.
        trials: Whether runs of sweeps are offered as well.
        key: Of the widget, and in the address.
    """
    work = Settings.of().work
    found = {shelf.label_of(run, work): run for run in shelf.runs_in(work, trials=trials) if keep(run)}
    if not found:
        return None
    names = list(found)
    chosen = st.session_state.pop("choose-run", None)  # another page sent us here with one
    if chosen in names:
        st.session_state[key] = chosen
    elif st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    name = st.selectbox(label, names, key=key, bind="query-params", format_func=readable)
    return found[name] if name in found else found[names[0]]


def choose_view(words: dict[str, str], *, key: str, default: str) -> str:
    """Let one of a few parts of a page be chosen; the choice stands in the address.

    Streamlit's own binding would write the words into the address, and these hold a number that changes.

    Args:
        words: Part -> what it is called now.
        key: Of the widget; ``view`` in the address.
        default: Where neither the session nor the address says.
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
    """Open another page, with a run chosen there."""
    if run is not None:
        st.session_state["choose-run"] = shelf.label_of(run, Settings.of().work)
    st.switch_page(st.session_state["pages"][page])
