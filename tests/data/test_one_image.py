"""One image, looked at: the shape of the original and the pixels of the model input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from housetrain.data.one_image import is_image, show_image


def test_the_original_shape_and_the_prepared_pixels_are_shown(tmp_path: Path, call: Any) -> None:
    photo = tmp_path / "cat.jpg"
    cv2.imwrite(str(photo), np.full((375, 500, 3), 90, np.uint8))
    lines = show_image(photo, tmp_path / "sheet.png", sizes=(8, 100))
    assert "shape (375, 500, 3), uint8, values 90 to 90" in lines[0]
    assert "(8x8): shape (8, 8, 1)" in lines[1] and lines[3] == "[[90 90 90 90 90 90 90 90]"
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (400, 3 * 410 - 10, 3)
    code, out, _ = call("show", photo, "--color-mode", "rgb")
    assert code == 0 and "(375, 500, 3)" in out and Path("cat.jpg-sheet.png").is_file()


def test_what_is_no_image_is_read_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert not is_image(tmp_path) and not is_image(tmp_path / "a.txt") and not is_image(tmp_path / "none")
