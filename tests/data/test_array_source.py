"""Arrays become a prepared folder by the rules that hold for image files, or are refused with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import housetrain as ht
from housetrain.data.array_source import _carve, _Item
from housetrain.data.prepared import Prepared
from housetrain.data.samples import read_idx
from housetrain.data.split_manifest import SPLITS
from housetrain.errors import DataError, FolderError

Pair = tuple[np.ndarray, np.ndarray]


def pair(count: int, *shape: int, classes: int = 3, seed: int = 0) -> Pair:
    """Return different random images, and labels that count through the classes."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count) % classes


@pytest.fixture
def train() -> Pair:
    return pair(60, 8, 9)


@pytest.fixture
def test() -> Pair:
    return pair(12, 8, 9, seed=1)


@pytest.fixture(scope="module")
def mnist(mnist_t10k: Path) -> Pair:
    """Return the 10,000 MNIST test digits."""
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    images, labels = (read_idx(mnist_t10k / name) for name in names)
    return images, labels


def test_every_row_is_the_image_that_its_path_names(train: Pair, test: Pair, tmp_path: Path) -> None:
    prepared = Prepared.from_arrays(train, test, folder=tmp_path / "out")
    given = {"train": train, "test": test}
    assert prepared.classes == ("0", "1", "2") and prepared.spec.shape == (8, 9, 1)
    assert (len(prepared.train) + len(prepared.validation), len(prepared.test)) == (60, 12)
    for name in SPLITS:
        arrays = prepared.arrays(name)
        for image, label, path in zip(arrays.images, arrays.labels, arrays.paths, strict=True):
            source, number = path.split("/")
            assert source == ("test" if name == "test" else "train")
            assert np.array_equal(image[..., 0], given[source][0][int(number)])
            assert label == given[source][1][int(number)]
    assert Prepared.open(tmp_path / "out") == prepared


def test_shapes_of_keras_datasets_fit(tmp_path: Path) -> None:
    """CIFAR's labels are columns of uint8; a channel axis may be there."""
    images, labels = pair(60, 8, 8, 3)
    column = labels.astype(np.uint8)[:, None]
    few = pair(12, 8, 8, 3, seed=1)
    cifar = Prepared.from_arrays((images, column), few, classes=["cat", "ant", "bee"], folder=tmp_path / "cifar")
    assert cifar.spec.shape == (8, 8, 3) and cifar.classes == ("cat", "ant", "bee"), "labels keep their numbers"
    assert np.array_equal(np.bincount(cifar.test.labels), [4, 4, 4])
    gray = Prepared.from_arrays(pair(60, 8, 8, 1), pair(12, 8, 8, seed=1), folder=tmp_path / "gray")
    assert gray.spec.color_mode == "grayscale"
    lists = Prepared.from_arrays((images, labels.tolist()), few, folder=tmp_path / "lists")
    assert len(lists.train) == len(cifar.train)


def test_the_validation_split_is_a_share_of_train_or_given(train: Pair, test: Pair, tmp_path: Path) -> None:
    images, labels = pair(3000, 4, 4)
    prepared = Prepared.from_arrays(
        (images, labels), pair(9, 4, 4, seed=1), folder=tmp_path / "a", validation_split=0.2
    )
    assert 0.17 < len(prepared.validation) / 3000 < 0.23
    other = Prepared.from_arrays((images, labels), pair(9, 4, 4, seed=1), folder=tmp_path / "b", seed=1)
    assert set(other.validation.paths) != set(prepared.validation.paths)
    given = Prepared.from_arrays(train, test, validation=pair(9, 8, 9, seed=2), folder=tmp_path / "c")
    assert (len(given.train), len(given.validation)) == (60, 9)
    assert {path.split("/")[0] for path in given.validation.paths} == {"validation"}


def test_every_class_is_validated_however_small_the_share() -> None:
    items = [_Item("train", number, "ab"[number % 2], f"{number:064x}") for number in range(8)]
    chosen = _carve(items, {"validation": 0.001}, seed=0)
    assert sorted(item.label for item in chosen) == ["a", "b"]
    assert len(_carve(items, {"validation": 0.999}, seed=0)) == 6, "one of each class is left to train"


def test_copies_are_used_once_and_the_test_keeps_its_images(train: Pair, test: Pair, tmp_path: Path) -> None:
    images, labels = train[0].copy(), train[1].copy()
    images[3] = images[0]  # a copy of the same class
    images[7] = images[5]  # one image, two labels
    images[9] = test[0][0]  # also in the test split
    prepared = Prepared.from_arrays((images, labels), test, folder=tmp_path / "out")
    reasons = {row.path: row.reason for row in prepared.split.left_out}
    assert reasons == {
        "train/3": "exact-duplicate: the same image as train/0",
        "train/5": "two-labels: it is labeled 1 and 2",
        "train/7": "two-labels: it is labeled 1 and 2",
        "train/9": "split-leak: the same image as test/0",
    }
    assert "test/0" in prepared.test.paths


def test_the_same_arrays_are_written_once(
    train: Pair, test: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = Prepared.from_arrays(train, test)
    assert first.folder.parent == Path("prepared") and first.folder.name.startswith("arrays-8x9-grayscale-")
    assert Prepared.from_arrays(train, test).file == first.file, "nothing is written again"
    other = Prepared.from_arrays(train, test, seed=5)
    assert other.folder != first.folder and other.fingerprint != first.fingerprint
    assert Prepared.from_arrays(train, test, folder=tmp_path / "else").fingerprint == first.fingerprint
    replaced = Prepared.from_arrays(train, test, seed=5, folder=first.folder)
    assert Prepared.open(first.folder).fingerprint == replaced.fingerprint == other.fingerprint
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(FolderError, match="other files"):
        Prepared.from_arrays(train, test, folder=tmp_path / "mine")


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        (lambda x: x / 255, r"\(x \* 255\)\.round\(\)\.astype\('uint8'\)"),
        (lambda x: x.astype(np.float32), r"x\.round\(\)\.astype\('uint8'\)"),
        (lambda x: x / 127.5 - 1, "0 to 255 first, they range from -1"),
        (lambda x: np.where(x > 9, np.nan, x), "NaN"),
        (lambda x: x.astype(np.int64), r"x\.astype\('uint8'\)"),
        (lambda x: x > 127, r"\* 255"),
        (lambda x: x.reshape(len(x), -1), "reshape"),
        (lambda x: np.stack([x] * 4, axis=-1), r"x\[\.\.\., :3\]"),
        (lambda x: np.stack([x] * 3, axis=1), "moveaxis"),
        (lambda x: x[:0], "no image"),
        (lambda x: x[:-1], "59 images and 60 labels"),
    ],
)
def test_other_images_are_refused_with_the_way_out(
    train: Pair, test: Pair, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], way_out: str
) -> None:
    with pytest.raises(DataError, match=way_out):
        Prepared.from_arrays((change(train[0]), train[1]), test, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        (lambda y: np.eye(3)[y], r"y\.argmax\(axis=1\)"),
        (lambda y: y.astype(float), "not integers"),
        (lambda y: y.astype(str), "name the classes with classes="),
        (lambda y: y - 1, "negative"),
        (lambda y: y[:, None, None], "wrong shape"),
        (lambda y: y * 2, "class '1' has no train image"),
        (lambda y: y * 0, "one class"),
    ],
)
def test_other_labels_are_refused_with_the_way_out(
    train: Pair, test: Pair, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], way_out: str
) -> None:
    few = (test[0], test[1] * 0)
    with pytest.raises(DataError, match=way_out):
        Prepared.from_arrays((train[0], change(train[1])), few, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_problems_are_named_at_once(train: Pair, test: Pair, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Prepared.from_arrays((train[0] / 255, np.eye(3)[train[1]]), test, folder=tmp_path)
    assert "uint8" in str(caught.value) and "argmax" in str(caught.value)
    with pytest.raises(DataError, match="differ in shape"):
        Prepared.from_arrays(train, pair(12, 8, 8), folder=tmp_path)
    for wrong in (["a", "b"], ["a", "b", "b"], "abc", ["a", "", "c"]):
        with pytest.raises(DataError, match="class names"):
            Prepared.from_arrays(train, test, classes=wrong, folder=tmp_path)
    with pytest.raises(DataError, match="validation_split='0'"):
        Prepared.from_arrays(train, test, validation_split=0, folder=tmp_path)


def test_mnist_trains_without_image_files(mnist: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way on real digits; and with shuffled labels there is nothing to learn."""
    monkeypatch.chdir(tmp_path)
    images, labels = mnist
    prepared = Prepared.from_arrays((images[:5000], labels[:5000]), (images[9000:], labels[9000:]))
    recipe = ht.Recipe.of("mlp", epochs=3)
    run = ht.train(prepared, recipe)
    assert run.complete and ht.train(prepared, recipe) == run, "a second call resumes"
    result = ht.evaluate(run)
    assert result.accuracy > 0.88 and result.loss < 0.45 and result.n == 1000
    assert ht.evaluate(str(run.folder)) == result, "text goes where a run goes"
    report = ht.write_report(str(run.folder)).read_text()
    assert report.count("data:image/png;base64,") > 20, "digits are shown though there are no image files"
    assert "test/" in report
    bundle = ht.export(run).folder
    with ht.Predictor.load(bundle) as predictor:
        said = [int(predictor.predict(image).label) for image in images[9000:9100]]
    assert np.mean(said == labels[9000:9100]) > 0.85
    board = ht.sweep(prepared, [recipe.but(epochs=1), recipe.but(epochs=1, seed=1)], executor="in-process")
    assert len(board.ranked) == 2 and ht.evaluate(board.best_run).accuracy > 0.8

    mixed = np.random.default_rng(0).permutation(labels)
    shuffled = Prepared.from_arrays((images[:5000], mixed[:5000]), (images[9000:], mixed[9000:]))
    assert not ht.evaluate(ht.train(shuffled, recipe, "runs/shuffled")).beats_baseline
