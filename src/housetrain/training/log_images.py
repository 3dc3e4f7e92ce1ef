"""Small images for TensorBoard: a confusion matrix, samples side by side.

In: counts, pixels. Out: Pillow images. It does not know event files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def draw_confusion(confusion: np.ndarray, classes: Sequence[str] = ()) -> Image.Image:
    """Draw counts as a square of shaded cells: a row for each true class, a column for each predicted one.

    Drawn with Pillow in a few milliseconds, as it is drawn every epoch; the report has a finer one.

    Args:
        confusion: Counts, ``(classes, classes)``.
        classes: Names; numbers where there are none.

    Returns:
        An RGB image.
    """
    from PIL import Image, ImageDraw, ImageFont

    counts = np.asarray(confusion, dtype=np.int64)
    names = [str(name) for name in classes] or [str(index) for index in range(len(counts))]
    names = [name if len(name) <= 14 else name[:13] + "…" for name in names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = int(np.clip(600 // len(counts), 22, 110))
    font = ImageFont.load_default(size=max(9, min(16, cell // 3)))
    margin = 14 + int(max(font.getlength(name) for name in (*names, "predicted")))
    side = margin + cell * len(counts) + 8
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.text((4, margin - 6), "true", fill="gray", font=font, anchor="ls")
    draw.text((margin - 6, 4), "predicted", fill="gray", font=font, anchor="ra")
    for row, name in enumerate(names):
        middle = margin + cell * row + cell // 2
        draw.text((margin - 6, middle), name, fill="black", font=font, anchor="rm")
        label = Image.new("RGB", (margin, cell), "white")
        ImageDraw.Draw(label).text((4, cell // 2), name, fill="black", font=font, anchor="lm")
        image.paste(label.rotate(90, expand=True), (margin + cell * row, 0))
        for column in range(len(names)):
            left, top = margin + cell * column, margin + cell * row
            share = float(shares[row, column])
            # Right answers in blue, wrong ones in red; white is none.
            faint = round(255 * (1 - share))
            color = (faint, round(255 - 130 * share), 255) if row == column else (255, faint, faint)
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=color)
            if count := int(counts[row, column]):
                ink = "white" if share > 0.6 else "black"
                draw.text((left + cell // 2, top + cell // 2), str(count), fill=ink, font=font, anchor="mm")
    return image


def strip_of(images: np.ndarray, side: int = 150) -> Image.Image:
    """Return images side by side, enlarged by whole pixels until they are about ``side`` pixels high.

    Args:
        images: uint8 ``(n, height, width, channels)``.
        side: Pixels.
    """
    from PIL import Image

    row = np.concatenate(list(images), axis=1)
    strip = Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row)
    times = max(1, round(side / min(images.shape[1:3])))
    return strip.resize((strip.width * times, strip.height * times), Image.Resampling.NEAREST)
