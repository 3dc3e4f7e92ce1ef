"""Test: how good a model is on images it has never seen, opened on purpose and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from housetrain.data.prepare import Prepared
from housetrain.errors import HousetrainError
from housetrain.evaluation.evaluate import OPENINGS
from housetrain.evaluation.evaluation import Answer, Evaluation
from housetrain.report.thumbnails import Album
from housetrain.studio import charts, jobs, looking, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.views import Page
from housetrain.studio.widgets import Tile, plain, readable
from housetrain.system import store
from housetrain.training.run import Run

PAGE = Page("Test", icon="fact_check", position=40)
_SHOWN = 24


def show() -> None:
    """Draw the page."""
    widgets.header("Test", "How good is it on images it has never seen?")
    run = widgets.choose_run("Model", keep=lambda one: one.complete)
    if run is None:
        widgets.empty("Nothing to test yet", "A training has to be finished first.", icon="fact_check")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Train", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("train")
        return
    with widgets.in_one_sentence():
        job = jobs.newest(Settings.of().jobs, target=run.folder, verb="evaluate")
        if job is not None and job.active:
            widgets.watch(job, "Naming the test images", stoppable=False)
            return
        if job is not None and job.state != "done":
            widgets.outcome(job)
        found = _kept(run)
        if found is None:
            _offer(run)
        else:
            _verdict(run, found)
            _confusion(run, found)
            _mistakes(run, found)
            _calibration(found)
            _classes(found)


def _kept(run: Run) -> Evaluation | None:
    """Return the evaluation of the run's present weights."""
    folder = run.folder / "evaluation"
    if not (folder / "evaluation.json").is_file():
        return None
    found = _load(str(folder), shelf.stamp(folder / "evaluation.json"))
    weights = _weights(str(run.folder / "model.keras"), shelf.stamp(run.folder / "model.keras"))
    return found if found.weights in ("", weights) else None


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(folder: str, when: str) -> Evaluation:
    return Evaluation.load(Path(folder))


@st.cache_data(max_entries=16, show_spinner=False)
def _weights(model: str, when: str) -> str:
    return store.file_sha256(Path(model))


# ------------------------------------------------------------------------------------------------- open
def _offer(run: Run) -> None:
    openings = store.read_lines(run.folder / OPENINGS)
    images = len(run.split.of("test"))
    widgets.empty(
        f"{images:,} test images are set aside",
        "They tell the truth once. Whoever looks often and picks the best result fools himself, so each look is "
        "counted.",
        icon="lock",
    )
    with st.container(horizontal_alignment="center"):
        counted = f"Opened {len(openings)} times so far for this run." if openings else "Not opened yet for this run."
        st.caption(counted, text_alignment="center")
        if st.button("Open the test …", type="primary", icon=":material/lock_open:"):
            _ask(str(run.folder), images, len(openings))


@st.dialog("Open the test?")
def _ask(folder: str, images: int, opened: int) -> None:
    st.markdown(
        f"The model will name the {images:,} images that were set aside. This will be opening number "
        f"**{opened + 1}**, and it is written down. Do it when you are done with choosing settings."
    )
    with st.container(horizontal=True):
        if st.button("Open it", type="primary", icon=":material/lock_open:"):
            widgets.start(["evaluate", folder], target=Path(folder))
            st.rerun()
        if st.button("Not yet"):
            st.rerun()


# ------------------------------------------------------------------------------------------------- results
def _verdict(run: Run, found: Evaluation) -> None:
    low, high = found.accuracy_interval
    widgets.metrics(
        (
            "right",
            f"{found.accuracy * 100:.1f} %",
            f"{found.correct:,} of {found.n:,} test images got their own name.",
        ),
        (
            "95 % interval",
            f"{low * 100:.1f} – {high * 100:.1f} %",
            "With as many other images the share would lie in here, 19 times out of 20.",
        ),
        (
            "guessing",
            f"{found.baseline.accuracy * 100:.1f} %",
            f"What always saying “{readable(found.baseline.label)}” would get.",
        ),
        (
            "opened",
            f"{found.opened} ×",
            "How often these test images were looked at. After the first time the number flatters a little.",
        ),
    )
    words = plain(found.in_words())
    if found.beats_baseline:
        st.success(words, icon=":material/verified:")
    else:
        st.warning(words, icon=":material/warning:")
    report = run.folder / "report.html"
    if report.is_file():
        st.download_button(
            "Download the report",
            report.read_bytes(),
            file_name=f"{run.name}-report.html",
            mime="text/html",
            icon=":material/description:",
            on_click="ignore",
            help="One page that tells a colleague everything.",
        )


def _confusion(run: Run, found: Evaluation) -> None:
    widgets.section(
        "What is taken for what", "Each row is what the images are; each column what the model said. Click on a cell."
    )
    left, right = st.columns([5, 6], gap="large")
    with left:
        picked = widgets.chart(
            charts.confusion([readable(name) for name in found.classes], found.confusion),
            key=f"confusion-{run.name}",
            alt="Confusion matrix: click on a cell to see its images.",
            on_select="rerun",
        )
    cell = _cell(picked, found)
    with right:
        if cell is None:
            st.caption("Click on a cell to see its images, or choose it here.")
            cell = _by_hand(found)
        if cell is not None:
            true, said = cell
            rows = [row for row in found.rows if (row.label, row.predicted) == (true, said)]
            rows.sort(key=lambda row: -row.probability)
            right_words = "named rightly" if true == said else f"taken for {said}"
            st.markdown(f"**{plain(true)}, {plain(right_words)}: {len(rows):,}**")
            _show(run, rows[:12])


def _cell(picked: Any, found: Evaluation) -> tuple[str, str] | None:
    try:
        [point] = picked["selection"]["cell"]
        names = {readable(name): name for name in found.classes}
        return names[point["true"]], names[point["said"]]
    except (KeyError, TypeError, ValueError):
        return None


def _by_hand(found: Evaluation) -> tuple[str, str] | None:
    """Let a cell be chosen with the keyboard; the commonest mistake to begin with."""
    cells = [
        (true, said, found.confusion[row][column])
        for row, true in enumerate(found.classes)
        for column, said in enumerate(found.classes)
        if found.confusion[row][column]
    ]
    cells.sort(key=lambda one: (one[0] == one[1], -one[2]))
    if not cells:
        return None
    number = st.selectbox(
        "Cell",
        range(len(cells)),
        format_func=lambda one: readable(f"{cells[one][0]} → {cells[one][1]} ({cells[one][2]:,})"),
        label_visibility="collapsed",
    )
    return cells[number][:2]


def _mistakes(run: Run, found: Evaluation) -> None:
    widgets.section("The worst mistakes", "Where the model was most sure and wrong. Often the label is what is wrong.")
    if not found.mistakes:
        st.success("It made none.", icon=":material/check_circle:")
        return
    _show(run, list(found.mistakes[:_SHOWN]), truth=True)
    wrong = found.n - found.correct
    if wrong > _SHOWN:
        st.caption(f"{_SHOWN} of {wrong:,}")


def _show(run: Run, rows: list[Answer], *, truth: bool = False) -> None:
    album = _album(str(run.folder), shelf.stamp(run.folder / "input.json"))
    tiles = []
    for row in rows:
        made = album.thumbnail(row.path, row.sha256)
        words = f"{row.predicted} {row.probability * 100:.1f} %"
        note = f"is {row.label} · {row.path}" if truth else row.path
        tiles.append(Tile((made.image or "",), words, made.reason or note))
    widgets.gallery(tiles, side=120)


@st.cache_resource(max_entries=2, show_spinner=False)
def _album(folder: str, when: str) -> Album:
    """Return small images of a run's test images; the originals only where the studio may open them."""
    run = Run(Path(folder))
    prepared = None
    try:
        prepared = Prepared.open(Path(run.input_json.get("prepared") or ""))
    except (HousetrainError, OSError):
        prepared = None  # the arrays are gone: the originals will do
    root = run.split.root
    if not looking.places().holds(root):
        root = Path(folder) / "outside"  # nothing there: what the model saw stands in
    return Album(root, run.spec, prepared=prepared, room=20_000_000)


def _calibration(found: Evaluation) -> None:
    one, two = st.columns(2, gap="large")
    with one:
        widgets.section(
            "Does it know how sure it is?",
            "Of the answers given with 80 % certainty, 80 % should be right: then the points lie on the dashed line. "
            "Large points stand for many answers.",
        )
        widgets.chart(charts.calibration(found.bins), key="calibration", alt="Share that is right by certainty.")
        st.caption(f"On average its certainty is {found.ece * 100:.1f} percentage points off.")
    with two:
        widgets.section("In numbers")
        rows = [
            {"measure": "log loss", "value": f"{found.loss:.4f}"},
            {"measure": "area under the ROC curve", "value": "–" if found.auc is None else f"{found.auc:.4f}"},
            {"measure": "mean F1 over classes", "value": f"{found.macro_f1:.4f}"},
            {"measure": "mean recall over classes", "value": f"{found.macro_recall:.4f}"},
            {"measure": "calibration error", "value": f"{found.ece:.4f}"},
            *({"measure": f"right within the first {k}", "value": f"{share:.1%}"} for k, share in found.top_k.items()),
        ]
        st.dataframe(rows, hide_index=True)


def _classes(found: Evaluation) -> None:
    widgets.section(
        "Class by class",
        "Precision: of the images given this name, how many are of it. Recall: of the images of this class, how "
        "many were found. F1 is the middle of both.",
    )
    rows = [
        {
            "class": readable(name),
            "images": scores.support,
            "precision": scores.precision,
            "recall": scores.recall,
            "F1": scores.f1,
        }
        for name, scores in found.per_class.items()
    ]
    share = st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent")
    st.dataframe(rows, hide_index=True, column_config={"precision": share, "recall": share, "F1": share})
