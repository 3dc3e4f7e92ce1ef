"""Images of the images: contact sheets, and small images for the report and the page.

In: a ``Catalog``, image files, arrays. Out: a PNG that shows samples of every class as they are and as a model of
each size would see them; JPEG bytes of thumbnails. It does not know of splits or models.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from housetrain.data.output import refuse_inside
from housetrain.data.split import position
from housetrain.errors import DecodeError, RecipeError, one_line
from housetrain.images.decode import decode, load_image, read_bytes
from housetrain.images.input_spec import InputSpec
from housetrain.system.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

ColorMode = Literal["grayscale", "rgb"]
Resize = Literal["stretch", "pad", "crop"]

PAPER, CARD, INK, PALE = "#ffffff", "#f4f5f7", "#1b1f24", "#6b7280"
# Tableau 10 (matplotlib's "tab10"): told apart also side by side.
ACCENTS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#ff9da7", "#bab0ac")
MARGIN, GAP, PAD, BETWEEN, TOP, HEADING = 28, 14, 10, 6, 104, 48  # pixels
_FEW_CLASSES = 4  # so many are drawn large
_SECTION_WIDTH = 1400  # one column of classes; many classes stand in several of them


@dataclass(frozen=True)
class _Layout:
    """Where things go on a sheet; all in pixels."""

    cell: int
    columns: int
    sizes: tuple[int, ...]

    @property
    def card_width(self) -> int:
        return (1 + len(self.sizes)) * (self.cell + BETWEEN) - BETWEEN + 2 * PAD

    @property
    def card_height(self) -> int:
        return self.cell + 2 * PAD + 20

    @property
    def section_width(self) -> int:
        return self.columns * (self.card_width + GAP) - GAP

    def class_height(self, samples: int) -> int:
        rows = -(-samples // self.columns)
        return HEADING + rows * (self.card_height + GAP) + GAP


def samples_of(catalog: Catalog, *, per_class: int = 8, seed: int = 0) -> dict[str, tuple[ImageRecord, ...]]:
    """Choose usable images of each class, by content hash: the same ones on every computer.

    Returns:
        Class name -> at most ``per_class`` images, classes sorted by name.
    """
    chosen: dict[str, tuple[ImageRecord, ...]] = {}
    by_class: dict[str, list[ImageRecord]] = {name: [] for name in catalog.classes}
    for image in catalog.usable:
        by_class[image.label].append(image)
    for name in sorted(by_class):
        members = sorted(by_class[name], key=lambda one: (position(seed, one.sha256), one.path))
        different = {one.sha256: one for one in reversed(members)}  # a duplicate shows nothing new
        chosen[name] = tuple(list(different.values())[::-1][:per_class])
    return chosen


def contact_sheet(
    catalog: Catalog,
    path: Path,
    *,
    per_class: int = 8,
    sizes: Sequence[int] = (50, 100),
    color_mode: ColorMode = "grayscale",
    resize: Resize = "stretch",
    seed: int = 0,
) -> Path:
    """Draw samples of every class, each as it is and as prepared at each size, side by side.

    Args:
        catalog: What `scan` gave.
        path: The PNG file to write; its folder is made where it is missing.
        per_class: Samples of each class.
        sizes: Sides in pixels of the prepared images. They are enlarged by whole pixels, so that what is lost shows.
        color_mode: ``"grayscale"`` or ``"rgb"``, for the prepared ones.
        resize: The rule for images that are not square.
        seed: Another number shows other samples.

    Returns:
        ``path``.

    Raises:
        FolderError: ``path`` lies inside the folder of images.
        RecipeError: Nothing to draw: no size, or fewer than one sample.
        DiskFull: ``path`` cannot be written.
    """
    if per_class < 1 or not sizes or min(sizes) < 1:
        raise RecipeError(
            "there is nothing to draw", expected="per_class and sizes of at least 1", per_class=per_class, sizes=sizes
        )
    for images in catalog.source_folders:
        refuse_inside(images, path)
    chosen = samples_of(catalog, per_class=per_class, seed=seed)
    layout = _layout(chosen, per_class, tuple(sizes))
    sections = _sections(chosen, layout)
    sheet = _blank(chosen, sections, layout)
    pen = _pen(sheet)
    counts, title = catalog.counts(), _shown(catalog.root.resolve().name)
    pen.text((MARGIN, 22), title, font=_font(30, bold=True), fill=INK)
    pen.text(
        (MARGIN, 62),
        f"{sum(counts.values()):,} images in {len(counts)} {'class' if len(counts) == 1 else 'classes'}. "
        f"Each sample as it is, then as prepared: {_in_words(sizes)} pixels, {color_mode}, {resize}.",
        font=_font(15),
        fill=PALE,
    )
    number = 0
    for column, names in enumerate(sections):
        left, top = MARGIN + column * (layout.section_width + 2 * MARGIN), TOP
        for name in names:
            accent = ACCENTS[number % len(ACCENTS)]
            _draw_heading(pen, (left, top), name, counts.get(name, 0), accent=accent, layout=layout)
            for place, image in enumerate(chosen[name]):
                corner = (
                    left + place % layout.columns * (layout.card_width + GAP),
                    top + HEADING + place // layout.columns * (layout.card_height + GAP),
                )
                _draw_sample(sheet, corner, catalog.root, image, layout=layout, color_mode=color_mode, resize=resize)
            top += layout.class_height(len(chosen[name]))
            number += 1
    data = _png(sheet)
    with disk_errors(path, bytes_needed=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    return path


def thumbnail(source: Path | bytes | np.ndarray, size: int = 160, *, color_mode: ColorMode = "rgb") -> np.ndarray:
    """Return an image shrunk to fit into a square, its proportions kept; never enlarged.

    Args:
        source: A file, its bytes, or a uint8 ``(height, width)`` or ``(height, width, 1 or 3)`` array, RGB.
        size: Longest side in pixels.
        color_mode: ``"rgb"`` or ``"grayscale"``; arrays stay what they are.

    Returns:
        uint8 ``(height, width, 3 or 1)``.

    Raises:
        DecodeError: It cannot be read.
    """
    import cv2

    if isinstance(source, np.ndarray):
        image = source if source.ndim == 3 else source[:, :, None]
    else:
        data = source if isinstance(source, bytes) else read_bytes(source)
        image = decode(data, color_mode=color_mode, at_least=(size, size))
    height, width = image.shape[:2]
    scale = min(1.0, size / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    if shape == (width, height):
        return image
    small = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else small[:, :, None]


def thumbnail_jpeg(
    source: Path | bytes | np.ndarray, size: int = 160, *, color_mode: ColorMode = "rgb", quality: int = 82
) -> bytes:
    """Return a `thumbnail` as JPEG, a few kilobytes, to be put into a page.

    Raises:
        DecodeError: It cannot be read.
    """
    import cv2

    image = thumbnail(source, size, color_mode=color_mode)
    if image.shape[2] == 3:
        image = image[:, :, ::-1]
    made, data = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not made:
        raise DecodeError("cannot be drawn")
    return data.tobytes()


def _layout(chosen: dict[str, tuple[ImageRecord, ...]], per_class: int, sizes: tuple[int, ...]) -> _Layout:
    cell = 200 if len(chosen) <= _FEW_CLASSES else 100
    one = _Layout(cell, 1, sizes)
    return _Layout(cell, max(1, min(per_class, (_SECTION_WIDTH + GAP) // (one.card_width + GAP))), sizes)


def _sections(chosen: dict[str, tuple[ImageRecord, ...]], layout: _Layout) -> list[list[str]]:
    """Put the classes into columns, so many that the sheet is as near to a square as it gets."""
    heights = {name: layout.class_height(len(images)) for name, images in chosen.items()}
    total = sum(heights.values())
    wanted = max(1, round(math.sqrt(total / layout.section_width)))
    sections: list[list[str]] = [[]]
    for name, height in heights.items():
        used = sum(heights[one] for one in sections[-1])
        if sections[-1] and used + height / 2 > total / wanted and len(sections) < wanted:
            sections.append([])
        sections[-1].append(name)
    return sections


def _blank(chosen: dict[str, tuple[ImageRecord, ...]], sections: list[list[str]], layout: _Layout) -> PilImage:
    from PIL import Image

    tallest = max(sum(layout.class_height(len(chosen[name])) for name in names) for names in sections)
    width = len(sections) * (layout.section_width + 2 * MARGIN)
    return Image.new("RGB", (max(width, 760), TOP + tallest + MARGIN), PAPER)


def _draw_heading(
    pen: ImageDraw, corner: tuple[int, int], name: str, count: int, *, accent: str, layout: _Layout
) -> None:
    left, top = corner
    pen.rounded_rectangle((left, top + 8, left + 7, top + 38), radius=3, fill=accent)
    bold, plain = _font(22, bold=True), _font(15)
    shown = _shortened(_shown(name), bold, layout.section_width - 160)
    pen.text((left + 18, top + 8), shown, font=bold, fill=INK)
    after = left + 18 + pen.textlength(shown, font=bold) + 12
    pen.text((after, top + 15), f"{count:,}" if count else "no usable image", font=plain, fill=PALE)


def _draw_sample(
    sheet: PilImage,
    corner: tuple[int, int],
    root: Path,
    image: ImageRecord,
    *,
    layout: _Layout,
    color_mode: ColorMode,
    resize: Resize,
) -> None:
    pen = _pen(sheet)
    left, top = corner
    pen.rounded_rectangle((left, top, left + layout.card_width - 1, top + layout.card_height - 1), radius=6, fill=CARD)
    small = _font(12)
    views, captions = [], []
    try:
        data = read_bytes(root / image.path)
        whole = decode(data, at_least=(layout.cell, layout.cell))
        views.append(_enlarged(whole, layout.cell))
        for size in layout.sizes:
            spec = InputSpec(height=size, width=size, color_mode=color_mode, resize=resize)
            views.append(_enlarged(load_image(data, spec), layout.cell))
            captions.append(f"{size}×{size}")
    except DecodeError as error:  # it changed since the scan
        pen.text((left + PAD, top + PAD), _shown(error.reason), font=small, fill=PALE)
    for place, view in enumerate(views):
        x = left + PAD + place * (layout.cell + BETWEEN)
        height, width = view.shape[:2]
        sheet.paste(_as_pil(view), (x + (layout.cell - width) // 2, top + PAD + (layout.cell - height) // 2))
    words = top + PAD + layout.cell + 5
    name = _shortened(_shown(Path(image.path).name), small, layout.cell)
    pen.text((left + PAD, words), name, font=small, fill=INK)
    shape, used = f"{image.header.width}×{image.header.height}", pen.textlength(name, font=small)
    if used + pen.textlength(shape, font=small) + 8 <= layout.cell:
        pen.text((left + PAD + used + 8, words), shape, font=small, fill=PALE)
    for place, caption in enumerate(captions, 1):
        middle = left + PAD + place * (layout.cell + BETWEEN) + layout.cell / 2
        pen.text((middle, words), caption, font=small, fill=PALE, anchor="ma")


def _enlarged(image: np.ndarray, cell: int) -> np.ndarray:
    """Return the image at the largest whole multiple of its size that fits, or shrunk where it does not."""
    factor = cell // max(image.shape[:2])
    if factor < 1:
        return thumbnail(image, cell)
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _as_pil(image: np.ndarray) -> PilImage:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))))


def _pen(sheet: PilImage) -> ImageDraw:
    from PIL import ImageDraw

    return ImageDraw.Draw(sheet)


@cache
def _font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: Latin, Greek and Cyrillic on every machine."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _shown(name: str) -> str:
    """Return a file's or class's name as something that can be drawn: one line, no halves of characters."""
    return one_line(name.encode("utf-8", "replace").decode())


def _shortened(text: str, font: FreeTypeFont, room: float) -> str:
    """Return the text cut in the middle, where it says least, to what fits."""
    if font.getlength(text) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = kept // 2
        short = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
        if font.getlength(short) <= room:
            return short
    return "…"


def _in_words(sizes: Sequence[int]) -> str:
    words = [str(size) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _png(sheet: PilImage) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
