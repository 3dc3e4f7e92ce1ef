"""A sheet of training images as a recipe's augmentation changes them: each as prepared, then several times changed.

In: a catalog and a `Recipe`. Out: a PNG file. The draws are those of `housetrain.models.augmented_views`, without
Keras; a training draws others of the same distribution in each epoch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from housetrain.data.catalog import Catalog
from housetrain.data.contact_sheet import BETWEEN, INK, MARGIN, PALE, PAPER, samples_of
from housetrain.data.output import refuse_inside
from housetrain.errors import DecodeError, RecipeError
from housetrain.images.decode import load_image, read_bytes
from housetrain.images.draw_text import draw_text, shorten
from housetrain.images.encode import encode
from housetrain.images.pixel_ops import Pixels, to_rgb
from housetrain.models.augmented_views import View, changed
from housetrain.models.choose import spec_of
from housetrain.models.recipe import Recipe
from housetrain.system.files import disk_errors, write_atomic

_CELL, _TOP, _CAPTION = 112, 96, 20  # pixels


def show_augmented(
    catalog: Catalog, path: Path | str, recipe: Recipe, *, per_class: int = 2, variants: int = 8, seed: int = 0
) -> Path:
    """Draw samples of every class as prepared for a recipe, and ``variants`` augmented versions of each beside it.

    Args:
        catalog: The images.
        path: The PNG file to write.
        recipe: Its size, color mode and augmentation are drawn.
        per_class: Samples of each class, at least 1.
        variants: Augmented versions of each, at least 1.
        seed: Another seed shows other samples.

    Returns:
        ``path``.

    Raises:
        RecipeError: The recipe does not augment images.
        FolderError: ``path`` lies inside the folder of images.
        DiskFull: ``path`` cannot be written.
    """
    path = Path(path)
    if not recipe.augments:
        raise RecipeError(
            "The recipe does not augment images", do="choose another model, such as best, or set flip, rotate or zoom",
            model=recipe.model,
        )  # fmt: skip
    for images in catalog.source_folders:
        refuse_inside(images, path)
    data = encode(_draw(catalog, recipe, per_class, variants, seed))
    with disk_errors(path, bytes_needed=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    return path


def _draw(catalog: Catalog, recipe: Recipe, per_class: int, variants: int, seed: int) -> Pixels:
    spec = replace(spec_of(recipe), white=catalog.white)
    amounts = recipe.model_dump(include={"flip", "shift", "rotate", "zoom", "stretch", "contrast"})
    views = [None, *(View(number, recipe.seed, **amounts) for number in range(1, variants + 1))]
    chosen = [
        (name, image)
        for name, images in samples_of(catalog, per_class=per_class, seed=seed).items()
        for image in images
    ]
    step, height = _CELL + BETWEEN, _CELL + _CAPTION + BETWEEN
    width = max(760, 2 * MARGIN + len(views) * step - BETWEEN)
    sheet = np.full((_TOP + len(chosen) * height + MARGIN, width, 3), PAPER, np.uint8)
    used = ", ".join(f"{name} {value}" for name, value in amounts.items() if value not in (0, "none"))
    erased = f"; erase {recipe.erase:g} is not drawn" if recipe.erase else ""
    draw_text(sheet, catalog.root.resolve().name, (MARGIN, 18), size=26, color=INK, bold=True)
    says = f"{recipe.name}: each image as prepared ({spec.width}x{spec.height}), then augmented: {used}{erased}"
    draw_text(sheet, shorten(says, width - 2 * MARGIN, size=14), (MARGIN, 58), size=14, color=PALE)
    for row, (name, image) in enumerate(chosen):
        top = _TOP + row * height
        caption = f"{name}  {Path(image.path).name}"
        draw_text(sheet, shorten(caption, width - 2 * MARGIN, size=12), (MARGIN, top), size=12, color=INK)
        try:
            pixels = load_image(read_bytes(catalog.root / image.path), spec)
        except DecodeError as error:  # the file changed after the scan
            draw_text(sheet, error.reason, (MARGIN, top + _CAPTION), size=12, color=PALE)
            continue
        for column, view in enumerate(views):
            left = MARGIN + column * step
            sheet[top + _CAPTION : top + _CAPTION + _CELL, left : left + _CELL] = _enlarged(
                to_rgb(changed(pixels, view, image.sha256), "rgb")
            )
    return sheet


def _enlarged(image: Pixels) -> Pixels:
    """Return an image of one cell: every pixel of a small one stays visible."""
    import cv2

    smaller = max(image.shape[:2]) > _CELL
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (_CELL, _CELL), interpolation=how), dtype=np.uint8)
