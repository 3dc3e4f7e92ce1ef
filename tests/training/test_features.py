"""Features: computed once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras  # noqa: TID253
import numpy as np
import pytest
from prepared_digits import digits

from housetrain.data.prepare import Prepared
from housetrain.models.augmented_views import View, changed
from housetrain.training.features import Base, features_of


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return digits(tmp_path_factory.mktemp("few"), classes=2, most=120)


def base_of(few: Prepared, *, scale: float = 1.0, **changes: Any) -> Base:
    """Features: the mean of each image's four quarters, times ``scale``."""
    image = keras.Input((8, 8, 1), dtype="uint8", name="image")
    x = keras.layers.Rescaling(scale, name="scale")(image)
    x = keras.layers.AveragePooling2D(4, name="base_pool")(x)
    x = keras.layers.Flatten(name="base_flatten")(x)
    x = keras.layers.Dense(4, use_bias=False, kernel_initializer="identity", name="base_dense")(x)
    whole = keras.Model(image, keras.layers.Dense(1, activation="sigmoid", name="probability")(x))
    whole.get_layer("base_dense").set_weights([scale * np.eye(4, dtype=np.float32)])
    options = {"spec": few.spec, "decoder": {"a": "1"}, "precision": "float32"} | changes
    return Base.of_model(whole, "tiny", sample=np.asarray(few.train.images[:4]), **options)


def quarters(images: np.ndarray) -> np.ndarray:
    return images[..., 0].reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(-1, 4)


def test_rows_come_in_the_order_of_images_then_views(few: Prepared, tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    view = View(1, 0, flip="horizontal", shift=0.0, rotate=0.0, zoom=0.0, stretch=0.0, contrast=0.0)
    found = features_of(
        base_of(few), few.train, tmp_path, views=[view], progress=lambda done, total: counts.append((done, total))
    )
    count = len(few.train)
    assert found.rows.shape == (2 * count, 4) and found.rows.dtype == np.float16
    expected = quarters(np.asarray(few.train.images))
    assert found.rows[:count] == pytest.approx(expected, rel=2e-3, abs=0.1)
    mirrored = expected.reshape(-1, 2, 2)[:, :, ::-1].reshape(-1, 4)
    assert found.rows[count:] == pytest.approx(mirrored, rel=2e-3, abs=0.1), "with flips alone: all are mirrored"
    assert found.computed == 2 * count and counts[-1] == (2 * count, 2 * count)
    again = features_of(base_of(few), few.train, tmp_path)
    assert again.computed == 0 and np.array_equal(again.rows, found.rows[:count])
    assert (again.engine, again.precision) == (found.engine, "float32")


def test_flips_alone_are_all_mirror_images_in_turn() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 6, 1)
    amounts = dict.fromkeys(("shift", "rotate", "zoom", "stretch", "contrast"), 0.0)
    shown = [changed(image, View(number, 0, flip="both", **amounts), "a") for number in range(4)]
    flipped = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    assert all(np.array_equal(one, other) for one, other in zip(shown, flipped, strict=True))
    drawn = [changed(image, View(number, 0, flip="both", **amounts | {"shift": 1e-9}), "a") for number in range(20)]
    assert {one.tobytes() for one in drawn} == {one.tobytes() for one in flipped}, "with another amount: at random"


def test_another_base_size_or_decoder_has_a_folder_of_its_own(few: Prepared, tmp_path: Path) -> None:
    larger = dataclasses.replace(few.spec, height=16, width=16)
    bases = [base_of(few), base_of(few, scale=2.0), base_of(few, decoder={"a": "2"}), base_of(few, spec=larger)]
    assert len({base.folder(tmp_path) for base in bases}) == len(bases)
    assert base_of(few).folder(tmp_path) == bases[0].folder(tmp_path)
