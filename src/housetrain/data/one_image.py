"""One image, looked at: its array as it is, and as the model gets it.

In: the path of an image. Out: what its array is, as lines, and a PNG with the image at its own size and at the sizes
of a model input. It does not know classes, folders or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from housetrain.data.folder_layout import is_image_name
from housetrain.data.output import refuse_inside
from housetrain.errors import DecodeError
from housetrain.images.decode import load_image, read_bytes
from housetrain.images.encode import encode
from housetrain.images.input_spec import ColorMode, InputSpec
from housetrain.images.sniff import sniff
from housetrain.images.thumbnail import fit
from housetrain.system.files import disk_errors, write_atomic

_CELL = 400  # side of each view, pixels
_BETWEEN = 10


def is_image(path: Path) -> bool:
    """Return whether a path is a file that is named like an image, or begins like one."""
    try:
        return path.is_file() and (is_image_name(path.name) or bool(sniff(read_bytes(path))))
    except DecodeError:
        return False


def show_image(
    path: Path | str, output: Path | str, *, sizes: Sequence[int] = (50, 100), color_mode: ColorMode = "grayscale"
) -> list[str]:
    """Draw an image as it is and as prepared at each size, and describe its arrays.

    Args:
        path: The image.
        output: The PNG file to write.
        sizes: Sides of the model input, pixels.
        color_mode: Of the model input.

    Returns:
        Lines: shape, type and range of each array, and the pixels of the smallest as numpy prints them.

    Raises:
        DecodeError: The image cannot be read.
        FolderError: ``output`` is the image itself.
        DiskFull: ``output`` cannot be written.
    """
    path, output = Path(path), Path(output)
    if output.exists() and output.samefile(path):
        refuse_inside(path.parent, output)
    own = load_image(path)
    prepared = [load_image(path, InputSpec(height=side, width=side, color_mode=color_mode)) for side in sizes]
    views = [fit(image, _CELL) for image in (own, *prepared)]
    sheet = np.full((_CELL, len(views) * (_CELL + _BETWEEN) - _BETWEEN, 3), 255, np.uint8)
    for number, view in enumerate(views):
        left = number * (_CELL + _BETWEEN)
        sheet[: view.shape[0], left : left + view.shape[1]] = view
    data = encode(sheet)
    with disk_errors(output, bytes_needed=len(data)):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(output, data)
    smallest = min(prepared, key=lambda image: image.size)
    rows = str(smallest[..., 0] if smallest.shape[-1] == 1 else smallest)
    described = [f"as prepared ({side}x{side}): {_facts(image)}" for side, image in zip(sizes, prepared, strict=True)]
    return [f"{path}: {_facts(own)}", *described, *rows.splitlines()]


def _facts(image: np.ndarray) -> str:
    return f"shape {image.shape}, {image.dtype}, values {image.min()} to {image.max()}, mean {image.mean():.1f}"
