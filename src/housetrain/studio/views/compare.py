"""Compare: many models side by side, ranked by the validation images."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import streamlit as st

from housetrain.errors import RecipeError
from housetrain.report.plots import sweep_plots
from housetrain.studio import forms, jobs, plot, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.shelf import Arrays
from housetrain.studio.views import Page
from housetrain.studio.widgets import plain, readable
from housetrain.sweeps import status
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.leaderboard import Leaderboard, leaderboard
from housetrain.sweeps.results import Row
from housetrain.sweeps.status import Snapshot
from housetrain.system.lock import Lock
from housetrain.system.text import format_duration

PAGE = Page("Compare", icon="leaderboard", position=30)
_EVERY_S = 2.0
_MOST_CURVES = 8
_MOST_EFFECTS = 6


def show() -> None:
    """Draw the page."""
    widgets.header("Compare", "Train many models and compare them by validation loss.")
    work = Settings.of().work
    arrays, sweeps = shelf.prepared_in(work), shelf.sweeps_in(work)
    if not arrays and not sweeps:
        widgets.empty("Nothing to compare", "Prepare a folder of images first.", icon="leaderboard")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Data", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("data")
        return
    if st.session_state.pop("to-sweep", False):
        st.session_state["compare-view"] = "watch"
    names = {"new": "New sweep", "watch": f"Sweeps ({len(sweeps)})"}
    view = widgets.choose_view(names, key="compare-view", default="watch" if sweeps else "new")
    with widgets.in_one_sentence():
        if view == "new":
            _new(arrays)
        else:
            _watch(sweeps)


# ------------------------------------------------------------------------------------------------- new
def _new(arrays: list[Arrays]) -> None:
    if not arrays:
        st.info("Prepare a folder of images on the Data page first.", icon=":material/info:")
        return
    chosen = forms.choose_arrays(arrays)
    st.caption("Each combination is one trial. The default grid has 3 × 3 × 3 models of 10 epochs each.")
    one, two, three = st.columns(3)
    fields = forms.FIELDS
    dense = one.multiselect(fields["dense"].label, [0, 1, 2, 3], [0, 1, 2], key="axis-dense", help=fields["dense"].help)
    nodes = two.multiselect(
        fields["nodes"].label, [8, 16, 32, 64, 128, 256], [32, 64, 128], key="axis-nodes", help=fields["nodes"].help
    )
    conv = three.multiselect(
        fields["conv"].label, [1, 2, 3, 4, 5], [1, 2, 3], key="axis-conv", help=fields["conv"].help
    )
    one, two, three = st.columns(3)
    rates = one.multiselect(
        fields["learning_rate"].label,
        [1e-2, 3e-3, 1e-3, 3e-4, 1e-4],
        [1e-3],
        key="axis-rate",
        format_func=lambda rate: f"{rate:g}",
        help=fields["learning_rate"].help,
    )
    epochs = two.number_input(fields["epochs"].label, 1, 10_000, 10, key="sweep-epochs", help=fields["epochs"].help)
    batch = three.selectbox(
        fields["batch_size"].label, [8, 16, 32, 64, 128, 256], 2, key="sweep-batch", help=fields["batch_size"].help
    )
    halving = st.toggle(
        "Successive halving",
        key="halving",
        help="Stops weak trials early, which saves most epochs.",
    )
    count = len(dense) * len(nodes) * len(conv) * len(rates)
    if not count:
        st.info("Choose at least one value of each.", icon=":material/info:")
        return
    axes: dict[str, Any] = {"conv": conv, "nodes": nodes, "dense": dense}
    settings: list[str] = []
    if len(rates) > 1:
        settings = ["--set", f"learning_rate={','.join(f'{rate:g}' for rate in rates)}"]
    else:
        settings = ["--set", f"learning_rate={rates[0]:g}"]
    Grid(model="cnn", epochs=int(epochs), batch_size=batch, **axes)  # raises before anything starts
    words = f"Train {count} {'model' if count == 1 else 'models'}"
    if st.button(words, type="primary", icon=":material/play_arrow:"):
        words_: list[str | Path] = ["sweep", chosen.folder, "--epochs", str(epochs), "--batch-size", str(batch)]
        for name, values in axes.items():
            words_ += [f"--{name}", ",".join(map(str, sorted(values)))]
        words_ += settings + (["--halving"] if halving else [])
        target = _target(chosen, words_)
        widgets.start([*words_, "--output", target], target=target)
        st.session_state["sweep"] = target.name
        st.session_state["sweep-begun"] = target.name
        st.session_state["to-sweep"] = True
        st.rerun()


def _target(arrays: Arrays, words: list[str | Path]) -> Path:
    """Return the folder of the sweep; the same settings give the same folder, so that it is resumed."""
    key = hashlib.sha256(repr([arrays.fingerprint, *map(str, words[2:])]).encode()).hexdigest()[:6]
    return Settings.of().work / "sweeps" / f"{arrays.name}-{key}"


# ------------------------------------------------------------------------------------------------- watch
def _watch(sweeps: list[Path]) -> None:
    settings = Settings.of()
    begun = st.session_state.get("sweep-begun")
    if begun and not (settings.work / "sweeps" / begun / "sweep.json").is_file():
        job = jobs.newest(settings.jobs, target=settings.work / "sweeps" / begun)
        if job is not None and job.active:
            _wait(settings.work / "sweeps" / begun, job)
            return
        widgets.outcome(job)
    st.session_state.pop("sweep-begun", None)
    if not sweeps:
        widgets.empty("No sweep yet", "Choose New sweep above.", icon="leaderboard")
        return
    names = {folder.name: folder for folder in sweeps}
    if st.session_state.get("sweep") not in names:
        st.session_state.pop("sweep", None)
    name = st.selectbox("Sweep", list(names), key="sweep", bind="query-params", format_func=readable)
    folder = names.get(name) or sweeps[0]
    running, board = Lock.held(folder), leaderboard(folder)

    @st.fragment(run_every=_EVERY_S if running else None, key=f"sweep-{folder.name}")
    def panel() -> None:
        with widgets.in_one_sentence():
            _panel(folder, running=running)
        if running and not Lock.held(folder):
            st.rerun()

    panel()
    with widgets.in_one_sentence():
        _after(board, running=running)


def _wait(folder: Path, job: jobs.Job) -> None:
    @st.fragment(run_every=0.5)
    def wait() -> None:
        if (folder / "sweep.json").is_file() or not job.active:
            st.rerun()
        st.progress(0.0, text="Starting …")

    wait()


def _panel(folder: Path, *, running: bool) -> None:
    snapshot = status.look(folder)
    board = snapshot.board
    if running:
        _progress(folder, snapshot)
    elif board.complete:
        st.success(plain(board.summary()), icon=":material/check_circle:")
    else:
        st.info("Not finished. Resume continues with the remaining trials.", icon=":material/pause_circle:")
        job = jobs.newest(Settings.of().jobs, target=folder, verb="sweep")
        if job is not None and job.state in ("failed", "killed"):
            st.error(plain(job.error), icon=":material/error:")
    _leaderboard(snapshot)
    _curves(folder, board)
    ranked = board.ranked
    found = sweep_plots.factors(ranked)
    if len(ranked) >= 2 and found:
        widgets.section("Parallel coordinates", "Each line is a model, from its settings to its validation loss.")
        plot.show(sweep_plots.draw_parallel(ranked, found), key="parallel", legend=sweep_plots.PARALLEL_LEGEND)
        widgets.section(
            "Effect of each setting",
            "Validation loss of all models by one setting at a time; the line is the mean.",
        )
        losses = [float(row.val_loss) for row in ranked if row.val_loss is not None]
        places = st.columns(min(3, len(found)))
        for number, factor in enumerate(found[:_MOST_EFFECTS]):
            with places[number % len(places)]:
                drawing = sweep_plots.draw_factor(factor, low=min(losses), high=max(losses))
                plot.show(drawing, key=f"effect-{factor.name}")


def _progress(folder: Path, snapshot: Snapshot) -> None:
    left = f", {format_duration(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
    share = snapshot.done + sum((one.epoch - 1 + one.share) / one.epochs for one in snapshot.live)
    st.progress(
        min(1.0, share / max(1, snapshot.total)), text=f"{snapshot.done} of {snapshot.total} trials finished{left}"
    )
    for one in snapshot.live:
        st.caption(f"{plain(one.name)}: epoch {one.epoch} of {one.epochs}, {one.images_per_s:,.0f} images/s")
    if st.button("Stop", icon=":material/stop:", key=f"stop-{folder.name}", help="Finished trials are kept."):
        jobs.stop_run(folder)


def _leaderboard(snapshot: Snapshot) -> None:
    widgets.section(
        "Leaderboard",
        "Ranked by validation loss; lower is better. ± is one standard error. A star marks models within one standard "
        "error of the best: their order may be due to chance.",
    )
    live = {one.name for one in snapshot.live}
    rows = [_row(row, live=bool(live & set(row.runs))) for row in snapshot.board.rows]
    st.dataframe(
        rows,
        hide_index=True,
        height=min(420, 35 * (len(rows) + 1) + 3),
        column_config={
            "accuracy": st.column_config.NumberColumn(format="percent"),
            "loss": st.column_config.NumberColumn(format="%.4f"),
            "±": st.column_config.NumberColumn(format="%.4f"),
            "parameters": st.column_config.NumberColumn(format="localized"),
            "seconds": st.column_config.NumberColumn(format="%.0f"),
            "images/s": st.column_config.NumberColumn(format="%.0f"),
        },
    )


def _row(row: Row, *, live: bool) -> dict[str, Any]:
    return {
        "": "" if row.rank is None else f"{row.rank}{'*' if row.tied else ''}",
        "model": readable(row.name),
        "state": "running" if live else row.state,
        "loss": row.val_loss,
        "±": row.val_loss_error,
        "accuracy": row.val_accuracy,
        "epochs": f"{row.epochs}/{row.planned}",
        "parameters": row.parameters,
        "seconds": row.seconds,
        "images/s": row.images_per_s,
        "reason": readable(row.reason),
    }


def _curves(folder: Path, board: Leaderboard) -> None:
    rows = {row.name: row for row in board.rows if row.epochs and row.runs}
    if not rows:
        return
    widgets.section("Curves", "Validation loss by epoch.")
    chosen = st.multiselect(
        "Models",
        list(rows),
        default=[row.name for row in board.ranked[:3]] or list(rows)[:3],
        key=f"curves-of-{folder.name}",
        max_selections=_MOST_CURVES,
        format_func=readable,
        label_visibility="collapsed",
    )
    shown = [rows[name] for name in chosen if name in rows]
    found = sweep_plots.best_curves(shown, {row.name: board.run_of(row).history for row in shown})
    if found:
        plot.show(sweep_plots.draw_best_curves(found), key="best-curves", legend=sweep_plots.curves_legend(found))


# ------------------------------------------------------------------------------------------------- after
def _after(board: Leaderboard, *, running: bool) -> None:
    folder = board.folder
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if board.ranked:
            names = [row.name for row in board.ranked]
            small = board.smallest_within_one_se.name
            chosen = st.selectbox(
                "Model",
                names,
                format_func=lambda name: readable(f"{name} (smallest within 1 SE)" if name == small else name),
                help="The model to test, use or export.",
                width=420,
            )
            row = next(row for row in board.ranked if row.name == chosen)
            if st.button("Test it", type="primary", icon=":material/fact_check:"):
                widgets.go_to("test", board.run_of(row))
            if st.button("Predict images", icon=":material/image_search:"):
                widgets.go_to("predict", board.run_of(row))
        if not running and not board.complete and st.button("Resume", icon=":material/play_arrow:"):
            _resume(folder)
    _tensorboard(folder)


def _resume(folder: Path) -> None:
    job = jobs.newest(Settings.of().jobs, target=folder, verb="sweep")
    if job is None:
        raise RecipeError("This sweep was started in a terminal", do="rerun the same command there to resume it")
    widgets.start(job.words, target=folder)
    st.rerun()


def _tensorboard(folder: Path) -> None:
    """Draw a button that starts TensorBoard; once it is up, the link to it."""
    target = folder / "board"  # names the job; there is no such folder
    job = jobs.newest(Settings.of().jobs, target=target, verb="board")
    if job is not None and job.active:
        port = int(job.words[job.words.index("--port") + 1])
        if _answers(port):
            st.link_button("Open TensorBoard", f"http://127.0.0.1:{port}", icon=":material/open_in_new:")
        else:
            _starting(port)
        return
    if job is not None and job.state == "failed":
        st.error(plain(job.error), icon=":material/error:")
    if st.button("TensorBoard", icon=":material/monitoring:", help="Opens TensorBoard with all curves on a new page."):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = str(probe.getsockname()[1])
        widgets.start(["board", folder, "--port", free], target=target)
        st.rerun()


@st.fragment(run_every=1.0)
def _starting(port: int) -> None:
    if _answers(port):
        st.rerun()
    st.button("TensorBoard is starting …", icon=":material/hourglass_top:", disabled=True)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
