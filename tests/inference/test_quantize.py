"""Models in 8 bits: near the model in float32, by the ranges of real images."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from housetrain.errors import ModelError
from housetrain.inference.formats import openvino as openvino_format
from housetrain.inference.quantize import quantized, ranges_of

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def graph() -> Any:
    """A plain, a depthwise and a pointwise convolution, a shortcut, and two dense layers; weights drawn at random."""
    import keras

    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = shortcut = keras.layers.Conv2D(8, 3, padding="same", activation="relu6", bias_initializer="normal")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = keras.layers.Conv2D(8, 1)(x)
    x = keras.layers.Flatten()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.Dense(32, activation="tanh")(x)
    return openvino_format.converted(keras.Model(image, keras.layers.Dense(4, activation="softmax")(x)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth random images: 64 to measure on, 64 to compare on."""
    coarse = np.random.default_rng(0).integers(0, 256, (128, 4, 4, 3))
    return np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2).astype(np.uint8)


def outputs(graph: Any, images: np.ndarray) -> np.ndarray:
    return np.asarray(openvino_format.compiled(graph, "fp32").run(images))


def test_a_quantized_model_gives_nearly_the_same_probabilities_and_is_computed_in_integers(
    graph: Any, images: np.ndarray
) -> None:
    core = openvino_format.core()
    ranges = ranges_of(graph, images[:64], core=core)
    narrow = quantized(graph, ranges, core=core)
    expected, found = outputs(graph, images[64:]), outputs(narrow, images[64:])
    assert np.abs(expected - expected.mean(axis=0)).mean() > 0.01, "the images differ"
    assert 0 < np.abs(found - expected).max() < 0.05 and np.abs(found - expected).mean() < 0.01
    kinds = Counter(node.get_type_name() for node in narrow.get_ops())
    assert (kinds["Convolution"], kinds["GroupConvolution"], kinds["MatMul"]) == (2, 1, 2)
    bytes_of = [node.data.nbytes for node in narrow.get_ops() if node.get_element_type().to_string() == "i8"]
    assert len(bytes_of) == 4, "three kernels and the first dense layer; the last one keeps float32"
    assert sum(bytes_of) == 3 * 3 * 3 * 8 + 3 * 3 * 8 + 8 * 8 + 16 * 16 * 8 * 32
    compiled = core.compile_model(narrow, "CPU")
    computed = [
        node.get_rt_info()["runtimePrecision"].value
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"] == "Convolution"
    ]
    assert len(computed) == 3 and set(computed) <= {"u8", "i8"}


def test_ranges_are_those_of_the_images(graph: Any, images: np.ndarray) -> None:
    core = openvino_format.core()
    bright, all_of_them = (ranges_of(graph, some, core=core) for some in (np.maximum(images, 200), images))
    assert bright[0] == pytest.approx((200 / 127.5 - 1, 1.0), abs=1e-5)
    assert all_of_them[0] == pytest.approx((-1.0, 1.0), abs=1e-5)
    one_by_one = np.array([ranges_of(graph, images[at : at + 1], core=core) for at in range(3)])
    together = np.array(ranges_of(graph, images[:3], core=core))
    assert np.array_equal(together[:, 0], one_by_one[..., 0].min(axis=0))
    assert np.array_equal(together[:, 1], one_by_one[..., 1].max(axis=0))


def test_ranges_too_narrow_for_the_images_are_seen_in_the_probabilities(graph: Any, images: np.ndarray) -> None:
    """A test that the ranges are used at all."""
    core = openvino_format.core()
    ranges = [(low / 10, high / 10) for low, high in ranges_of(graph, images[:64], core=core)]
    found = outputs(quantized(graph, ranges, core=core), images[64:])
    assert np.abs(found - outputs(graph, images[64:])).max() > 0.05


def test_ranges_of_another_model_are_refused(graph: Any, images: np.ndarray) -> None:
    core = openvino_format.core()
    with pytest.raises(ModelError, match=r"do not belong to this model\. Expected: \d ranges.*Received: ranges=1"):
        quantized(graph, [(0.0, 1.0)], core=core)
