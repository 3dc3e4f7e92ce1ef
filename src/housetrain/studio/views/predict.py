"""The Predict page: classify photos with a trained model."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import time
from pathlib import Path
from typing import Any

import streamlit as st

from housetrain.errors import FolderError
from housetrain.inference.inputs import Listing
from housetrain.inference.model_folder import model_files
from housetrain.report.plots.bars import draw_probabilities
from housetrain.studio import desk, explaining, looking, plot, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.views import Page
from housetrain.studio.widgets import Tile, plain, readable
from housetrain.system import files
from housetrain.system.csv_rows import write_row
from housetrain.training.run import Run

PAGE = Page("Predict", icon="image_search", position=50)
_LARGE = 6  # so many images get a card with bars each
_SHOWN = 60
_MOST = 2000
_MEGABYTES = 30
_LENT_S = 3600.0
_KINDS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"]
_SEEN = {
    "train": "This image was in the training split: a correct prediction is no evidence of accuracy.",
    "validation": "This image was in the validation split, which selected the best epoch.",
    "test": "This image was in the test split.",
}


def show() -> None:
    """Draw the page."""
    widgets.header("Predict", "Classify photos: predicted class, probabilities, and heat maps.")
    run = widgets.choose_run("Model", keep=lambda one: bool(model_files(one.folder)))
    if run is None:
        widgets.empty("No model yet", "Train one first. It is available after its first epoch.", icon="image_search")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Train", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("train")
        return
    with widgets.in_one_sentence():
        st.caption(f"Classes: {plain(', '.join(run.classes))}.")
        clerk = _desk(run)  # starts loading while the user picks a photo
        photos = _ask()
        if photos:
            _show(run, _predict(run, clerk, photos))


def _desk(run: Run) -> desk.Desk:
    when = shelf.stamp(*model_files(run.folder), run.folder / "bundle" / "manifest.json")
    return desk.desk_of(run.folder, stamp=when, work=Settings.of().work)


def _ask() -> list[tuple[str, bytes | Path]]:
    """Return the images to classify: (name, content or path)."""
    how = st.segmented_control(
        "From",
        ["photos", "camera", "path"],
        default="photos",
        required=True,
        key="from",
        format_func=lambda one: {"photos": "Photos", "camera": "Camera", "path": "A path on this computer"}[one],
        label_visibility="collapsed",
    )
    if how == "camera":
        taken = st.camera_input("Take a photo")
        return [("camera.jpg", taken.getvalue())] if taken else []
    if how == "path":
        typed = st.text_input(
            "Photo or folder", placeholder="Cat/1.jpg", help=f"Below {looking.places().root}, or a folder in it."
        )
        return [(path.name, path) for path in _paths(typed)] if typed else []
    given = st.file_uploader(
        "Photos", type=_KINDS, accept_multiple_files=True, max_upload_size=_MEGABYTES, help="One or many."
    )
    return [(one.name, one.getvalue()) for one in given]


def _paths(typed: str) -> list[Path]:
    allowed = looking.places()
    place = allowed.root / typed
    if not allowed.holds(place):
        raise FolderError("The studio may not open that path", expected=f"a photo or folder below {allowed.root}")
    found = [path for path in Listing([place]) if allowed.holds(path)]
    return found[:_MOST]


def _predict(run: Run, clerk: desk.Desk, photos: list[tuple[str, bytes | Path]]) -> list[dict[str, Any]]:
    """Classify the new images; predictions are cached while the page is open."""
    when = shelf.stamp(*model_files(run.folder))
    kept: dict[str, dict[str, Any]] = st.session_state.setdefault("answers", {})
    if len(kept) > 2 * _MOST:
        kept.clear()
    keys = [f"{run.folder}/{when}/{_digest(content)}" for _, content in photos]
    todo = [(key, photo) for key, photo in zip(keys, photos, strict=True) if key not in kept]
    if todo:
        words = "Predicting …" if clerk.ready else "Loading the model …"
        bar = st.progress(0.0, text=words)
        folder = Settings.of().scratch / "photos"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget(folder)
        for number, (key, (name, content)) in enumerate(todo, 1):
            path = _placed(folder, name, content)
            [answer] = clerk.predict([path], top=5)
            kept[key] = {**answer, "name": name, "kept": str(path)}
            bar.progress(number / len(todo), text=f"Predicting {number:,} of {len(todo):,}")
        bar.empty()
    return [kept[key] for key in keys]


def _digest(content: bytes | Path) -> str:
    if isinstance(content, Path):
        return f"{content}/{shelf.stamp(content)}"
    return hashlib.sha256(content).hexdigest()


def _placed(folder: Path, name: str, content: bytes | Path) -> Path:
    if isinstance(content, Path):
        return content
    suffix = "".join(letter for letter in Path(name).suffix[:8].lower() if letter.isalnum() or letter == ".")
    path = folder / f"{_digest(content)[:20]}{suffix}"
    files.write_private(path, content)
    return path


def _forget(folder: Path) -> None:
    """Remove uploaded photos after an hour."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LENT_S:
                path.unlink()


# ------------------------------------------------------------------------------------------------- answers
def _show(run: Run, answers: list[dict[str, Any]]) -> None:
    failed = [one for one in answers if one.get("error")]
    if len(answers) <= _LARGE:
        for number, answer in enumerate(answers):
            _card(run, number, answer)
    else:
        named = len(answers) - len(failed)
        widgets.metrics(
            ("classified", f"{named:,}", "Images with a prediction."),
            ("unreadable", f"{len(failed):,}", "Images that could not be read."),
        )
        widgets.gallery([_tile(one) for one in answers[:_SHOWN]])
        if len(answers) > _SHOWN:
            st.caption(f"and {len(answers) - _SHOWN:,} more in the CSV file")
    st.download_button(
        "Download as CSV",
        _csv(run, answers),
        file_name=f"{run.name}-names.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _card(run: Run, number: int, answer: dict[str, Any]) -> None:
    with st.container(border=True):
        if answer.get("error"):
            st.error(plain(f"{answer['name']} could not be read: {answer['error']}"), icon=":material/broken_image:")
            return
        left, right = st.columns([2, 5], vertical_alignment="center", gap="medium")
        left.image(base64.b64decode(answer["thumbnail"]), width="stretch", alt=readable(answer["name"]))
        with right:
            sure = f"{answer['probability'] * 100:.1f} %"
            st.markdown(f"### {plain(answer['label'])} \n{plain(sure)} · {plain(answer['name'])}")
            top = [(one["label"], float(one["probability"])) for one in answer["top"]]
            plot.show(draw_probabilities(top), key=f"bars-{number}-{answer['name']}")
            if answer.get("unsure"):
                st.info("Unsure: the probability is below the model's threshold.", icon=":material/help:")
            if answer.get("novel"):
                st.warning("Unlike the training images.", icon=":material/help_center:")
            if answer.get("seen") in _SEEN:
                st.warning(_SEEN[answer["seen"]], icon=":material/visibility:")
        explaining.offer(run, Path(answer["kept"]), key=str(number))


def _tile(answer: dict[str, Any]) -> Tile:
    if answer.get("error"):
        return Tile(("",), answer["name"], answer["error"])
    seen = " · in the training split" if answer.get("seen") == "train" else ""
    words = f"{answer['label']} {answer['probability'] * 100:.1f} %{seen}"
    return Tile((f"data:image/jpeg;base64,{answer['thumbnail']}",), words, answer["name"])


def _csv(run: Run, answers: list[dict[str, Any]]) -> bytes:
    table = io.StringIO(newline="")
    columns = ["image", "label", "probability", "margin", "seen_in_training", "error"]
    write_row(table, columns, end="\r\n")
    for one in answers:
        numbers = ["", ""] if one.get("error") else [f"{one['probability']:.6f}", f"{one['margin']:.6f}"]
        cells = [one["name"], one.get("label") or "", *numbers, one.get("seen") or "", one.get("error") or ""]
        write_row(table, cells, end="\r\n")
    return table.getvalue().encode("utf-8", "surrogateescape")
