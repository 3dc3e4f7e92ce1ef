"""Contact sheets: one PNG that shows samples of every class.

In: a ``Catalog`` and the image files. Out: a PNG with each sample as it is and as prepared at each size, side by side;
the samples themselves. It does not know splits or models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from housetrain.data.assign import position
from housetrain.data.output import refuse_inside
from housetrain.errors import DecodeError, RecipeError
from housetrain.images.decode import decode, load_image, read_bytes
from housetrain.images.draw_text import Color, draw_text, shorten, text_width
from housetrain.images.encode import encode
from housetrain.images.input_spec import InputSpec
from housetrain.images.pixel_ops import Pixels
from housetrain.images.thumbnail import fit
from housetrain.system.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog
    from housetrain.data.image_record import ImageRecord

ColorMode = Literal["grayscale", "rgb"]
Resize = Literal["stretch", "pad", "crop"]

PAPER, CARD, INK, PALE = (255, 255, 255), (244, 245, 247), (27, 31, 36), (107, 114, 128)
# Tableau 10: distinguishable side by side.
ACCENTS: tuple[Color, ...] = (
    (78, 121, 167),
    (242, 142, 43),
    (89, 161, 79),
    (225, 87, 89),
    (176, 122, 161),
    (118, 183, 178),
    (156, 117, 95),
    (237, 201, 72),
    (255, 157, 167),
    (186, 176, 172),
)
MARGIN, GAP, PAD, BETWEEN, TOP, HEADING = 28, 14, 10, 6, 104, 48  # pixels
_FEW_CLASSES = 4  # with so few classes each image is drawn large
_SECTION_WIDTH = 1400  # of one column of classes, in pixels


@dataclass(frozen=True)
class _Layout:
    """The measures of a sheet, in pixels."""

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
    """Choose usable images of each class by content hash: the same ones on every computer.

    Args:
        catalog: The images.
        per_class: At most so many images of each class; of exact duplicates one.
        seed: Another seed gives other samples.

    Returns:
        Class name -> images, classes sorted by name.
    """
    chosen: dict[str, tuple[ImageRecord, ...]] = {}
    by_class: dict[str, list[ImageRecord]] = {name: [] for name in catalog.classes}
    for image in catalog.usable:
        by_class[image.label].append(image)
    for name in sorted(by_class):
        members = sorted(by_class[name], key=lambda one: (position(seed, one.sha256), one.path))
        different = {one.sha256: one for one in reversed(members)}
        chosen[name] = tuple(list(different.values())[::-1][:per_class])
    return chosen


def show(
    catalog: Catalog,
    path: Path | str,
    *,
    per_class: int = 8,
    sizes: Sequence[int] = (50, 100),
    color_mode: ColorMode = "grayscale",
    resize: Resize = "stretch",
    seed: int = 0,
) -> Path:
    """Draw samples of every class, each as it is and as prepared at each size, side by side.

    Args:
        catalog: The images, as `scan` returns them.
        path: The PNG file to write; its folder is created if it is missing.
        per_class: Samples of each class, at least 1.
        sizes: Sides of the prepared images in pixels, at least 1 each. They are enlarged by whole multiples, so that
            every pixel is visible.
        color_mode: ``"grayscale"`` or ``"rgb"``, of the prepared images.
        resize: How images that are not square are resized.
        seed: Another seed shows other samples.

    Returns:
        ``path``.

    Raises:
        FolderError: ``path`` lies inside the folder of images.
        RecipeError: ``per_class`` or ``sizes`` is below 1 or empty.
        DiskFull: ``path`` cannot be written.
    """
    path = Path(path)
    if per_class < 1 or not sizes or min(sizes) < 1:
        raise RecipeError(
            "There is nothing to draw", expected="per_class and sizes of at least 1", per_class=per_class, sizes=sizes
        )
    path = Path(path)
    for images in catalog.source_folders:
        refuse_inside(images, path)
    chosen = samples_of(catalog, per_class=per_class, seed=seed)
    layout = _layout(chosen, per_class, tuple(sizes))
    data = encode(_draw(catalog, chosen, layout, color_mode=color_mode, resize=resize))
    with disk_errors(path, bytes_needed=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    return path


def _draw(
    catalog: Catalog,
    chosen: dict[str, tuple[ImageRecord, ...]],
    layout: _Layout,
    *,
    color_mode: ColorMode,
    resize: Resize,
) -> Pixels:
    sections = _sections(chosen, layout)
    tallest = max(sum(layout.class_height(len(chosen[name])) for name in names) for names in sections)
    width = max(len(sections) * (layout.section_width + 2 * MARGIN), 760)
    sheet = np.full((TOP + tallest + MARGIN, width, 3), PAPER, np.uint8)
    counts = catalog.counts()
    prepared = ", ".join(f"{size}×{size}" for size in layout.sizes)
    summary = (
        f"{sum(counts.values()):,} images in {len(counts)} {'class' if len(counts) == 1 else 'classes'}. "
        f"Each sample as it is, then as prepared: {prepared} pixels, {color_mode}, {resize}."
    )
    draw_text(sheet, catalog.root.resolve().name, (MARGIN, 22), size=30, color=INK, bold=True)
    draw_text(sheet, summary, (MARGIN, 62), size=15, color=PALE)
    number = 0
    for column, names in enumerate(sections):
        left, top = MARGIN + column * (layout.section_width + 2 * MARGIN), TOP
        for name in names:
            accent = ACCENTS[number % len(ACCENTS)]
            _draw_heading(sheet, (left, top), name, counts.get(name, 0), accent=accent, layout=layout)
            for place, image in enumerate(chosen[name]):
                row, position_in_row = divmod(place, layout.columns)
                corner = (
                    left + position_in_row * (layout.card_width + GAP),
                    top + HEADING + row * (layout.card_height + GAP),
                )
                _draw_sample(
                    sheet,
                    corner,
                    catalog.root,
                    image,
                    layout=layout,
                    color_mode=color_mode,
                    resize=resize,
                    white=catalog.white,
                )
            top += layout.class_height(len(chosen[name]))
            number += 1
    return sheet


def _layout(chosen: dict[str, tuple[ImageRecord, ...]], per_class: int, sizes: tuple[int, ...]) -> _Layout:
    cell = 200 if len(chosen) <= _FEW_CLASSES else 100
    one = _Layout(cell, 1, sizes)
    return _Layout(cell, max(1, min(per_class, (_SECTION_WIDTH + GAP) // (one.card_width + GAP))), sizes)


def _sections(chosen: dict[str, tuple[ImageRecord, ...]], layout: _Layout) -> list[list[str]]:
    """Arrange the classes in columns so that the sheet is as close to a square as possible."""
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


def _draw_heading(
    sheet: Pixels, corner: tuple[int, int], name: str, count: int, *, accent: Color, layout: _Layout
) -> None:
    left, top = corner
    _rounded_rectangle(sheet, (left, top + 8, left + 7, top + 38), radius=3, color=accent)
    shown = shorten(name, layout.section_width - 160, size=22, bold=True)
    draw_text(sheet, shown, (left + 18, top + 8), size=22, color=INK, bold=True)
    after = left + 18 + text_width(shown, size=22, bold=True) + 12
    draw_text(sheet, f"{count:,}" if count else "no usable image", (after, top + 15), size=15, color=PALE)


def _draw_sample(
    sheet: Pixels,
    corner: tuple[int, int],
    root: Path,
    image: ImageRecord,
    *,
    layout: _Layout,
    color_mode: ColorMode,
    resize: Resize,
    white: int,
) -> None:
    left, top = corner
    _rounded_rectangle(
        sheet, (left, top, left + layout.card_width - 1, top + layout.card_height - 1), radius=6, color=CARD
    )
    views, captions = [], []
    try:
        data = read_bytes(root / image.path)
        views.append(fit(decode(data, at_least=(layout.cell, layout.cell), white=None), layout.cell))
        for size in layout.sizes:
            spec = InputSpec(height=size, width=size, color_mode=color_mode, resize=resize, white=white)
            views.append(fit(load_image(data, spec), layout.cell))
            captions.append(f"{size}×{size}")
    except DecodeError as error:  # the file changed after the scan
        draw_text(sheet, error.reason, (left + PAD, top + PAD), size=12, color=PALE)
    for place, view in enumerate(views):
        height, width = view.shape[:2]
        x = left + PAD + place * (layout.cell + BETWEEN) + (layout.cell - width) // 2
        y = top + PAD + (layout.cell - height) // 2
        sheet[y : y + height, x : x + width] = view
    caption_top = top + PAD + layout.cell + 5
    name = shorten(Path(image.path).name, layout.cell, size=12)
    draw_text(sheet, name, (left + PAD, caption_top), size=12, color=INK)
    shape, used = f"{image.header.width}×{image.header.height}", text_width(name, size=12)
    if used + text_width(shape, size=12) + 8 <= layout.cell:
        draw_text(sheet, shape, (left + PAD + used + 8, caption_top), size=12, color=PALE)
    for place, caption in enumerate(captions, 1):
        middle = left + PAD + place * (layout.cell + BETWEEN) + layout.cell / 2
        draw_text(sheet, caption, (middle, caption_top), size=12, color=PALE, anchor="center")


def _rounded_rectangle(sheet: Pixels, box: tuple[int, int, int, int], *, radius: int, color: Color) -> None:
    """Fill a rectangle with round corners; ``box`` is (left, top, right, bottom), all inclusive."""
    import cv2

    left, top, right, bottom = box
    canvas: Any = sheet
    cv2.rectangle(canvas, (left + radius, top), (right - radius, bottom), color, cv2.FILLED)
    cv2.rectangle(canvas, (left, top + radius), (right, bottom - radius), color, cv2.FILLED)
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            cv2.circle(canvas, (x, y), radius, color, cv2.FILLED, cv2.LINE_AA)
