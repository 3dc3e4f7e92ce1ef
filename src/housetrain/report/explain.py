"""Explain predictions with heat maps: ``housetrain explain RUN image.jpg``.

In: a run and a few images. Out: a folder of PNG files with a page, and a section of the run's report::

    NAME/image.png       the image                        NAME/layers/01-conv_1.png   channels of each convolution
    NAME/grad-cam.png    regions that raise the score     filters.png                 kernels of the first layer
    NAME/occlusion.png   regions that matter when covered explained.json              the index
                                                          explained.html              everything on one page

It does not know how the heat is computed (``saliency.py``). It does not open the test split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import DecodeError, ModelError
from housetrain.evaluation import saliency
from housetrain.images import decode
from housetrain.images.encode import encode
from housetrain.images.pixel_ops import Pixels
from housetrain.images.thumbnail import fit, thumbnail
from housetrain.report import explain_page, heat
from housetrain.report.report import write_report
from housetrain.system import json_text, store
from housetrain.system.files import refuse_links
from housetrain.system.text import format_percent
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.inference.predictor import Predictor

_SIDE = 360  # longest side of an image on the page, in pixels


@dataclass(frozen=True)
class Layer:
    """The feature maps of one layer.

    Attributes:
        name: Of the layer.
        kind: ``"convolution"`` or ``"pool"``.
        shape: (height, width, channels) of its output.
        shown: Number of channels in the image.
        file: The PNG, relative to the folder of the explanation.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    shown: int
    file: str


@dataclass(frozen=True)
class Explanation:
    """The explanation of one prediction.

    Attributes:
        image: The path as given.
        folder: Where its images are, relative to the folder of all.
        label: The predicted class.
        probability: Of that class, 0 to 1.
        name: The explained class.
        name_probability: Its probability, 0 to 1.
        left: The probability of ``name`` where covering a fifth of the image lowers it most.
        grad_cam: Whether there is a Grad-CAM: not for a model without convolutions.
        grid: (height, width) of the Grad-CAM before it is enlarged.
        layers: The feature maps.
        model_sha256: Of the model file.
    """

    image: str
    folder: str
    label: str
    probability: float
    name: str
    name_probability: float
    left: float
    grad_cam: bool
    grid: tuple[int, int] | None
    layers: tuple[Layer, ...]
    model_sha256: str


@dataclass(frozen=True)
class Explained:
    """What `explain` wrote.

    Attributes:
        folder: The folder.
        page: The page in it.
        images: One entry per image of this call.
        layers: The page of the first convolution, if it was asked for and the model has one.
    """

    folder: Path
    page: Path
    images: tuple[Explanation, ...]
    layers: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "layers": None if self.layers is None else str(self.layers),
            "images": [json_text.plain(asdict(one)) for one in self.images],
        }

    def lines(self) -> list[str]:
        """Return the predictions and the files as lines of text."""
        lines = []
        for one in self.images:
            other = "" if one.name == one.label else f"; {one.name} {format_percent(one.name_probability)}"
            lines.append(f"{one.image}\t{one.label} {format_percent(one.probability)}{other}")
            for name in ("grad-cam.png", "occlusion.png") if one.grad_cam else ("occlusion.png",):
                lines.append(f"         {self.folder / one.folder / name}")
        if self.images and not self.images[0].grad_cam:
            lines.append("The model has no convolution, so there is no Grad-CAM and there are no feature maps.")
        return lines


def explain(
    run: Run | Path | str,
    images: Sequence[Path | str],
    folder: Path | str | None = None,
    *,
    name: str | None = None,
    layers: bool = False,
) -> Explained:
    """Explain the predictions for a few images.

    Args:
        run: A run, or its folder.
        images: The image files.
        folder: The folder to write; by default ``explained`` in the run, whose report then gets a section.
        name: The class to explain; by default the predicted one.
        layers: Also write ``layers.html``: the first convolution at work on the first image, to play with.

    Raises:
        DecodeError: An image cannot be read.
        ModelError: The class is not one of the model's.
        IncompleteError: The run has no model yet.
        CorruptError: The folder holds links, which could lead elsewhere what is written.
        DiskFull: The images cannot be written.
    """
    from housetrain.inference.predictor import Predictor

    run = run if isinstance(run, Run) else Run.open(Path(run))
    target = Path(folder) if folder is not None else run.folder / explain_page.FOLDER
    refuse_links(run.folder if folder is None else target)
    if name is not None and name not in run.classes:
        raise ModelError("The model has no such class", expected=", ".join(run.classes[:20]), name=name)
    model = getattr(Predictor.load(run, engine="keras").engine, "model", None)
    predictor = Predictor.load(run)  # what `predict` uses, and fast enough for the hundred images of an occlusion map
    with store.disk_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        filters = saliency.first_filters(model)
        if filters is not None:
            _write(target / "filters.png", heat.draw_filters(filters))
        made = [
            _explain_one(predictor, model, Path(image), target, name=name, model_sha256=run.model_sha256)
            for image in images
        ]
        explain_page.add_entries(target, [asdict(one) for one in made])
        shown = _show_layers(run, model, Path(images[0]), target) if layers and images else None
    page = explain_page.write_page(run, target)
    if folder is None:
        write_report(run)
    return Explained(target, page, tuple(made), shown)


def _explain_one(
    predictor: Predictor, model: Any, path: Path, target: Path, *, name: str | None, model_sha256: str
) -> Explanation:
    try:
        data = decode.read_bytes(path)
        image = decode.load_image(data, predictor.spec)
        # Where an image is cropped or padded, the heat belongs on the model input.
        shown = thumbnail(data, _SIDE) if predictor.spec.resize == "stretch" else fit(image, _SIDE)
    except DecodeError as error:
        raise DecodeError(error.reason, image=str(path)) from error
    given = predictor.probabilities(image[None])[0]
    best = int(given.argmax())
    index = best if name is None else predictor.classes.index(name)
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogatepass") + data).hexdigest()[:8]
    folder = target / f"{_file_name(path.stem)[:40] or 'image'}-{digest}"
    (folder / "layers").mkdir(parents=True, exist_ok=True)
    _write(folder / "image.png", shown)
    raised = saliency.grad_cam(model, image, index)
    if raised is not None:
        _write(folder / "grad-cam.png", heat.overlay(shown, raised))
    covered, left = saliency.occlusion(lambda batch: predictor.probabilities(batch, batch_size=36), image, index)
    _write(folder / "occlusion.png", heat.overlay(shown, covered))
    return Explanation(
        image=str(path),
        folder=folder.name,
        label=predictor.classes[best],
        probability=float(given[best]),
        name=predictor.classes[index],
        name_probability=float(given[index]),
        left=left,
        grad_cam=raised is not None,
        grid=None if raised is None else (int(raised.shape[0]), int(raised.shape[1])),
        layers=_write_layers(model, image, folder),
        model_sha256=model_sha256,
    )


def _show_layers(run: Run, model: Any, path: Path, target: Path) -> Path | None:
    """Write the page of the first convolution on one image; ``None`` where the model has none."""
    from housetrain.evaluation.first_convolution import first_convolution
    from housetrain.models.saved_layers import read_layers
    from housetrain.report.layers_page import NAME, view_of, write_layers_page

    found = first_convolution(model, decode.load_image(path, run.spec))
    if found is None:
        return None
    view = view_of(found, read_layers(run.model_path))
    return write_layers_page(target / NAME, view, title=f"{run.name}, {path.name}")


def _write_layers(model: Any, image: Pixels, folder: Path) -> tuple[Layer, ...]:
    layers = []
    for number, layer in enumerate(saliency.feature_maps(model, image), 1):
        file = f"layers/{number:02d}-{_file_name(layer.name)}.png"
        strip, count = heat.draw_strip(layer.values)
        _write(folder / file, strip)
        height, width, channels = layer.values.shape
        layers.append(Layer(layer.name, layer.kind, (height, width, channels), count, file))
    return tuple(layers)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


def _write(path: Path, image: Pixels) -> None:
    store.write_bytes_atomic(path, encode(image), durable=False)
