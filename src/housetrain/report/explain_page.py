"""Where a model looked, as images a person can judge: `housetrain explain RUN photo.jpg`.

In: a run and a few photos. Out: a folder of PNG files with a page, and a section of the run's report:

    NAME/photo.png       the photo                        NAME/layers/01-conv_1.png   what each convolution and pool
    NAME/grad-cam.png    heat where places speak for it                               makes of it, channel by channel
    NAME/occlusion.png   heat where covering hurts it     filters.png                 the first layer's kernels
    explained.json       what is what                     explained.html              all of it on one page

It does not know how the numbers come about (``saliency.py``). Nothing of the test split is opened.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from housetrain.errors import CorruptError, DecodeError, IncompleteError, ModelError
from housetrain.evaluation import saliency
from housetrain.system import store
from housetrain.training.run import Run

if TYPE_CHECKING:
    from housetrain.inference.predictor import Predictor

FOLDER = "explained"
INDEX = "explained.json"
PAGE = "explained.html"
_SIDE = 360  # longest side of a photo on the page, in pixels
_CHANNELS = 16  # channels shown of a layer: those that vary most
_KEPT = 24  # photos that a run's folder keeps explained
_ON_REPORT = 12
_Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """One strip of images.

    Attributes:
        name: Of the layer.
        kind: ``"convolution"`` or ``"pool"``.
        shape: (height, width, channels) of what it gives.
        shown: How many channels are in the strip.
        file: The PNG, relative to the photo's folder.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    shown: int
    file: str


@dataclass(frozen=True)
class Explanation:
    """One photo explained.

    Attributes:
        photo: The path as given.
        folder: Where its images are, relative to the folder of all.
        label: What the model names it.
        probability: Of that name, 0 to 1.
        name: The class that is explained.
        name_probability: Its probability, 0 to 1.
        left: The probability of ``name`` that is left where covering a fifth of the image hurts most.
        grad_cam: Whether there is a Grad-CAM: not for a model without convolutions.
        grid: (height, width) of the Grad-CAM before it was enlarged.
        layers: The strips.
        weights: sha256 of the model file.
    """

    photo: str
    folder: str
    label: str
    probability: float
    name: str
    name_probability: float
    left: float
    grad_cam: bool
    grid: tuple[int, int] | None
    layers: tuple[Layer, ...]
    weights: str


@dataclass(frozen=True)
class Explained:
    """What `explain` wrote.

    Attributes:
        folder: The folder.
        page: The page in it.
        photos: One entry per photo of this call.
    """

    folder: Path
    page: Path
    photos: tuple[Explanation, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-plain."""
        return {
            "folder": str(self.folder),
            "page": str(self.page),
            "photos": [store.plain(asdict(one)) for one in self.photos],
        }

    def in_words(self) -> list[str]:
        """Return lines for a person."""
        lines = []
        for one in self.photos:
            other = "" if one.name == one.label else f"; {one.name} {one.name_probability:.1%}"
            lines.append(f"{one.photo}\t{one.label} {one.probability:.1%}{other}")
            for name in ("grad-cam.png", "occlusion.png") if one.grad_cam else ("occlusion.png",):
                lines.append(f"         {self.folder / one.folder / name}")
        if self.photos and not self.photos[0].grad_cam:
            lines.append(
                "The model has no convolution, so no Grad-CAM and no feature maps: it knows no places. "
                "The occlusion map is there."
            )
        return lines


def explain(
    run: Run | Path | str,
    images: Sequence[Path | str],
    folder: Path | str | None = None,
    *,
    name: str | None = None,
) -> Explained:
    """Show where a model looked.

    Args:
        run: A run, or its folder.
        images: Photos.
        folder: The folder to write; by default ``explained`` in the run, whose report then gets a section.
        name: Explain this class; by default the one that the model names.

    Raises:
        DecodeError: A photo cannot be read.
        ModelError: The class is not one of the model's.
        IncompleteError: The run has no model yet.
        DiskFull: The images cannot be written.
    """
    from housetrain.inference.predictor import Predictor

    run = run if isinstance(run, Run) else Run.open(Path(run))
    if name is not None and name not in run.classes:
        raise ModelError("The model knows no such class", expected=", ".join(run.classes[:20]), name=name)
    model = getattr(Predictor.load(run, engine="keras").engine, "model", None)
    predictor = Predictor.load(run)  # what `predict` uses: the hundred images of an occlusion map want speed
    target = Path(folder) if folder is not None else run.folder / FOLDER
    weights = store.file_sha256(run.model_path)
    made = []
    with store.disk_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        filters = saliency.first_filters(model)
        if filters is not None:
            _write(target / "filters.png", draw_filters(filters))
        for image in images:
            made.append(_explain_one(predictor, model, Path(image), target, name=name, weights=weights))
        _remember(target, made)
    page = write_page(run, target)
    if folder is None:
        from housetrain.report.report import write_report

        write_report(run)
    return Explained(target, page, tuple(made))


def _explain_one(
    predictor: Predictor, model: Any, path: Path, target: Path, *, name: str | None, weights: str
) -> Explanation:
    from housetrain.data import contact_sheet
    from housetrain.images import decode

    try:
        data = decode.read_bytes(path)
        image = decode.load_image(data, predictor.spec)
        # Where an image was cut or padded, the heat belongs on what the model saw.
        shown = contact_sheet.thumbnail(data, _SIDE) if predictor.spec.resize == "stretch" else _enlarged(image, _SIDE)
    except DecodeError as error:
        raise DecodeError(error.reason, image=str(path)) from error
    given = predictor.probabilities(image[None])[0]
    best = int(given.argmax())
    index = best if name is None else predictor.classes.index(name)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)[:40] or "photo"
    place = f"{stem}-{hashlib.sha256(str(path).encode('utf-8', 'surrogatepass') + data).hexdigest()[:8]}"
    folder = target / place
    (folder / "layers").mkdir(parents=True, exist_ok=True)
    _write(folder / "photo.png", shown)
    heat = saliency.grad_cam(model, image, index)
    if heat is not None:
        _write(folder / "grad-cam.png", overlay(shown, heat))
    covered, left = saliency.occlusion(lambda batch: predictor.probabilities(batch, batch_size=36), image, index)
    _write(folder / "occlusion.png", overlay(shown, covered))
    layers = []
    for number, layer in enumerate(saliency.feature_maps(model, image), 1):
        file = f"layers/{number:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', layer.name)}.png"
        strip, count = draw_strip(layer.values)
        _write(folder / file, strip)
        height, width, channels = layer.values.shape
        layers.append(Layer(layer.name, layer.kind, (height, width, channels), count, file))
    return Explanation(
        photo=str(path),
        folder=place,
        label=predictor.classes[best],
        probability=float(given[best]),
        name=predictor.classes[index],
        name_probability=float(given[index]),
        left=left,
        grad_cam=heat is not None,
        grid=None if heat is None else (int(heat.shape[0]), int(heat.shape[1])),
        layers=tuple(layers),
        weights=weights,
    )


# ------------------------------------------------------------------------------------------------- drawing
def overlay(image: _Pixels, heat: NDArray[np.float32]) -> _Pixels:
    """Return a photo with heat over it: red where there is most, the photo itself where there is none.

    Args:
        image: uint8 (height, width, 1 or 3).
        heat: (h, w) of any size, 0 to 1.
    """
    import cv2

    height, width = image.shape[:2]
    large = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    scale: Any = (large * 255).astype(np.uint8)
    colors = cv2.applyColorMap(scale, cv2.COLORMAP_JET)[:, :, ::-1].astype(np.float32)
    share = 0.6 * np.sqrt(large)[:, :, None]
    base = np.broadcast_to(image, (height, width, 3)).astype(np.float32)
    return np.asarray((base * (1 - share) + colors * share).round(), np.uint8)


def draw_strip(values: NDArray[np.float32], *, channels: int = _CHANNELS, side: int = 72) -> tuple[_Pixels, int]:
    """Return the channels of a feature map that vary most, in their order, as tiles side by side; and how many.

    Args:
        values: (height, width, channels).
        channels: How many at most.
        side: Longest side of a tile in pixels.
    """
    import cv2

    chosen = np.sort(np.argsort(-values.std(axis=(0, 1)), kind="stable")[:channels])
    tiles = []
    for channel in chosen:
        one = _stretched(values[:, :, channel])
        tiles.append(cv2.applyColorMap(_enlarged(one[:, :, None], side), cv2.COLORMAP_VIRIDIS)[:, :, ::-1])
    return _tiled(tiles, columns=8), len(chosen)


def draw_filters(kernels: NDArray[np.float32], *, side: int = 48) -> _Pixels:
    """Return convolution kernels as tiles: in color where they look at color images, else in gray.

    Args:
        kernels: (height, width, channels in, filters).
        side: Longest side of a tile in pixels.
    """
    tiles = []
    for number in range(min(kernels.shape[3], 64)):
        kernel = kernels[:, :, :, number]
        if kernel.shape[2] != 3:
            kernel = kernel.mean(axis=2, keepdims=True)
        tile = _enlarged(_stretched(kernel), side)
        tiles.append(np.broadcast_to(tile.reshape(*tile.shape[:2], -1), (*tile.shape[:2], 3)))
    return _tiled(tiles, columns=16)


def _stretched(values: NDArray[np.float32]) -> _Pixels:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low if high > low else 1.0) * 255, np.uint8)


def _enlarged(image: _Pixels, side: int) -> _Pixels:
    """Return an image at a size fit for looking at, every pixel a square; a large one shrunk."""
    import cv2

    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    given: Any = image
    made = cv2.resize(given, size, interpolation=cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA)
    return np.asarray(made, np.uint8).reshape(size[1], size[0], image.shape[2])


def _tiled(tiles: Sequence[NDArray[Any]], *, columns: int) -> _Pixels:
    gap = 2
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    across = min(columns, len(tiles))
    sheet = np.full((rows * (height + gap) - gap, across * (width + gap) - gap, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _write(path: Path, image: _Pixels) -> None:
    store.write_bytes_atomic(path, _png(image), durable=False)


def _png(image: _Pixels) -> bytes:
    import cv2

    pixels: Any = np.ascontiguousarray(image[:, :, ::-1] if image.shape[2] == 3 else image)
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise ModelError("An image cannot be written", shape=image.shape)
    return bytes(data.tobytes())


# ------------------------------------------------------------------------------------------------- the page
def _remember(target: Path, made: Sequence[Explanation]) -> None:
    """Put the new explanations in front of the old ones, and let the oldest go."""
    import shutil

    new = {one.folder for one in made}
    entries = [asdict(one) for one in made] + [old for old in _entries(target) if old.get("folder") not in new]
    store.write_json_atomic(target / INDEX, {"format": 1, "photos": entries[:_KEPT]})
    for old in entries[_KEPT:]:
        if re.fullmatch(r"[A-Za-z0-9_-]+-[0-9a-f]{8}", str(old.get("folder"))):
            shutil.rmtree(target / str(old["folder"]), ignore_errors=True)


def _entries(target: Path) -> list[dict[str, Any]]:
    try:
        return [dict(one) for one in store.read_json(target / INDEX)["photos"]]
    except (IncompleteError, CorruptError, KeyError, TypeError, ValueError):
        return []


def section_of(run: Run) -> dict[str, Any] | None:
    """Return what the report shows of the photos explained with the run's present model, or ``None``."""
    try:
        weights = store.file_sha256(run.model_path)
    except IncompleteError:
        return None
    return section(run.folder / FOLDER, weights=weights, most=_ON_REPORT, strips=1)


def section(
    target: Path, *, weights: str | None = None, most: int = _KEPT, strips: int = _KEPT
) -> dict[str, Any] | None:
    """Return what the templates show of a folder of explanations.

    Args:
        target: The folder.
        weights: Only explanations of this model file.
        most: So many photos.
        strips: Show what the layers make of so many of them.
    """
    photos: list[dict[str, Any]] = []
    for entry in _entries(target):
        folder = target / str(entry.get("folder"))
        if weights not in (None, entry.get("weights")) or not (folder / "occlusion.png").is_file():
            continue
        images = {name: _address(folder / f"{name}.png") for name in ("photo", "grad-cam", "occlusion")}
        layers = []
        if len(photos) < strips:
            layers = [{**layer, "image": _address(folder / layer["file"])} for layer in entry["layers"]]
        photos.append({**entry, "images": images, "layers": [layer for layer in layers if layer["image"]]})
        if len(photos) == most:
            break
    if not photos:
        return None
    return {"photos": photos, "filters": _address(target / "filters.png")}


def _address(path: Path) -> str | None:
    try:
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError:
        return None


def write_page(run: Run, target: Path) -> Path:
    """Write the page of a folder of explanations, self-contained."""
    from markupsafe import Markup

    from housetrain.report.sweep_report import TEMPLATES, environment

    context = {
        "title": f"{run.name}: where it looked",
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "explain": section(target),
    }
    page = environment().get_template("explained.html.j2").render(context)
    store.write_bytes_atomic(target / PAGE, page.encode("utf-8", errors="backslashreplace"))
    return target / PAGE
