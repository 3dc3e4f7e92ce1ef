"""EfficientNet-Lite gives what the reference implementation gave, at any image size, as a flat model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps  # noqa: TID253

from housetrain.errors import ModelError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.models.imagenet import imagenet_classes
from housetrain.models.pretrained_weights import WEIGHT_PACKAGES, Tensors, is_available, load_pretrained

keras = pytest.importorskip("keras")
from housetrain.models import efficientnet_lite  # noqa: E402

REFERENCE = Path(__file__).with_name("reference") / "efficientnet_lite_logits.npz"
NAMES = sorted(efficientnet_lite.VARIANTS)
LITE0 = "efficientnet-lite0"
DOGS, CATS = range(151, 269), range(281, 286)


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """Logits of `reference/make_logits.py`: the published PyTorch model in torch 2.13 on a CPU."""
    with np.load(REFERENCE) as file:
        return dict(file)


def weights_of(name: str) -> Tensors:
    if not is_available(name):
        pytest.skip(f"the package with the weights is not installed: {WEIGHT_PACKAGES[name].package}")
    return load_pretrained(name)


def random_tensors(name: str) -> Tensors:
    """Tensors of the right names and shapes, from a model with random weights."""
    model = efficientnet_lite.build(name, include_top=True)
    layers = [*efficientnet_lite._layer_tensors(name), ("imagenet", ("_fc.weight", "_fc.bias"))]
    found: Tensors = {}
    for layer, keys in layers:
        for key, value in zip(keys, model.get_layer(layer).get_weights(), strict=True):
            axes = {4: (2, 3, 0, 1) if "_depthwise_" in key else (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim)
            found[key] = value if axes is None else value.transpose(axes)
    return found


def fitted(path: Path, side: int) -> np.ndarray:
    """The input as `reference/make_logits.py` made it: the largest centered square, resized by Pillow (bilinear)."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BILINEAR), np.uint8)


def pattern(height: int, width: int) -> np.ndarray:
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * x * 4 + y * y * 5 + x * y + 40 * c * (x + y)) // 64 % 256).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_logits_on_real_images_are_those_of_the_reference(name: str, reference: dict[str, Any], photos: Path) -> None:
    tensors = weights_of(name)
    side = efficientnet_lite.VARIANTS[name].image_size
    images = [fitted(photos / path, side) for path in reference[f"{name}/names"]]
    assert len(images) == (20 if name == LITE0 else 4)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert digests == list(reference[f"{name}/sha256"]), "Pillow decodes or resizes to other pixels than the reference"
    model = efficientnet_lite.build(name, tensors=tensors, image_size=side, include_top=True, activation="linear")
    found = model.predict_on_batch(np.stack(images))
    np.testing.assert_allclose(found, reference[f"{name}/logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", ["224x224", "97x130", "160x160", "33x50"])
def test_logits_at_other_sizes_are_those_of_the_reference(size: str, reference: dict[str, Any]) -> None:
    height, width = map(int, size.split("x"))
    options: dict[str, Any] = {"include_top": True, "activation": "linear"}
    model = efficientnet_lite.build(LITE0, tensors=weights_of(LITE0), image_size=(height, width), **options)
    found = model.predict_on_batch(pattern(height, width)[None])
    np.testing.assert_allclose(found, reference[f"pattern/{size}"], rtol=0, atol=1e-3)


def test_cats_and_dogs_are_named(photos: Path) -> None:
    """Every sixth image, 50 a class. Of all 600, 577 are named."""
    model = efficientnet_lite.build(LITE0, tensors=weights_of(LITE0), image_size=224, include_top=True)
    spec = InputSpec(height=224, width=224, color_mode="rgb")
    named = 0
    for label, breeds in (("cats", CATS), ("dogs", DOGS)):
        images = np.stack([decode.load_image(path, spec) for path in sorted((photos / label).iterdir())[::6]])
        top = np.argsort(-model.predict(images, batch_size=25, verbose=0), axis=1)[:, :5]
        named += sum(any(value in breeds for value in row) for row in top)
    assert named >= 95
    names = [entry.name for entry in imagenet_classes()]
    assert names[CATS[0]] == "tabby" and names[DOGS[0]] == "Chihuahua" and names[DOGS[-1]] == "Mexican hairless"


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_flat_and_its_names_do_not_depend_on_what_was_built_before(name: str) -> None:
    one, other = efficientnet_lite.build(name), efficientnet_lite.build(name)
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert not any(isinstance(layer, (keras.Model, keras.layers.Lambda)) for layer in one.layers)
    assert one.input_shape == (None, None, None, 3) and one.output_shape == (None, 1280)
    ends = [one.get_layer(end).output.shape[-1] for end in efficientnet_lite.stage_ends(name)]
    assert len(ends) == 8 and ends[-1] == 1280
    if name == LITE0:
        assert ends[:-1] == [16, 24, 40, 80, 112, 192, 320] and one.count_params() == 3_413_024


def test_features_are_what_the_classes_are_computed_from() -> None:
    tensors = random_tensors(LITE0)
    image = pattern(64, 48)[None]
    features = efficientnet_lite.build(LITE0, tensors=tensors).predict_on_batch(image)
    options: dict[str, Any] = {"include_top": True, "activation": "linear"}
    logits = efficientnet_lite.build(LITE0, tensors=tensors, **options).predict_on_batch(image)
    np.testing.assert_allclose(features @ tensors["_fc.weight"].T + tensors["_fc.bias"], logits, atol=1e-4)
    probabilities = efficientnet_lite.build(LITE0, tensors=tensors, include_top=True).predict_on_batch(image)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)


def test_the_scaling_is_exact() -> None:
    pixels = np.arange(256, dtype=np.float32)
    scaled = pixels * np.float32(efficientnet_lite.SCALE) + np.float32(efficientnet_lite.OFFSET)
    assert np.array_equal(scaled, (pixels - 127) / 128)


def test_weights_that_do_not_fit_are_all_named_and_change_nothing() -> None:
    tensors = random_tensors(LITE0)
    model = efficientnet_lite.build(LITE0)
    before = model.get_weights()
    wrong = dict(tensors) | {"_conv_head.weight": np.zeros((1280, 319, 1, 1), np.float32)}
    del wrong["_blocks.3._bn1.running_var"]
    with pytest.raises(ModelError, match="do not fit") as caught:
        efficientnet_lite.put_tensors(model, LITE0, wrong)
    assert "block3_1_depthwise_bn" in str(caught.value) and "top_conv" in str(caught.value)
    assert "layers=2" in str(caught.value)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    with pytest.raises(ModelError, match="do not fit"):
        efficientnet_lite.build("efficientnet-lite2", tensors=tensors)
    with pytest.raises(ModelError, match="efficientnet-lite1"):
        efficientnet_lite.build("efficientnet-lite9")


def test_a_model_survives_saving_as_plain_keras(tmp_path: Path) -> None:
    model = efficientnet_lite.build(LITE0, image_size=64)
    model.save(tmp_path / "model.keras")
    image = pattern(64, 64)[None]
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(model.predict_on_batch(image), again.predict_on_batch(image))


def test_openvino_gives_the_same_features() -> None:
    pytest.importorskip("openvino")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the conversion to OpenVINO needs the TensorFlow backend")
    from housetrain.inference.formats.openvino import compiled, converted

    model = efficientnet_lite.build(LITE0, tensors=weights_of(LITE0), image_size=96)
    engine = compiled(converted(model), "fp32")
    images = np.stack([pattern(96, 96), pattern(96, 192)[:, 96:]])
    found = engine.run(images)
    np.testing.assert_allclose(found, model.predict_on_batch(images), atol=1e-4)


def test_the_classes_are_those_of_keras(class_index: Path) -> None:
    import json

    found = {str(n): [entry.wnid, entry.name.replace(" ", "_")] for n, entry in enumerate(imagenet_classes())}
    assert found == json.loads(class_index.read_text())


def test_there_are_a_thousand_classes() -> None:
    classes = imagenet_classes()
    assert len(classes) == len({entry.wnid for entry in classes}) == 1000
    assert classes[0] == ("n01440764", "tench") and classes[999].name == "toilet tissue"
