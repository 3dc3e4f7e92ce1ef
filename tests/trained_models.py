"""Two small models trained for real: ten digits in gray, and two kinds of pets in color."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import housetrain as ht


@dataclass(frozen=True)
class Trained:
    """A run with what it was made from."""

    images: Path
    prepared: ht.Prepared
    run: ht.Run


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The embedded digits, gray 16x16, ten classes; never to be changed by a test."""
    root = tmp_path_factory.mktemp("digits")
    folder = ht.sample("digits", root / "digits")
    prepared = ht.prepare(folder, root / "prepared", image_size=16, color_mode="grayscale")
    run = ht.train(prepared, ht.Recipe.of("cnn", conv=2, nodes=16, epochs=3), root / "run")
    return Trained(folder, prepared, run)


@pytest.fixture(scope="session")
def pets(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """40 photos of cats and 40 of dogs, color 24x24, one sigmoid, with augmentation; never to be changed by a test."""
    root = tmp_path_factory.mktemp("pets")
    for label in ("cats", "dogs"):
        (root / "photos" / label).mkdir(parents=True)
        for path in sorted((photos / label).iterdir())[:40]:
            shutil.copyfile(path, root / "photos" / label / path.name)
    prepared = ht.prepare(root / "photos", root / "prepared", image_size=(24, 32), color_mode="rgb")
    run = ht.train(prepared, ht.Recipe.of("cnn", conv=1, nodes=8, epochs=2, flip="horizontal"), root / "run")
    return Trained(root / "photos", prepared, run)


@pytest.fixture
def bundle(digits: Trained, tmp_path: Path) -> Path:
    """A bundle of the digits that a test may change."""
    return ht.export(digits.run, tmp_path / "bundle").folder
