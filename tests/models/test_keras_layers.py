"""Layer records become Keras layers: mirror images beside the image, and the mean over them."""

from __future__ import annotations

import keras  # noqa: TID253
import numpy as np
import pytest

from housetrain.inference.formats.keras import unknown_classes
from housetrain.models.keras_layers import keras_model, layer_seed
from housetrain.models.layers import FLIP_MEAN, FLIPS, Graph


def model(views: int, *, inside: bool) -> keras.Model:
    """Images of 4x6 pixels, one convolution, and the mean over ``views``."""
    graph = Graph()
    x = graph.add("InputLayer", name="image", shape=(4, 6, 1))
    x = graph.add("Rescaling", x, name="scale", scale=1.0, offset=0.0)
    x = graph.add(FLIPS, x, name="flips", views=views)
    x = graph.conv(x, 1, kernel=3, padding="valid", name="edges")
    x = graph.mean(x)
    if inside:
        x = graph.add(FLIP_MEAN, x, name="flip_mean", views=views)
    return keras_model(graph.layers, name="flipped", seed=3)


KEPT, TURNED = slice(None), slice(None, None, -1)


@pytest.mark.parametrize("views", [2, 4])
def test_the_batch_holds_the_images_then_each_kind_of_mirror_image(views: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1), dtype=np.uint8)
    found = np.asarray(model(views, inside=False)(images))
    assert found.shape == (3 * views, 1)
    one_by_one = model(views, inside=False)
    for number, (rows, columns) in enumerate([(KEPT, KEPT), (KEPT, TURNED), (TURNED, KEPT), (TURNED, TURNED)][:views]):
        alone = np.asarray(one_by_one(np.ascontiguousarray(images[:, rows, columns])))[:3]
        assert found[3 * number : 3 * number + 3] == pytest.approx(alone, rel=1e-5), f"view {number}"
    averaged = np.asarray(model(views, inside=True)(images))
    assert averaged == pytest.approx(found.reshape(views, 3, 1).mean(axis=0), rel=1e-5)


def test_such_a_model_is_of_classes_that_a_file_may_name_and_its_operations_are_named_alike() -> None:
    first, second = model(4, inside=True), model(4, inside=True)
    names = [[operation.name for operation in one.operations] for one in (first, second)]
    assert names[0] == names[1] and {"flip_1", "flip_2", "flip_3", "flip_parts"} <= set(names[0])
    assert not set(unknown_classes(first.get_config()))


def test_a_layer_keeps_its_weights_where_another_is_added() -> None:
    assert layer_seed(0, "edges") != layer_seed(1, "edges") != layer_seed(1, "corners")
    kernels = [model(views, inside=True).get_layer("edges").get_weights()[0] for views in (2, 4)]
    assert np.array_equal(*kernels)
