"""The explanation of one prediction on the page: heat maps, and the first convolution as it slides over the image.

In: a run and an image file. Out: elements on the page, once `housetrain explain --layers` has written its files. It
computes nothing; what moves is the `Widget` of ``layers.html``. ``layers.js`` runs in the browser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from housetrain.inference.model_folder import model_files
from housetrain.report.layers_page import LayersView, read_view, widget
from housetrain.report.page import PLOTS_CSS
from housetrain.studio import jobs, shelf, widgets
from housetrain.studio.settings import Settings
from housetrain.studio.widgets import plain, readable
from housetrain.training.run import Run

_MAPS = {
    "grad-cam": "Grad-CAM: warm areas support the prediction",
    "occlusion": "Occlusion: covering warm areas lowers it",
}
_CSS = """
:host { display: block; color: var(--ink); font-size: 15px; }
.note, #layers p { color: var(--soft); font-size: 14px; margin: 0 0 8px; }
#layers h3 { font-size: 16px; margin: 0 0 4px; }
#layers figure { margin: 0; }
#layers table { border-collapse: collapse; }
#layers td { border-bottom: 1px solid var(--line); }
"""
_MOUNT = """
export default function ({ parentElement, data }) {
  (parentElement.host ?? parentElement).style.colorScheme = data.dark ? "dark" : "light";
  if (parentElement.shows === data.key) return parentElement.stops;
  parentElement.stops?.();
  parentElement.shows = data.key;
  for (const id of ["filter", "channel"]) parentElement.querySelector(`#${id}`).replaceChildren();
  return (parentElement.stops = showLayers(parentElement, data.numbers));
}
"""
_SHOWN = widget()
_COMPONENT = st.components.v2.component(
    "housetrain_layers",
    html=_SHOWN.html,
    css=PLOTS_CSS.read_text(encoding="utf-8") + _SHOWN.css + _CSS,
    js=_SHOWN.script + _MOUNT,
)


def choose(run: Run, images: Sequence[tuple[str, Path]], *, key: str) -> None:
    """Let one of several images be selected, and offer its explanation.

    Args:
        run: The run whose model is explained.
        images: (what the list calls it, file).
        key: Of the elements.
    """
    there = [(name, path) for name, path in images if path.is_file()]
    if not there:
        return
    number = st.selectbox(
        "Explain the prediction for", range(len(there)), format_func=lambda one: readable(there[one][0]), key=key
    )
    offer(run, there[number][1], key=key)


def offer(run: Run, image: Path, *, key: str) -> None:
    """Show the explanation of a prediction, or the button that starts it: loading Keras takes some seconds.

    Args:
        run: The run whose model is explained.
        image: An image file.
        key: Of the elements.
    """
    target = _target(run, image)
    job = jobs.newest(Settings.of().jobs, target=target, verb="explain")
    if job is not None and job.active:
        widgets.watch(job, "Computing heat maps and feature maps", stoppable=False)
        return
    if job is not None and widgets.outcome(job) and _heat_maps(target):
        _layers(target, key)
        return
    if image.is_file() and st.button(
        "Explain",
        key=f"explain-{key}-{target.name}",
        icon=":material/filter_center_focus:",
        help="Heat maps of the areas that support the prediction, and the first convolution step by step. Takes some "
        "seconds.",
    ):
        widgets.start(["explain", run.folder, image, "--layers", "--output", target, "--json"], target=target)
        st.rerun()


def _target(run: Run, image: Path) -> Path:
    """Return the folder of an explanation: another model, or another image of the same name, has another one.

    An uploaded photo is named by its content and written again by each upload, so its time says nothing.
    """
    size = image.stat().st_size if image.is_file() else 0
    key = f"{run.folder}\0{shelf.stamp(*model_files(run.folder))}\0{image}\0{size}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Settings.of().scratch / "explained" / digest


def _heat_maps(target: Path) -> bool:
    images = [*sorted(target.glob("*/grad-cam.png")), *sorted(target.glob("*/occlusion.png"))]
    for place, path in zip(st.columns([2, 2, 3]), images[:2], strict=False):
        place.image(path.read_bytes(), width="stretch", caption=_MAPS[path.stem], alt=_MAPS[path.stem])
    return bool(images)


def _layers(target: Path, key: str) -> None:
    view = read_view(target)
    if view is None:
        st.caption("The model has no convolution that can be shown step by step.")
        return
    with st.expander("What the first convolution does with this image", icon=":material/grid_on:", expanded=True):
        data = {"numbers": view["numbers"], "key": target.name, "dark": st.context.theme.type == "dark"}
        _COMPONENT(key=f"layers-{key}-{target.name}", data=data)
        st.markdown("\n".join(f"* {plain(sentence)}" for sentence in view["words"]))
        _table(view)


def _table(view: LayersView) -> None:
    rows = [
        {
            "layer": readable(layer["name"]),
            "operation": readable(layer["operation"]),
            "output shape": "×".join(map(str, layer["shape"])),
            "parameters": layer["parameters"],
        }
        for layer in view["layers"]
    ]
    if rows:
        st.caption("All layers")
        st.dataframe(rows, hide_index=True)
