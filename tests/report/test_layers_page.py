"""The page of a convolution at work: its numbers are those of Keras, and it loads nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from housetrain.evaluation.first_convolution import first_convolution
from housetrain.images.input_spec import InputSpec
from housetrain.models.recipe import Recipe
from housetrain.report.layers_page import in_words, write_layers_page


@pytest.mark.parametrize(("model", "side", "color"), [("cnn", 20, "grayscale"), ("best", 24, "rgb")])
def test_a_window_times_the_weights_is_the_number_of_the_feature_map(model: str, side: int, color: str) -> None:
    from housetrain.models.build import build, for_inference

    spec = InputSpec(side, side, color)
    recipe = Recipe.of(model, conv=2, nodes=8) if model == "cnn" else Recipe.of(model)
    net = for_inference(build(recipe, spec=spec, classes=("a", "b")))
    image = np.random.default_rng(0).integers(0, 255, spec.shape, dtype=np.uint8)
    found = first_convolution(net, image)
    assert found is not None and len(found.numbers) == 4
    size = found.kernels.shape[0]
    padded = np.pad(found.pixels, ((found.pad, size), (found.pad, size), (0, 0)))
    for row, column in ((0, 0), (3, 7), (found.maps.shape[0] - 1, 0)):
        top, left = row * found.stride, column * found.stride
        window = padded[top : top + size, left : left + size]
        by_hand = (window[..., None] * found.kernels).sum(axis=(0, 1, 2)) + found.biases
        assert by_hand == pytest.approx(found.maps[row, column], abs=1e-4)


def test_the_page_holds_its_numbers_and_says_how_the_shapes_follow(tmp_path: Path) -> None:
    from housetrain.models.build import build

    spec = InputSpec(20, 20, "grayscale")
    net = build(Recipe.of("cnn", conv=1, nodes=8), spec=spec, classes=("a", "b"))
    found = first_convolution(net, np.arange(400, dtype=np.uint8).reshape(spec.shape))
    assert found is not None
    words = " ".join(in_words(found))
    assert "(9 + 1) × 8 = 80 parameters" in words and "18 × 18 places" in words and "9 × 9 are left" in words
    page = write_layers_page(tmp_path / "layers.html", found, (), title="</script><b>x").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page)
    assert data is not None and np.shape(json.loads(data[1])["maps"]) == (4, 18, 18)
    assert "</script><b>" not in page and not re.search(r'(src|href)="http', page)
    used = set(re.findall(r'get\("(\w+)"\)', page)) | {"row", "column"}
    assert used <= set(re.findall(r'id="(\w+)"', page)), "the script finds what it moves"


def test_a_model_without_a_convolution_has_no_page() -> None:
    assert first_convolution(None, np.zeros((8, 8, 1), np.uint8)) is None
