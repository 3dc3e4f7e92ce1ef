"""Heat maps and tiles."""

from __future__ import annotations

import numpy as np

from housetrain.report import heat


def test_heat_is_red_and_cold_is_the_image() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = 1
    drawn = heat.overlay(image, values)
    assert tuple(drawn[39, 39]) == (100, 100, 100)
    assert drawn[0, 0, 0] > 110 > 60 > drawn[0, 0, 2]


def test_a_strip_shows_the_channels_with_the_highest_variance() -> None:
    values = np.zeros((6, 6, 20), np.float32)
    values[:3, :, [4, 9]] = 1
    strip, count = heat.draw_strip(values, channels=2, side=30)
    assert count == 2 and strip.shape == (30, 62, 3)
    assert (strip[0, 0] != strip[29, 0]).any(), "both tiles vary"


def test_kernels_of_rgb_images_are_drawn_in_color() -> None:
    kernels = np.zeros((3, 3, 3, 2), np.float32)
    kernels[:, :, 0, 0] = 1
    tiles = heat.draw_filters(kernels, side=30)
    assert tiles.shape == (30, 62, 3) and tuple(tiles[5, 5]) == (255, 0, 0)
