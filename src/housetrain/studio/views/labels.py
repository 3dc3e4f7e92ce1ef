"""Labels: images whose label is probably wrong, one after another, to keep, relabel or leave out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from housetrain.data.corrections import LEAVE_OUT, Corrections, Decision, record, take_back
from housetrain.data.output import refuse_inside
from housetrain.data.prepared import Prepared
from housetrain.errors import IncompleteError
from housetrain.evaluation.label_issues import FILE, FOLDER, LabelIssue, LabelIssues
from housetrain.report.thumbnails import Album
from housetrain.studio import forms, jobs, looking, shelf, widgets
from housetrain.studio.drawing import Drawn, draw
from housetrain.studio.settings import Settings
from housetrain.studio.shelf import Arrays
from housetrain.studio.views import Page
from housetrain.studio.widgets import Tile, plain, readable
from housetrain.system.text import format_count, format_percent

PAGE = Page("Labels", icon="label", position=15)
_SIDE = 440
_BLOCK = 6  # images that are drawn at once, so that the next one is there when it is asked for
_SIMILAR = 3
# Streamlit keeps R and C for itself.
_KEYS = {"keep": "K", "relabel": "L", "leave out": "X", "undo": "U", "skip": "S"}


def show() -> None:
    """Draw the page."""
    widgets.header("Labels", "Decide about labels that are probably wrong, one after another. No image is changed.")
    arrays = shelf.prepared_in(Settings.of().work)
    if not arrays:
        widgets.empty("No prepared images", "Prepare a folder of images first.", icon="label")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Data", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("data")
        return
    with widgets.in_one_sentence():
        chosen = forms.choose_arrays(arrays)
        file = corrections_of(chosen)
        job = jobs.newest(Settings.of().jobs, target=chosen.folder, verb="labels")
        if job is not None and job.active:
            widgets.watch(job, "Looking at the labels")
            return
        if job is not None and job.state != "done":
            widgets.outcome(job)
        found = _kept(chosen)
        if found is None:
            _offer(chosen, file)
        else:
            _review(chosen, found, file)


def corrections_of(arrays: Arrays) -> Path:
    """Return the file of the decisions about a folder of images, in the working folder.

    Raises:
        FolderError: The studio was started in the folder of images, which is never changed.
    """
    file = Settings.of().work / f"{arrays.root.name or 'images'}-corrections.csv"
    refuse_inside(arrays.root, file)
    return file


def _kept(arrays: Arrays) -> LabelIssues | None:
    path = arrays.folder / FOLDER / FILE
    try:
        return _load(str(arrays.folder), shelf.stamp(path)) if path.is_file() else None
    except IncompleteError:
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(folder: str, when: str) -> LabelIssues:
    return LabelIssues.load(folder)


def _offer(arrays: Arrays, file: Path) -> None:
    widgets.empty(
        "Which labels are wrong?",
        "Pretrained features judge every training and validation image. The test images are not looked at.",
        icon="label",
    )
    with st.container(horizontal_alignment="center"):
        if st.button("Find wrong labels", type="primary", icon=":material/search:"):
            _start(arrays, file)


def _start(arrays: Arrays, file: Path) -> None:
    words: list[str | Path] = ["labels", arrays.folder]
    if file.is_file():
        words += ["--corrections", file]
    widgets.start(words, target=arrays.folder)
    st.rerun()


# ------------------------------------------------------------------------------------------------- one by one
def _review(arrays: Arrays, found: LabelIssues, file: Path) -> None:
    known = Corrections.read(file, missing_ok=True)
    decided = {one.sha256 for one in found.issues if known.of(one.path, one.sha256)}
    skipped = st.session_state.setdefault("labels-skipped", set())
    waiting = [number for number, one in enumerate(found.issues) if one.sha256 not in decided]
    waiting.sort(key=lambda number: found.issues[number].sha256 in skipped)
    _progress(found, known, len(decided))
    if waiting:
        _image(arrays, found, waiting[0], file, known)
    else:
        _done(arrays, found, file, known)


def _progress(found: LabelIssues, known: Corrections, decided: int) -> None:
    if not found.issues:
        return
    words = [one.corrected for one in known.decisions]
    left_out = sum(word == LEAVE_OUT for word in words)
    kept = sum(one.corrected == one.given for one in known.decisions)
    st.progress(
        decided / len(found.issues),
        text=f"{decided:,} of {format_count(len(found.issues), 'image')} decided. In the file: "
        f"{len(words) - left_out - kept:,} relabeled, {left_out:,} left out, {kept:,} kept",
    )


def _image(arrays: Arrays, found: LabelIssues, number: int, file: Path, known: Corrections) -> None:
    one = found.issues[number]
    first = number - number % _BLOCK
    drawn = _tiles(arrays, found.issues[first : first + _BLOCK])
    left, right = st.columns([5, 4], gap="large")
    with left:
        view = drawn[one.path]
        widgets.gallery([Tile(view.views, one.path, view.note)], side=_SIDE)
    with right:
        st.markdown(f"### {plain(one.given)} :material/arrow_forward: {plain(one.suggested)}")
        st.caption(plain(f"{one.reason}. {one.split} image."))
        label = one.suggested
        if len(found.classes) > 2:
            others = [name for name in found.classes if name != one.given]
            label = str(
                st.selectbox(
                    "New label", others, others.index(one.suggested), key=f"label-{one.sha256}", format_func=readable
                )
            )
        _buttons(one, label, file, known)
        if one.neighbors:
            st.markdown("**Similar images of other classes**")
            tiles = [drawn[near.path]._replace(name=near.label, note="") for near in one.neighbors[:_SIMILAR]]
            widgets.gallery(tiles, side=110)


def _buttons(one: LabelIssue, label: str, file: Path, known: Corrections) -> None:
    before = known.of(one.path, one.sha256)
    with st.container(horizontal=True):
        for name, title, icon, corrected in (
            ("keep", f"Keep {one.given}", "check", one.given),
            ("relabel", f"Relabel as {label}", "swap_horiz", label),
            ("leave out", "Leave out", "block", LEAVE_OUT),
        ):
            st.button(
                plain(title),
                key=f"do-{name}",
                type="primary" if name == "relabel" else "secondary",
                icon=f":material/{icon}:",
                shortcut=_KEYS[name],
                on_click=_decide,
                args=(file, one, corrected, before),
            )
    with st.container(horizontal=True):
        st.button(
            "Skip", key="do-skip", type="tertiary", icon=":material/skip_next:", shortcut=_KEYS["skip"],
            on_click=_skip, args=(one.sha256,),
        )  # fmt: skip
        _undo_button(file, known)


def _undo_button(file: Path, known: Corrections) -> None:
    st.button(
        "Undo", key="do-undo", type="tertiary", icon=":material/undo:", shortcut=_KEYS["undo"],
        disabled=not (st.session_state.get("labels-undo") or len(known)), on_click=_undo, args=(file,),
    )  # fmt: skip


def _decide(file: Path, one: LabelIssue, corrected: str, before: Decision | None) -> None:
    """Append the decision; called before the page is drawn again."""
    decision = Decision.now(one.path, one.sha256, one.given, corrected)
    with widgets.in_one_sentence():
        record(file, decision)
        st.session_state.setdefault("labels-undo", []).append((str(file), decision, before))


def _undo(file: Path) -> None:
    """Take back the last decision of this session, else the last one of the file."""
    mine = [entry for entry in st.session_state.get("labels-undo", []) if entry[0] == str(file)]
    with widgets.in_one_sentence():
        if mine:
            st.session_state["labels-undo"].remove(mine[-1])
            take_back(file, mine[-1][1], mine[-1][2])
        elif known := Corrections.read(file, missing_ok=True).decisions:
            take_back(file, max(known, key=lambda one: one.when), None)


def _skip(sha256: str) -> None:
    st.session_state.setdefault("labels-skipped", set()).add(sha256)


def _done(arrays: Arrays, found: LabelIssues, file: Path, known: Corrections) -> None:
    if not found.issues:
        st.success("No label looks wrong.", icon=":material/check_circle:")
    else:
        st.success("Every image of the list is decided.", icon=":material/check_circle:")
    if len(known):
        st.markdown(f"The decisions are in **{plain(file.name)}**. Prepare and train with them:")
        st.code(f"housetrain run {shlex.quote(str(arrays.root))} --corrections {shlex.quote(file.name)}", language="sh")
    with st.container(horizontal=True):
        if st.button("Look again", icon=":material/refresh:", help="With the corrected labels more may be found."):
            _start(arrays, file)
        _undo_button(file, known)
    st.caption(plain(f"{found.summary()}. {format_percent(found.accuracy)} of the labels agree with the model."))


# ------------------------------------------------------------------------------------------------- pictures
def _tiles(arrays: Arrays, issues: Sequence[LabelIssue]) -> dict[str, Tile]:
    """Return path -> picture of images and of those similar to them; prepared pixels where a file may not be opened."""
    wanted = {one.path: one.sha256 for one in issues}
    wanted |= {near.path: near.sha256 for one in issues for near in one.neighbors[:_SIMILAR]}
    allowed = looking.places()
    files = {path: arrays.root / path for path in wanted}
    shown = {path: file for path, file in files.items() if allowed.holds(file) and file.is_file()}
    drawn = dict(
        zip(shown, _drawn(tuple(map(str, shown.values())), tuple(map(shelf.stamp, shown.values()))), strict=True)
    )
    tiles = {}
    for path, sha256 in wanted.items():
        views, reason = drawn.get(path, (("",), ""))
        if not views[0]:
            made = _album(str(arrays.folder), arrays.fingerprint).thumbnail(path, sha256)
            views, reason = (made.image or "",), reason or made.reason
        tiles[path] = Tile(views, Path(path).name, readable(reason))
    return tiles


@st.cache_data(max_entries=20, show_spinner=False)
def _drawn(paths: tuple[str, ...], when: tuple[str, ...]) -> list[Drawn]:
    return draw(paths, _SIDE) if paths else []


@st.cache_resource(max_entries=2, show_spinner=False)
def _album(folder: str, fingerprint: str) -> Album:
    """Return the prepared pixels of a folder; the originals are never opened by it."""
    prepared = Prepared.open(folder)
    return Album(Path(folder) / "outside", prepared.spec, prepared=prepared, room=40_000_000)
