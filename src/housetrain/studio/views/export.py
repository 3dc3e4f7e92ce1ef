"""The Export page: bundles to download, in several model formats."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, cast

import streamlit as st

from housetrain.inference import verify
from housetrain.inference.formats import FORMATS
from housetrain.inference.model_folder import model_files
from housetrain.studio import jobs, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.views import Page
from housetrain.studio.widgets import plain, readable
from housetrain.system import store
from housetrain.system.files import inside
from housetrain.system.text import format_percent
from housetrain.training.run import Run

PAGE = Page("Export", icon="package_2", position=60)


def show() -> None:
    """Draw the page."""
    widgets.header("Export", "Download the model as a bundle: everything needed to use and verify it, in one folder.")
    run = widgets.choose_run("Model", keep=lambda one: bool(model_files(one.folder)))
    if run is None:
        widgets.empty("No model yet", "Train one first.", icon="package_2")
        with st.container(horizontal_alignment="center"):
            if st.button("Go to Train", type="primary", icon=":material/arrow_back:"):
                widgets.go_to("train")
        return
    with widgets.in_one_sentence():
        job = jobs.newest(Settings.of().jobs, target=run.folder / "bundle", verb="export")
        if job is not None and job.active:
            widgets.watch(job, "Exporting and verifying the bundle", stoppable=False)
            return
        if job is not None and job.state != "done":
            widgets.outcome(job)
        bundle = inside(run.folder, "bundle")
        about = _about(bundle)
        fresh = about is not None and _is_of(about, run)
        if about is None:
            widgets.empty(
                "Not exported yet", "Exporting and verifying the bundle takes a few seconds.", icon="package_2"
            )
        elif not fresh:
            st.warning("The bundle holds an earlier model of this run: export it again.", icon=":material/history:")
        if not fresh:
            with st.container(horizontal_alignment="center" if about is None else "left"):
                if st.button("Export the bundle", type="primary", icon=":material/package_2:"):
                    widgets.start(["export", run.folder], target=bundle)
                    st.rerun()
            return
        _bundle(run, bundle, about or {})
        _others(run)


def _others(run: Run) -> None:
    """Draw the other formats: a comparison of those that exist, and a form to export another."""
    widgets.section(
        "Other formats",
        "For phones, other languages and other libraries. Each is verified against the Keras model first.",
    )
    rows: list[dict[str, Any]] = []
    folders: list[Path] = []
    for manifest in sorted((run.folder / "exports").glob(f"*/{store.MANIFEST}")):
        inside(run.folder, manifest.relative_to(run.folder).as_posix())
        about = _about(manifest.parent) or {}
        files = store.read_json(manifest)["files"]
        model = sum(int(facts["bytes"]) for name, facts in files.items() if name.startswith(("model", "saved_model")))
        rows += [_compared(engine, one, model) for engine, one in (about.get("parity") or {}).items()]
        folders.append(manifest.parent)
    if rows:
        st.dataframe(rows, hide_index=True)
    one, two = st.columns(2)
    to = one.selectbox("Format", [name for name in FORMATS if name != "keras"], key="export-format")
    precision = two.selectbox(
        "Precision",
        FORMATS[to].precisions,
        key=f"export-{to}",
        help="fp32 is exact. fp16 halves the file size. bf16 and int8 are faster on processors that support them.",
    )
    target = run.folder / "exports" / f"{to}-{precision}"
    job = jobs.newest(Settings.of().jobs, target=target, verb="export")
    if job is not None and job.active:
        widgets.watch(job, f"Exporting {to} {precision} and verifying it", stoppable=False)
        return
    if job is not None and job.state != "done":
        widgets.outcome(job)
    with st.container(horizontal=True):
        if st.button(f"Export {to} {precision}", icon=":material/transform:"):
            widgets.start(["export", run.folder, "--format", to, "--precision", precision], target=target)
            st.rerun()
        for folder in folders:
            st.download_button(
                f"Download {folder.name}",
                _zipped(str(folder), shelf.stamp(folder / store.MANIFEST)),
                file_name=f"{run.name}-{folder.name}.zip",
                mime="application/zip",
                icon=":material/download:",
                on_click="ignore",
            )


def _compared(engine: str, one: dict[str, Any], size: int) -> dict[str, Any]:
    """Return a row of the parity table as the page shows it."""

    def percent(name: str) -> str:
        return format_percent(cast("float | None", one.get(name)))

    return {
        "format": f"{engine} {one.get('precision', '')}",
        "kB": round(size / 1000, 1),
        "largest difference": f"{one['difference']:.3f}",
        "same prediction as Keras": percent("agreement"),
        "accuracy": percent("accuracy"),
        "of Keras": percent("keras_accuracy"),
        "compared on": f"{one['images']:,} {one['kind']} images",
    }


def _about(bundle: Path) -> dict[str, Any] | None:
    if not (bundle / store.MANIFEST).is_file():
        return None
    return dict(store.read_json(bundle / verify.ABOUT))


def _is_of(about: dict[str, Any], run: Run) -> bool:
    return bool(about["run"]["model_sha256"] == run.model_sha256)


def _bundle(run: Run, bundle: Path, about: dict[str, Any]) -> None:
    test = (about.get("metrics") or {}).get("test") or {}
    files = store.read_json(bundle / store.MANIFEST)["files"]
    size = sum(int(facts["bytes"]) for facts in files.values())
    spec = about["spec"]
    titles = [FORMATS[entry["format"]].title for entry in about["models"]]
    widgets.metrics(
        (
            "format",
            ", ".join(titles),
            "The first format whose library is installed is used. None of them can run code.",
        ),
        ("size", f"{size / 1e6:,.1f} MB", "All files together."),
        (
            "test accuracy",
            f"{test['accuracy'] * 100:.1f} %" if test.get("accuracy") is not None else "not tested",
            "Accuracy of these weights on the test split, from the Test page.",
        ),
        (
            "images",
            f"{spec['height']} × {spec['width']} {spec['color_mode']}",
            "Images of any size are accepted and resized to this one.",
        ),
    )
    _parity(about)
    content = _zipped(str(bundle), shelf.stamp(bundle / store.MANIFEST))
    with st.container(horizontal=True):
        st.download_button(
            "Download the bundle",
            content,
            file_name=f"{run.name}-bundle.zip",
            mime="application/zip",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
        )
        if st.button("Export again", icon=":material/refresh:"):
            widgets.start(["export", run.folder], target=bundle)
            st.rerun()
    widgets.section("Contents")
    rows = [{"file": readable(name), "kB": int(facts["bytes"]) / 1000} for name, facts in sorted(files.items())]
    st.dataframe(rows, hide_index=True, column_config={"kB": st.column_config.NumberColumn(format="%.1f")})
    widgets.section("Usage")
    st.code(f"housetrain predict {run.name}-bundle photo.jpg", language="sh")
    st.code(
        "from pathlib import Path\nfrom housetrain import Predictor\n\n"
        f'predictor = Predictor.load(Path("{run.name}-bundle"))\n'
        'prediction = predictor.predict(Path("photo.jpg"))\n'
        'print(prediction.label, f"{prediction.probability:.1%}")',
        language="python",
    )


def _parity(about: dict[str, Any]) -> None:
    widgets.section(
        "Verification",
        "The bundle contains reference images and their predictions, which are verified each time the model is loaded.",
    )
    parity = about.get("parity", {})
    rows = [
        {
            "format": f"{entry['format']} {entry['precision']}",
            "verified on": f"{about.get('golden', 'validation')} images",
            "tolerance": f"{float(entry['tolerance']):.0e}",
            "same prediction as Keras": format_percent(parity[entry["format"]]["agreement"])
            if entry["format"] in parity
            else "",
            "made with": f"Keras {plain(about.get('keras', '?'))}".replace("\\", ""),
        }
        for entry in about["models"]
    ]
    st.dataframe(rows, hide_index=True)


@st.cache_data(max_entries=6, show_spinner=False)
def _zipped(bundle: str, when: str) -> bytes:
    buffer = io.BytesIO()
    folder = Path(bundle)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(item for item in folder.rglob("*") if item.is_file() and not item.is_symlink()):
            archive.write(path, f"{folder.parent.name}-bundle/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()
