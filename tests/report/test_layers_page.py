"""The page of a convolution at work: its numbers are those of Keras, and it loads nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from studio.browser import browser

from housetrain.errors import CorruptError
from housetrain.evaluation.first_convolution import FirstConvolution, first_convolution
from housetrain.images.input_spec import InputSpec
from housetrain.models.layers import Layer
from housetrain.models.recipe import Recipe
from housetrain.report.layers_page import LayersView, in_words, read_view, view_of, write_layers_page


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
    view = view_of(found, ())
    page = write_layers_page(tmp_path / "layers.html", view, title="</script><b>x").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page)
    assert data is not None and np.shape(json.loads(data[1])["maps"]) == (4, 18, 18)
    assert "</script><b>" not in page and not re.search(r'(src|href)="http', page)
    used = set(re.findall(r'get\("(\w+)"\)', page)) | {"row", "column"}
    assert used <= set(re.findall(r'id="(\w+)"', page)), "the script finds what it moves"


@pytest.mark.parametrize(("model", "color"), [("cnn", "grayscale"), ("best", "rgb")])
def test_the_words_agree_with_the_table_of_layers(model: str, color: str, tmp_path: Path) -> None:
    from housetrain.models.build import build
    from housetrain.models.saved_layers import read_layers

    spec = InputSpec(24, 24, color)
    net = build(Recipe.of(model), spec=spec, classes=("a", "b"))
    net.save(tmp_path / "model.keras")
    layers = read_layers(tmp_path / "model.keras")
    found = first_convolution(net, np.zeros(spec.shape, np.uint8))
    assert found is not None
    view = view_of(found, layers)
    [own] = [layer for layer in view["layers"] if layer["name"] == found.name]
    words = " ".join(view["words"])
    assert f" = {own['parameters']:,} parameters." in words
    kinds = [layer.kind for layer in layers]
    place = [layer.name for layer in layers].index(found.name)
    following = kinds[place + 1 : place + 4]
    assert ("Batch normalization scales" in words) == ("BatchNormalization" in following)
    assert ("this model has none here" in words) == ("MaxPooling2D" not in following)


def test_a_model_without_a_convolution_has_no_page() -> None:
    assert first_convolution(None, np.zeros((8, 8, 1), np.uint8)) is None


def small_view() -> LayersView:
    """What is shown of a hand-made filter, the sum of 3 x 3 pixels, on an image of 6 x 6 ascending pixels."""
    pixels = np.arange(36, dtype=np.float32).reshape(6, 6, 1) / 36
    maps = np.stack([[pixels[r : r + 3, c : c + 3].sum() for c in range(4)] for r in range(4)])[..., None]
    kernels = np.ones((3, 3, 1, 1), np.float32)
    found = FirstConvolution("conv_1", pixels, kernels, np.zeros(1, np.float32), maps, (0,), 1, 1, 0)
    row = Layer("conv_1", "Conv2D", {"filters": 1, "kernel_size": [3, 3], "strides": [1, 1]}, (), (4, 4, 1), 10, None)
    return view_of(found, (row,))


def test_what_the_page_shows_is_beside_it_for_the_studio(tmp_path: Path) -> None:
    assert read_view(tmp_path) is None
    view = small_view()
    write_layers_page(tmp_path / "layers.html", view, title="a")
    assert read_view(tmp_path) == view and view["layers"][0]["parameters"] == 10
    (tmp_path / "layers.json").write_text('{"numbers": 3}')
    with pytest.raises(CorruptError, match=r"layers\.json"):
        read_view(tmp_path)


def test_the_window_moves_in_a_browser_and_the_sums_follow(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="the browser's driver is not installed")
    page = write_layers_page(tmp_path / "layers.html", small_view(), title="a")
    with browser() as chromium:
        problems: list[str] = []
        for width, theme in ((1180, "light"), (400, "dark")):
            tab = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            tab.on("pageerror", lambda error: problems.append(str(error)))
            tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
            tab.goto(page.as_uri())
            tab.locator("#row").fill("0")
            tab.locator("#column").fill("1")
            by_hand = sum(r * 6 + c for r in range(3) for c in range(1, 4)) / 36
            assert tab.locator("#sum").inner_text().endswith(f"= {by_hand:.2f}")
            assert tab.locator("#products td").first.inner_text() == f"{1 / 36:.2f}"
            tab.locator("#play").click()
            tab.get_by_role("button", name="Slide the window").wait_for(timeout=20_000)
            assert (tab.locator("#row").input_value(), tab.locator("#column").input_value()) == ("3", "3")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
            clipped = "box => [...box.querySelectorAll('figcaption')].filter(one => one.scrollWidth > one.clientWidth)"
            assert tab.locator("#layers").evaluate(f"({clipped})") == [], "a caption is cut off"
        assert not problems
