"""Test: evaluate a model on the test split, opened deliberately and counted."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from housetrain.data.prepare import Prepared
from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import HousetrainError
from housetrain.evaluation.evaluate import OPENINGS
from housetrain.evaluation.evaluation import Evaluation, ImageResult
from housetrain.report.plots import calibration, confusion, coverage
from housetrain.report.thumbnails import Album
from housetrain.studio import explaining, jobs, looking, plot, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.views import Page
from housetrain.studio.widgets import Tile, plain, readable
from housetrain.system import store
from housetrain.system.text import format_count, format_interval, format_percent
from housetrain.training.run import Run

PAGE = Page("Test", icon="fact_check", position=40)
_SHOWN = 24
_IN_CELL = 12


def show() -> None:
    """Draw the page."""
    widgets.header("Test", "Accuracy on images that training and model selection did not use.")
    run = widgets.choose_run("Model", keep=lambda one: one.complete)
    if run is None:
        widgets.empty("No finished model", "Finish a training first.", icon="fact_check")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Train", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("train")
        return
    with widgets.in_one_sentence():
        job = jobs.newest(Settings.of().jobs, target=run.folder, verb="evaluate")
        if job is not None and job.active:
            widgets.watch(job, "Evaluating the test images", stoppable=False)
            return
        if job is not None and job.state != "done":
            widgets.outcome(job)
        found = _kept(run)
        if found is None:
            _offer(run)
        else:
            _result(run, found)
            _confusion(run, found)
            _mistakes(run, found)
            _explain(run, found)
            _calibration(found)
            _classes(found)


def _kept(run: Run) -> Evaluation | None:
    """Return the evaluation of the run's current model."""
    folder = run.folder / "evaluation"
    if not (folder / "evaluation.json").is_file():
        return None
    found = _load(str(folder), shelf.stamp(folder / "evaluation.json"))
    return found if found.opening is None or found.opening.model_sha256 == run.model_sha256 else None


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(folder: str, when: str) -> Evaluation:
    return Evaluation.load(Path(folder))


# ------------------------------------------------------------------------------------------------- open
def _offer(run: Run) -> None:
    openings = store.read_lines(run.folder / OPENINGS)
    images = len(run.split.of("test"))
    if not images:
        command = f"housetrain evaluate {run.name} --on FOLDER"
        widgets.empty("Validation only", f"{NO_TEST}. To test on other images: {command}", icon="lock_open")
        return
    widgets.empty(
        f"{images:,} test images",
        "Testing repeatedly and keeping the best result overestimates accuracy, so each opening is counted.",
        icon="lock",
    )
    with st.container(horizontal_alignment="center"):
        counted = f"Opened {format_count(len(openings), 'time')} for this run." if openings else "Not opened yet."
        st.caption(counted, text_alignment="center")
        if st.button("Open the test split …", type="primary", icon=":material/lock_open:"):
            _ask(str(run.folder), images, len(openings))


@st.dialog("Open the test split?")
def _ask(folder: str, images: int, opened: int) -> None:
    st.markdown(
        f"The model predicts the {images:,} test images. This is opening number **{opened + 1}**, and it is recorded. "
        "Choose all settings before you test."
    )
    with st.container(horizontal=True):
        if st.button("Open it", type="primary", icon=":material/lock_open:"):
            widgets.start(["evaluate", folder], target=Path(folder))
            st.rerun()
        if st.button("Cancel"):
            st.rerun()


# ------------------------------------------------------------------------------------------------- results
def _result(run: Run, found: Evaluation) -> None:
    widgets.metrics(
        ("test accuracy", format_percent(found.accuracy), f"{found.correct:,} of {found.n:,} test images."),
        (
            "95 % interval",
            format_interval(found.accuracy_interval),
            "Wilson interval: how precisely this number of images determines the accuracy.",
        ),
        (
            "majority-class baseline",
            format_percent(found.baseline.accuracy),
            f"Accuracy of always predicting “{readable(found.baseline.label)}”.",
        ),
        (
            "opened",
            f"{found.opening.count if found.opening else 0} ×",
            "How often the test split was opened. After the first time the accuracy is slightly optimistic.",
        ),
    )
    summary = plain(found.summary())
    if found.beats_baseline:
        st.success(summary, icon=":material/verified:")
    else:
        st.warning(summary, icon=":material/warning:")
    report = run.folder / "report.html"
    if report.is_file():
        st.download_button(
            "Download the report",
            report.read_bytes(),
            file_name=f"{run.name}-report.html",
            mime="text/html",
            icon=":material/description:",
            on_click="ignore",
            help="One self-contained page with the data, the training, the test result and its limits.",
        )


def _confusion(run: Run, found: Evaluation) -> None:
    widgets.section(
        "Confusion matrix", "Each row is the true class, each column the prediction. Click a cell to see its images."
    )
    table = confusion.confusion_table(found.classes, found.confusion)
    left, right = st.columns(2, gap="large")
    with left:
        picked = plot.choose(confusion.draw_confusion(table), key=f"confusion-{run.name}", legend=confusion.LEGEND)
    with right:
        cell = _cell(picked, table)
        if cell is None:
            st.caption("Click a cell to see its images, or select it here.")
            cell = _select_cell(found)
        if cell is not None:
            true, predicted = cell
            rows = [row for row in found.rows if (row.label, row.predicted) == (true, predicted)]
            rows.sort(key=lambda row: -row.probability)
            title = "correct" if true == predicted else f"predicted as {predicted}"
            st.markdown(f"**{plain(true)}, {plain(title)}: {len(rows):,}**")
            _show(run, rows[:_IN_CELL])


def _cell(picked: str | None, table: confusion.Confusion) -> tuple[str, str] | None:
    """Return the (true, predicted) classes of a clicked cell, ``None`` for a key that the matrix does not have."""
    true, _, predicted = (picked or "").partition(",")
    try:
        return table.classes[int(true)], table.classes[int(predicted)]
    except (ValueError, IndexError):
        return None


def _select_cell(found: Evaluation) -> tuple[str, str] | None:
    """Let a cell be selected from a list; the most frequent mistake is first."""
    cells = [
        (true, predicted, found.confusion[row][column])
        for row, true in enumerate(found.classes)
        for column, predicted in enumerate(found.classes)
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
    widgets.section("Most confident mistakes", "A confident mistake is often a wrong label.")
    if not found.mistakes:
        st.success("Every test image is classified correctly.", icon=":material/check_circle:")
        return
    _show(run, list(found.mistakes[:_SHOWN]), truth=True)
    wrong = found.n - found.correct
    if wrong > _SHOWN:
        st.caption(f"{_SHOWN} of {wrong:,}")


def _explain(run: Run, found: Evaluation) -> None:
    """Offer the explanation of a test image: the mistakes first, then the most confident predictions."""
    widgets.section("Explain", "What the model made of a test image: heat maps, and the first convolution.")
    root, allowed = run.split.root, looking.places()
    right = sorted((row for row in found.rows if row.label == row.predicted), key=lambda row: -row.probability)
    images = [
        (f"{row.path}: {row.predicted} {format_percent(row.probability)}, labeled {row.label}", root / row.path)
        for row in [*found.mistakes[:_SHOWN], *right[:_SHOWN]]
        if allowed.holds(root / row.path)
    ]
    if images:
        explaining.choose(run, images, key=f"test-{run.name}")
    else:
        st.caption("The original images are outside of the folder that the studio may open.")


def _show(run: Run, rows: list[ImageResult], *, truth: bool = False) -> None:
    album = _album(str(run.folder), shelf.stamp(run.folder / "input.json"))
    tiles = []
    for row in rows:
        made = album.thumbnail(row.path, row.sha256)
        note = f"labeled {row.label} · {row.path}" if truth else row.path
        tiles.append(
            Tile((made.image or "",), f"{row.predicted} {format_percent(row.probability)}", made.reason or note)
        )
    widgets.gallery(tiles, side=120)


@st.cache_resource(max_entries=2, show_spinner=False)
def _album(folder: str, when: str) -> Album:
    """Return thumbnails of a run's test images; originals only where the studio may open them."""
    run = Run(Path(folder))
    try:
        prepared = Prepared.open(Path(run.input_json.get("prepared") or ""))
    except (HousetrainError, OSError):
        prepared = None  # the arrays are deleted; the originals remain
    root = run.split.root
    if not looking.places().holds(root):
        root = Path(folder) / "outside"  # does not exist, so the prepared arrays are shown
    return Album(root, run.spec, prepared=prepared, room=20_000_000)


def _calibration(found: Evaluation) -> None:
    one, two = st.columns(2, gap="large")
    with one:
        widgets.section(
            "Reliability diagram",
            "Accuracy by confidence. In a calibrated model, 80 % of the predictions with confidence 80 % are correct, "
            "and the points lie on the diagonal. Large points are many predictions.",
        )
        table = calibration.reliability_table(found.bins, classes=len(found.classes))
        plot.show(calibration.draw_reliability(table), key="calibration")
        before, temperature = found.calibration_before, found.decision.temperature
        text = calibration.describe_calibration(table, found.calibration, before=before, temperature=temperature)
        st.caption(plain(text))
        covered = coverage.coverage_table(found.rows, found.decision)
        widgets.section("Unsure predictions", "How many are wrong if only the most confident ones are accepted.")
        plot.show(coverage.draw_coverage(covered, found.decision), key="coverage")
        st.caption(plain(coverage.describe_coverage(covered, found.decision)))
    with two:
        widgets.section("Metrics")
        rows = [
            {"metric": "log loss", "value": f"{found.loss:.4f}"},
            {"metric": "ROC-AUC", "value": "–" if found.auc is None else f"{found.auc:.4f}"},
            *(
                {"metric": name, "value": f"{value:.4f} (95 % interval {format_interval(interval)})"}
                for name, value, interval in (
                    ("macro F1", found.macro_f1, found.macro_f1_interval),
                    ("macro recall (balanced accuracy)", found.macro_recall, found.macro_recall_interval),
                )
            ),
            {"metric": "expected calibration error", "value": f"{found.ece:.4f}"},
            *({"metric": f"top-{k} accuracy", "value": format_percent(share)} for k, share in found.top_k.items()),
        ]
        st.dataframe(rows, hide_index=True)


def _classes(found: Evaluation) -> None:
    widgets.section(
        "Metrics by class",
        "Precision: share of the images predicted as the class that belong to it. Recall: share of the images of the "
        "class that are predicted as it. F1: harmonic mean of both.",
    )
    rows = [
        {
            "class": readable(name),
            "images": scores.support,
            "precision": scores.precision,
            "recall": scores.recall,
            "F1": scores.f1,
            **({"PR-AUC": scores.average_precision} if found.imbalanced else {}),
        }
        for name, scores in found.per_class.items()
    ]
    names = ("precision", "recall", "F1", "PR-AUC")
    share = st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent")
    st.dataframe(rows, hide_index=True, column_config=dict.fromkeys(names, share))
