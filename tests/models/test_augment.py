"""Augmentation: off outside training, seeded, restorable, and what each amount does."""

from __future__ import annotations

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.models.augment import Augment

EVERYTHING = {"flip": "both", "shift": 0.1, "rotate": 0.1, "zoom": 0.2, "stretch": 0.1, "contrast": 0.3, "erase": 0.5}


def images(count: int = 6, height: int = 16, width: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def gradient(count: int = 64, side: int = 33) -> np.ndarray:
    """Images whose red is the column, green the row, so that it can be read off where a pixel came from."""
    row, column = np.mgrid[0:side, 0:side].astype(np.float32) * (255 / (side - 1))
    return np.repeat(np.stack([column, row, np.full_like(row, 128)], axis=-1)[None], count, axis=0)


def test_off_outside_training_and_by_default() -> None:
    layer, batch = Augment(**EVERYTHING), images()
    assert np.array_equal(np.asarray(layer(batch)), batch)
    assert np.array_equal(np.asarray(layer(batch, training=False)), batch)
    assert not np.array_equal(np.asarray(layer(batch, training=True)), batch)
    inputs = keras.Input(batch.shape[1:], dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert np.array_equal(model.predict(batch, verbose=0), batch)


def test_the_same_seed_and_step_give_the_same_image() -> None:
    batch = images()
    one, two, other = (Augment(**EVERYTHING, seed=seed) for seed in (5, 5, 6))
    first, second = np.asarray(one(batch, training=True)), np.asarray(one(batch, training=True))
    assert np.array_equal(np.asarray(two(batch, training=True)), first)
    assert not np.array_equal(first, second), "each step draws anew"
    assert not np.array_equal(np.asarray(other(batch, training=True)), first)


def test_training_goes_on_where_the_state_was_saved() -> None:
    batch, layer = images(), Augment(**EVERYTHING, seed=5)
    layer(batch, training=True)
    state = np.asarray(layer.seed_generator.state)
    expected = np.asarray(layer(batch, training=True))
    fresh = Augment(**EVERYTHING, seed=5)
    fresh.seed_generator.state.assign(state)
    assert np.array_equal(np.asarray(fresh(batch, training=True)), expected)


def test_each_image_of_a_batch_is_drawn_apart() -> None:
    same = np.repeat(images(1), 8, axis=0)
    changed = np.asarray(Augment(**EVERYTHING)(same, training=True))
    assert len({image.tobytes() for image in changed}) == 8


@pytest.mark.parametrize("resampled", [False, True])
def test_a_mirror_is_exact_and_happens_half_the_time(resampled: bool) -> None:
    batch = np.repeat(images(1), 400, axis=0)
    # A shift far below a pixel takes the path of the affine map.
    changed = np.asarray(Augment(flip="horizontal", shift=1e-9 if resampled else 0.0)(batch, training=True))
    kept = np.isclose(changed, batch, atol=1e-2).all(axis=(1, 2, 3))
    mirrored = np.isclose(changed, batch[:, :, ::-1], atol=1e-2).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_both_mirrors_give_four_images() -> None:
    batch = np.repeat(images(1), 200, axis=0)
    changed = np.asarray(Augment(flip="both")(batch, training=True))
    assert len({image.tobytes() for image in changed}) == 4


def test_a_shift_is_a_share_of_the_side() -> None:
    batch = gradient()
    changed = np.asarray(Augment(shift=0.25)(batch, training=True))
    middle = changed[:, 16, 16, :2] * (32 / 255) - 16  # how far the middle came from, in pixels
    assert np.abs(middle).max() <= 0.25 * 33 + 0.01 and np.abs(middle).max() > 0.15 * 33
    assert abs(middle.mean()) < 2.5


def test_a_turn_keeps_the_middle_and_the_distance_to_it() -> None:
    batch = gradient()
    changed = np.asarray(Augment(rotate=0.25)(batch, training=True))
    assert changed[:, 16, 16] == pytest.approx(batch[:, 16, 16], abs=0.01)
    came = changed[:, 16, 26, :2] * (32 / 255) - 16
    assert np.hypot(came[:, 0], came[:, 1]) == pytest.approx(np.full(64, 10.0), abs=0.05)
    assert np.degrees(np.arctan2(came[:, 1], came[:, 0])).max() > 60


def test_a_zoom_shows_a_window_inside_the_image() -> None:
    batch = gradient(count=400)
    changed = np.asarray(Augment(zoom=0.5)(batch, training=True))[..., :2] * (32 / 255)
    left, right = changed[:, 16, 0, 0], changed[:, 16, 32, 0]
    sides = (right - left) / 32
    assert sides.min() >= 0.499 and sides.max() <= 1.001
    assert sides.min() < 0.55 and sides.max() > 0.97
    assert np.mean(sides < np.sqrt((0.25 + 1) / 2)) == pytest.approx(0.5, abs=0.08), "uniform in area"
    assert left.min() < 0.5 and right.max() > 31.5, "anywhere"
    assert sides == pytest.approx((changed[:, 32, 16, 1] - changed[:, 0, 16, 1]) / 32, abs=1e-3), "the same both ways"


def test_a_stretch_changes_width_against_height() -> None:
    changed = np.asarray(Augment(stretch=0.2)(gradient(), training=True))[..., :2] * (32 / 255)
    wide = (changed[:, 16, 20, 0] - changed[:, 16, 12, 0]) / 8
    tall = (changed[:, 20, 16, 1] - changed[:, 12, 16, 1]) / 8
    assert wide * tall == pytest.approx(np.ones(64), abs=1e-2)
    assert np.log(wide).min() < -0.15 and np.log(wide).max() > 0.15 and np.abs(np.log(wide)).max() <= 0.201


def test_contrast_moves_values_and_not_places() -> None:
    batch = gradient()
    changed = np.asarray(Augment(contrast=0.4)(batch, training=True))
    assert changed.min() >= 0 and changed.max() <= 255
    spread = changed[:, 10:22, 10:22, 0].std(axis=(1, 2)) / batch[:, 10:22, 10:22, 0].std()
    assert 0.6 - 0.01 <= spread.min() < 0.8 and 1.2 < spread.max() <= 1.41
    assert (np.argsort(changed[0, 16, :, 0], kind="stable") == np.arange(33)).all()


def test_the_layer_survives_its_config() -> None:
    layer = Augment(**EVERYTHING, seed=3, name="augment")
    again = Augment.from_config(layer.get_config())
    assert np.array_equal(np.asarray(again(images(), training=True)), np.asarray(layer(images(), training=True)))


def test_a_box_of_the_mean_color_is_painted_over_some_images() -> None:
    batch = np.repeat(images(1, 40, 40), 400, axis=0)
    changed = np.asarray(Augment(erase=0.3)(batch, training=True))
    painted = (changed != batch).any(axis=-1)
    share = painted.any(axis=(1, 2)).mean()
    assert 0.2 < share < 0.4
    mean = batch[0].mean(axis=(0, 1))
    for image, mask in zip(changed[:40], painted[:40], strict=True):
        assert np.allclose(image[mask], mean, atol=1e-3)
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask.sum() == rows.sum() * columns.sum(), "a box"
        assert rows.sum() <= 20 and columns.sum() <= 20


def test_images_shrink_while_training_asks_for_it_and_only_then() -> None:
    batch, layer = gradient(8, 32), Augment()
    layer.side = 16
    small = np.asarray(layer(batch, training=True))
    assert small.shape == (8, 16, 16, 3)
    assert small.mean() == pytest.approx(batch.mean(), rel=0.01), "shrunk, not cut"
    assert np.array_equal(np.asarray(layer(batch)), batch)
    layer.side = 32
    assert np.array_equal(np.asarray(layer(batch, training=True)), batch)
