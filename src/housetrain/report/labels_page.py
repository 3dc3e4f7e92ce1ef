"""Labels that are probably wrong as a self-contained page and as a contact sheet.

In: `LabelIssues` and the folder of images. Out: ``labels.html``; a PNG. It does not know how they were found.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from housetrain.data.contact_sheet import CARD, GAP, INK, MARGIN, PAD, PALE, PAPER, TOP
from housetrain.data.output import refuse_inside
from housetrain.data.prepared import Prepared
from housetrain.errors import DecodeError, FolderError
from housetrain.evaluation.label_issues import FOLDER, LabelIssue, LabelIssues
from housetrain.images.draw_text import draw_text, shorten
from housetrain.images.encode import encode
from housetrain.images.pixel_ops import Pixels
from housetrain.images.thumbnail import fit, thumbnail
from housetrain.report.page import write_page
from housetrain.report.thumbnails import Album
from housetrain.system.files import disk_errors, is_relative, write_atomic
from housetrain.system.text import format_percent

NAME = "labels.html"
MOST_ON_PAGE, MOST_ON_SHEET = 120, 60
_CELL, _LINES, _COLUMNS = 180, 46, 6  # pixels of an image and of the text below it; images a row


def write_labels_page(found: LabelIssues, prepared: Prepared) -> Path:
    """Write ``PREPARED/labels/labels.html``: each image with its reasons and the most similar images."""
    album = Album(found.root, prepared.spec, prepared=prepared)
    shown = [
        {
            "issue": one,
            "thumbnail": album.thumbnail(one.path, one.sha256),
            "neighbors": [(near, album.thumbnail(near.path, near.sha256)) for near in one.neighbors],
        }
        for one in found.issues[:MOST_ON_PAGE]
    ]
    context = {"found": found, "shown": shown, "name": found.root.name}
    return write_page(found.prepared / FOLDER / NAME, "labels.html.j2", context)


def write_label_sheet(found: LabelIssues, path: Path | str) -> Path:
    """Write a contact sheet of the images, the surest first, as a PNG.

    Raises:
        FolderError: There is nothing to draw, or the path is inside the folder of images.
        DiskFull: It cannot be written.
    """
    target = Path(path)
    refuse_inside(found.root, target)
    if not found.issues:
        raise FolderError("No label looks wrong, so there is nothing to draw", folder=str(found.root))
    data = encode(_sheet(found))
    with disk_errors(target, bytes_needed=len(data)):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data)
    return target


def _sheet(found: LabelIssues) -> Pixels:
    issues = found.issues[:MOST_ON_SHEET]
    columns, width, height = min(_COLUMNS, max(4, len(issues))), _CELL + 2 * PAD, _CELL + 2 * PAD + _LINES
    rows = -(-len(issues) // columns)
    shape = (TOP + rows * (height + GAP) + MARGIN, 2 * MARGIN + columns * (width + GAP) - GAP, 3)
    sheet = np.full(shape, PAPER, np.uint8)
    draw_text(sheet, found.root.name, (MARGIN, 22), size=30, color=INK, bold=True)
    more = f"; the first {len(issues)}" if len(issues) < len(found) else ""
    draw_text(
        sheet, f"{len(found):,} of {found.images:,} labels probably wrong{more}", (MARGIN, 62), size=15, color=PALE
    )
    for number, one in enumerate(issues):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * (width + GAP), TOP + row * (height + GAP)
        sheet[top : top + height, left : left + width] = CARD
        _draw(sheet, found.root, one, left + PAD, top + PAD)
    return sheet


def _draw(sheet: Pixels, root: Path, one: LabelIssue, left: int, top: int) -> None:
    try:
        if not is_relative(one.path):
            raise DecodeError("outside of the folder")
        view = fit(thumbnail(root / one.path, _CELL), _CELL)
        height, width = view.shape[:2]
        x, y = left + (_CELL - width) // 2, top + (_CELL - height) // 2
        sheet[y : y + height, x : x + width] = view
    except DecodeError as error:
        draw_text(sheet, error.reason, (left, top), size=12, color=PALE)
    verdict = f"{one.given} → {one.suggested} {format_percent(one.probability, 0)}"
    lines = ((verdict, INK, 14, True), (Path(one.path).name, PALE, 12, False))
    for number, (text, color, size, bold) in enumerate(lines):
        shown = shorten(text, _CELL, size=size, bold=bold)
        draw_text(sheet, shown, (left, top + _CELL + 8 + 20 * number), size=size, color=color, bold=bold)
