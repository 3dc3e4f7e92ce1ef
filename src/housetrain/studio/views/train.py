"""The Train page: choose the settings; start, follow, stop and resume trainings."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from housetrain import workflow
from housetrain.data.prepare import Prepared
from housetrain.errors import IncompleteError
from housetrain.models.cost import cost
from housetrain.models.nets import check_feasible, infeasible, layers_of
from housetrain.models.recipe import Recipe
from housetrain.report.plots.curves import LEGEND, curve_table, draw_curves
from housetrain.report.plots.diagram import draw_model, slab_table
from housetrain.studio import forms, jobs, plot, shelf, widgets
from housetrain.studio.jobs import Job
from housetrain.studio.settings import Settings
from housetrain.studio.shelf import Arrays
from housetrain.studio.views import Page
from housetrain.studio.widgets import plain, readable
from housetrain.system import store
from housetrain.system.text import format_duration
from housetrain.training.overfitting import overfitting, overfitting_text
from housetrain.training.run import Run

PAGE = Page("Train", icon="model_training", position=20)
_BALANCES = {"weights": "class weights", "trim": "larger classes undersampled", "none": "not compensated"}
_EVERY_S = 1.0
_PATIENCE_S = 20.0


def show() -> None:
    """Draw the page."""
    widgets.header("Train", "Choose a model and train it. Training continues when you close this page.")
    work = Settings.of().work
    runs = shelf.runs_in(work)
    arrays = shelf.prepared_in(work)
    if not runs and not arrays:
        widgets.empty("No prepared images yet", "Prepare a folder of images first.", icon="model_training")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Data", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("data")
        return
    if "choose-arrays" in st.session_state:
        st.session_state["view"] = "new"
    if st.session_state.pop("to-watch", False) or "choose-run" in st.session_state:
        st.session_state["view"] = "watch"
    busy = any(run.state == "running" for run in runs)
    names = {"new": "New training", "watch": f"Trainings ({len(runs)})"}
    view = widgets.choose_view(names, key="view", default="watch" if busy else "new")
    with widgets.in_one_sentence():
        if view == "watch":
            _watch()
        else:
            _new(arrays)


# ------------------------------------------------------------------------------------------------- new
def _new(arrays: list[Arrays]) -> None:
    if not arrays:
        st.info("Prepare a folder of images on the Data page first.", icon=":material/info:")
        return
    chosen = forms.choose_arrays(arrays)
    left, right = st.columns([6, 5], gap="large")
    with left:
        recipe = forms.recipe(chosen)
    if recipe is None:
        return
    feasible = not infeasible(recipe, chosen.spec)
    with right:
        if feasible:
            _numbers(recipe, chosen)
        _train(recipe, chosen)
    if feasible:
        widgets.section("Architecture", "The layers between the input image and the class probabilities.")
        slabs = slab_table(layers_of(recipe, chosen.spec, len(chosen.classes)))
        plot.show(str(draw_model(slabs, chosen.classes)), key="model-diagram")


def _numbers(recipe: Recipe, arrays: Arrays) -> None:
    widgets.section("Model size")
    known = cost(recipe, arrays.spec, len(arrays.classes))
    balance = _balance(str(arrays.folder), arrays.fingerprint)
    widgets.metrics(
        (
            "parameters",
            f"{known.parameters:,}",
            "Trainable weights. More parameters can learn more, but need more images and more time.",
        ),
        (
            "steps per epoch",
            f"{-(-arrays.total('train') // recipe.batch_size):,}",
            "An epoch is one pass over all training images; each step updates the weights once.",
        ),
        (
            "compute per image",
            f"{known.flops / 1e6:,.0f} MFLOP" if known.flops is not None else "–",
            "Millions of floating-point operations per prediction.",
        ),
    )
    st.caption(f"Class imbalance: {_BALANCES.get(balance, balance)}, as chosen when the images were prepared.")


@st.cache_data(max_entries=8, show_spinner=False)
def _balance(folder: str, fingerprint: str) -> str:
    return Prepared.open(Path(folder)).balance


def _train(recipe: Recipe, arrays: Arrays) -> None:
    others = [run for run in shelf.runs_in(Settings.of().work, trials=True) if run.state == "running"]
    if others:
        st.caption(f"Trainings running: {len(others)}. In parallel, each is slower.")
    with widgets.in_one_sentence():
        check_feasible(recipe, arrays.spec)
        if st.button("Train", type="primary", icon=":material/play_arrow:", width="stretch"):
            folder = begin(recipe, arrays)
            st.session_state["begun"] = folder.name
            st.session_state["choose-run"] = shelf.label_of(Run(folder), Settings.of().work)
            st.session_state["to-watch"] = True
            st.rerun()


def begin(recipe: Recipe, arrays: Arrays) -> Path:
    """Start a training, or resume it if it was started before.

    Raises:
        HousetrainError: It cannot be started.
    """
    settings = Settings.of()
    prepared = Prepared.open(arrays.folder)
    name = f"{arrays.folder.name}-{recipe.name}"
    folder = settings.work / workflow.free_run_folder(Path(name), prepared, recipe)
    key = hashlib.sha256(str(recipe.to_json()).encode()).hexdigest()[:16]
    file = settings.scratch / "recipes" / f"{key}.json"
    store.write_json_atomic(file, recipe.to_json(), durable=False)
    words: list[str | Path] = ["train", arrays.folder, "--recipe", file, "--output", folder]
    jobs.start(settings.jobs, words, target=folder, work=settings.work)
    return folder


# ------------------------------------------------------------------------------------------------- watch
def _watch() -> None:
    settings = Settings.of()
    starting = st.session_state.get("begun")
    folder = settings.work / "runs" / str(starting)
    if starting and not (folder / "recipe.json").is_file() and _starting(folder):
        return
    st.session_state.pop("begun", None)
    run = widgets.choose_run("Training", trials=False)
    if run is None:
        widgets.empty("No training yet", "Choose New training above.", icon="show_chart")
        return
    _live(run)


def _starting(folder: Path) -> bool:
    """Show that a training is starting; return whether there is nothing else to show yet."""
    job = jobs.newest(Settings.of().jobs, target=folder)
    if job is None:
        return False
    if job.active:

        @st.fragment(run_every=0.5)
        def wait() -> None:
            if (folder / "recipe.json").is_file() or not job.active:
                st.rerun()
            st.progress(0.0, text="Starting …")

        wait()
        return True
    widgets.outcome(job)
    return job.state != "done"


def _live(run: Run) -> None:
    """Show the state of a run and the possible next steps; redrawn every second while it runs."""
    busy = run.state == "running" or _job_active(run)

    @st.fragment(run_every=_EVERY_S if busy else None, key=f"live-{run.folder.name}")
    def panel() -> None:
        state = run.state  # read once, so that the status and the buttons agree
        with widgets.in_one_sentence():
            _panel(run, state)
        _after(run, state)
        if busy and not (run.state == "running" or _job_active(run)):
            st.rerun()  # the rest of the page still shows it as running

    panel()


def _job_active(run: Run) -> bool:
    job = jobs.newest(Settings.of().jobs, target=run.folder, verb="train")
    return job is not None and job.active


def _panel(run: Run, state: str) -> None:
    history, progress = run.history, run.progress or {}
    recipe = run.recipe_json
    _status(run, state, progress, history)
    last = history[-1] if history else {}
    best = min((row for row in history if row.get("val_loss") is not None), key=lambda row: row["val_loss"], default={})
    result = run.result or {}
    speed = progress.get("images_per_s") if state == "running" else last.get("images_per_s")
    left = progress.get("eta_s")
    took = result.get("seconds") or sum(float(row["seconds"]) for row in history)
    widgets.metrics(
        (
            "validation accuracy",
            _percent(best.get("val_accuracy")),
            "Fraction of the validation images classified correctly at the best epoch so far. They are not trained on.",
        ),
        (
            "validation loss",
            _loss(best.get("val_loss")),
            "Cross-entropy on the validation images; lower is better. The weights of the epoch with the lowest value "
            "are kept.",
        ),
        ("speed", f"{speed:,.0f} /s" if speed else "–", "Training images per second."),
        ("time left", format_duration(left), "Upper bound: training may stop earlier.")
        if state == "running" and left is not None
        else ("time", format_duration(took) if took else "–", "Training time."),
    )
    if history:
        table = curve_table(
            history, best=result.get("best_epoch", result.get("best_step")), overfitting=overfitting(history)
        )
        one, two = st.columns(2)
        names: tuple[Literal["loss", "accuracy"], ...] = ("loss", "accuracy")
        for place, name in zip((one, two), names, strict=True):
            with place:
                st.markdown(f"**{name.capitalize()}**")
                drawing = draw_curves(
                    table, name, epochs=int(recipe["epochs"]) if state == "running" and table.unit == "epoch" else 0
                )
                plot.show(drawing, key=f"curves-{name}-{run.folder.name}", legend=LEGEND)
        if words := overfitting_text(history):
            st.warning(plain(words), icon=":material/trending_up:")
    elif state == "running":
        st.caption("The curves appear after the first epoch.")


def _status(run: Run, state: str, progress: dict[str, Any], history: list[dict[str, Any]]) -> None:
    epochs = int(run.recipe_json["epochs"])
    job = jobs.newest(Settings.of().jobs, target=run.folder, verb="train")
    if state == "running":
        epoch, step, steps = progress.get("epoch", 1), progress.get("step") or 0, progress.get("steps") or 0
        phase, share = str(progress.get("phase")), step / steps if steps else 0.0
        if phase == "features":
            st.progress(min(1.0, share), text=f"Computing features, {step:,} of {steps:,}")
        elif phase == "path":
            st.progress(min(1.0, share), text=f"Regularization strength {step} of {steps}")
        else:
            words = {"train": f"batch {step:,} of {steps:,}", "validate": "validating"}
            text = f"Epoch {epoch} of {epochs}, {words.get(phase, 'starting')}"
            st.progress(min(1.0, (len(history) + share) / epochs), text=text)
        _stopping(run)
    elif job is not None and job.active:
        st.progress(0.0, text="Starting …")
    elif state == "complete":
        result = run.result or {}
        text = f"Finished: {result.get('epochs_run', len(history))} of {epochs} epochs"
        if "steps_run" in result:
            text = f"Finished: {result['steps_run']} regularization strengths"
        text += f", {result['reason']}" if result.get("reason") not in (None, "all epochs") else ""
        best = f". The weights of the best epoch ({result['best_epoch']}) are kept." if "best_epoch" in result else "."
        best = f". The best L2 penalty is {result['l2']:g}." if "l2" in result else best
        st.success(plain(text + best), icon=":material/check_circle:")
    elif state == "failed":
        st.error(plain(f"Training failed: {run.failure}. The last good weights are kept."))
    else:
        _interrupted(job, progress, done=len(history), epochs=epochs)


def _interrupted(job: Job | None, progress: dict[str, Any], *, done: int, epochs: int) -> None:
    kept = f"{done} of {epochs} epochs are kept; Resume continues from there."
    if job is not None and job.state == "failed":
        st.error(plain(job.error), icon=":material/error:")
    elif progress.get("phase") == "stopped":
        st.info(f"Stopped. {kept}", icon=":material/pause_circle:")
    else:
        words = "The training process ended unexpectedly: it was killed, or the machine shut down."
        st.warning(f"{words} {kept}", icon=":material/power_off:")


def _stopping(run: Run) -> None:
    """Draw Stop, and some time after it was clicked, Stop now."""
    key = f"asked-{run.folder.name}"
    since = st.session_state.get(key)
    if since is None or run.state != "running":
        st.session_state.pop(key, None)
        if st.button("Stop", icon=":material/stop:", key=f"stop-{run.folder.name}", help="The weights are kept."):
            jobs.stop_run(run.folder)
            st.session_state[key] = time.time()
            st.rerun(scope="fragment")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Stopping after the current step …")
        if time.time() - since > _PATIENCE_S and st.button(
            "Stop now", icon=":material/dangerous:", help="Loses the current epoch only."
        ):
            jobs.stop_run(run.folder, at_once=True)


def _after(run: Run, state: str) -> None:
    """Draw the possible next steps."""
    if state == "running" or (state != "complete" and _job_active(run)):
        return
    with st.container(horizontal=True):
        if state in ("stopped", "failed", "new") and st.button("Resume", type="primary", icon=":material/play_arrow:"):
            with widgets.in_one_sentence():
                resume(run)
                st.rerun()
        if state == "complete":
            if st.button("Test", type="primary", icon=":material/fact_check:"):
                widgets.go_to("test", run)
            if st.button("Predict", icon=":material/image_search:"):
                widgets.go_to("predict", run)
    with st.expander("Settings of this training"):
        recipe = run.recipe_json
        rows = [
            {"setting": name.replace("_", " "), "value": "–" if value is None else readable(value)}
            for name, value in recipe.items()
        ]
        st.dataframe(rows, hide_index=True, height=300)


def resume(run: Run) -> None:
    """Resume a training.

    Raises:
        IncompleteError: The run does not name its prepared images.
    """
    settings = Settings.of()
    prepared = run.input_json.get("prepared") if (run.folder / "input.json").is_file() else None
    if not prepared:
        raise IncompleteError("The run does not name its prepared images", do="start a new training")
    words: list[str | Path] = ["train", str(prepared), "--recipe", run.folder / "recipe.json", "--output", run.folder]
    jobs.start(settings.jobs, words, target=run.folder, work=settings.work)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
