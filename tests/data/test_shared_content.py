"""Sets whose images share most of their content: parts in one frame, one fixed camera, screenshots, films."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from housetrain.data.catalog import scan
from housetrain.data.shared_content import SIDE, own_content, same_pairs


def frame() -> np.ndarray:
    rows, columns = np.mgrid[:150, :150]
    lit = 170 - ((columns - 75) ** 2 + (rows - 75) ** 2) / 160.0
    for row in (32, 75, 118):
        lit[row - 2 : row + 2] = 70
        lit[row - 5 : row + 5, 10:140:26] = 40
        lit[:, row + 8 : row + 10] -= 25
    return lit.astype(np.float32)


def part(rng: np.random.Generator, shift: float) -> np.ndarray:
    """One part under the lamp: its own grain, a slightly other place, another brightness."""
    grain = cv2.resize(rng.normal(0, 40, (50, 50)).astype(np.float32), (150, 150), interpolation=cv2.INTER_CUBIC)
    move = np.float32([[1, 0, rng.normal(0, shift)], [0, 1, rng.normal(0, shift)]])
    moved = cv2.warpAffine(frame(), move, (150, 150), borderMode=cv2.BORDER_REPLICATE)
    noisy = moved * rng.uniform(0.75, 1.15) + 0.15 * grain + rng.normal(0, 1, grain.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def small(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in images])


@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0])
def test_parts_in_one_frame_are_told_apart_and_copies_are_found(shift: float) -> None:
    rng = np.random.default_rng(1)
    images = [part(rng, shift) for _ in range(160)]
    for number in range(10):
        images.append(cv2.imdecode(cv2.imencode(".jpg", images[number], [cv2.IMWRITE_JPEG_QUALITY, 80])[1], 0))
        images.append((images[number] * 1.1 + 5).clip(0, 255).astype(np.uint8))
    found = set(zip(*map(np.ndarray.tolist, same_pairs(small(images))), strict=True))
    copies = {(number, 160 + 2 * number + kind) for number in range(10) for kind in range(2)}
    between = {(160 + 2 * number, 161 + 2 * number) for number in range(10)}
    assert len(found & copies) >= 18, "copies are missed"
    assert len(found - copies - between) <= 0.05 * len(found), "different parts are called copies"


def test_an_unchanged_scene_is_the_same_in_every_frame() -> None:
    rng = np.random.default_rng(2)
    scene = cv2.resize(rng.integers(40, 200, (9, 12), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    frames = [(scene + rng.normal(0, 2, scene.shape)).clip(0, 255).astype(np.uint8) for _ in range(40)]
    left, _ = same_pairs(small(frames))
    assert len(left) == 40 * 39 // 2


def test_what_all_share_is_removed() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(0, 256, (SIDE, SIDE)).astype(np.float32)
    lamps = np.stack([(base * gain).clip(0, 255) for gain in np.linspace(0.5, 1.0, 50)]).astype(np.uint8)
    assert own_content(lamps, components=0).std() < 1.0


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """One fixed camera: each image shows another object somewhere in the same scene."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    for label in ("good", "defect"):
        (tmp_path / "cam" / label).mkdir(parents=True)
        for number in range(40):
            image = scene.copy()
            x, y, size = (int(value) for value in rng.integers((20, 20, 12), (280, 200, 24)))
            color = tuple(int(value) for value in rng.integers(0, 256, 3))
            if label == "good":
                cv2.rectangle(image, (x, y), (x + size, y + size), color, -1)
            else:
                cv2.circle(image, (x, y), size // 2, color, -1)
            cv2.imwrite(str(tmp_path / "cam" / label / f"{number}.png"), image)
    return tmp_path / "cam"


def test_images_of_a_fixed_camera_are_not_one_group(camera: Path) -> None:
    catalog = scan(camera, workers=1, cache=False)
    assert sum(map(len, catalog.near_duplicates)) <= 8


def x_ray(rng: np.random.Generator) -> np.ndarray:
    """Smooth shadows of one anatomy in varying proportions, the noise of a detector."""
    rows, columns = np.mgrid[0:128, 0:128]
    smooth = 90 + 50 * np.sin(columns / (20 + rng.uniform(-5, 5))) + 35 * np.cos(rows / (25 + rng.uniform(-8, 8)))
    return np.asarray((smooth + rng.normal(0, 2.5, smooth.shape)).clip(0, 255), np.uint8)


def document(rng: np.random.Generator) -> np.ndarray:
    """One form, filled in by hand."""
    page = np.full((220, 160), 245, np.uint8)
    for row in range(20, 210, 14):
        cv2.line(page, (10, row), (150, row), 120, 1)
    cv2.rectangle(page, (10, 6), (90, 16), 60, -1)
    for row in range(20, 200, 14):
        steps = rng.integers(-5, 6, (12, 2)) + np.stack((np.arange(12) * 11 + 14, np.full(12, row + 8)), axis=1)
        cv2.polylines(page, [steps.astype(np.int32)], isClosed=False, color=20, thickness=1)
    return page


@pytest.mark.parametrize("draw", [x_ray, document])
def test_sets_of_one_kind_of_picture_have_only_their_copies_as_near_duplicates(
    draw: Callable[[np.random.Generator], np.ndarray], tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    for label in ("one", "other"):
        (tmp_path / label).mkdir()
        for number in range(40):
            image = draw(rng)
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), image)
            if number < 5:
                cv2.imwrite(str(tmp_path / label / f"{number}-copy.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    groups = scan(tmp_path, workers=1, cache=False).near_duplicates
    stems = [{Path(one.path).stem.removesuffix("-copy") for one in group} for group in groups]
    copies = [one for one in stems if len(one) == 1]
    assert len(copies) >= 9 and len(groups) == len(copies), "different pictures are called copies"
