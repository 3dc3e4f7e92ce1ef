"""What a person gets to see of prepared images: arrays, labels, and a tf.data pipeline."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from housetrain.data.prepared import Prepared


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Return 50 images whose first pixel is their number, which is also their path."""
    images = np.zeros((50, 4, 4), np.uint8)
    images[:, 0, 0] = np.arange(50)
    other = images[:4] + 100
    return Prepared.from_arrays((images, np.arange(50) % 2), (other, [0, 1, 0, 1]), folder=tmp_path / "arrays")


def numbers(prepared: Prepared) -> np.ndarray:
    return np.array([int(path.split("/")[1]) for path in prepared.train.paths])


def test_each_split_has_its_arrays(prepared: Prepared) -> None:
    train = prepared.train
    assert train.images.shape == (len(train), 4, 4, 1) and train.images.dtype == np.uint8
    assert isinstance(train.images, np.memmap) and not train.images.flags.writeable
    assert np.array_equal(train.images[:, 0, 0, 0], numbers(prepared))
    assert train.labels.dtype == np.int64 and np.array_equal(train.labels, numbers(prepared) % 2)
    assert [len(prepared.arrays(name)) for name in ("train", "validation", "test")] == [
        sum(counts.values()) for counts in prepared.counts().values()
    ]
    assert prepared.test.paths and {path.split("/")[0] for path in prepared.test.paths} == {"test"}
    assert len(set(train.sha256)) == len(train)
    assert repr(train) == f"<train split: {len(train)} images of 2 classes>"
    with pytest.raises(ValueError, match="Unknown split"):
        prepared.arrays("trian")  # type: ignore[arg-type]


def test_a_notebook_shows_counts_not_thousands_of_rows(prepared: Prepared) -> None:
    train, validation = len(prepared.train), len(prepared.validation)
    counts = f"2 classes, {train} train + {validation} validation + 4 test"
    assert repr(prepared) == f"Prepared({str(prepared.folder)!r}, 4x4 grayscale, {counts})"
    assert repr(prepared.split) == f"SplitManifest({str(prepared.folder)!r}, {counts}, 0 left out)"
    html = prepared._repr_html_()
    assert "<th>validation</th>" in html and html.count("<tr>") == 3


def test_a_tf_dataset_gives_every_image_once(prepared: Prepared) -> None:
    data = prepared.train.to_tf_dataset(batch_size=8)
    assert int(data.cardinality()) == -(-len(prepared.train) // 8) == len(list(data))
    images, labels = next(iter(data))
    assert images.shape == (8, 4, 4, 1) and images.dtype.name == "uint8" and labels.dtype.name == "int64"
    assert data.element_spec[0].shape.as_list() == [None, 4, 4, 1]
    assert np.array_equal(np.concatenate([batch.numpy() for batch, _ in data]), prepared.train.images)
    assert np.array_equal(np.concatenate([batch.numpy() for _, batch in data]), prepared.train.labels)
    with pytest.raises(ValueError, match="batch_size=0"):
        prepared.train.to_tf_dataset(batch_size=0)


def test_a_shuffled_tf_dataset_has_a_new_order_each_epoch_and_follows_its_seed(prepared: Prepared) -> None:
    def order(data: object) -> list[int]:
        pairs = [(batch[:, 0, 0, 0].numpy(), labels.numpy()) for batch, labels in data]  # type: ignore[attr-defined]
        pixels, labels = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
        assert np.array_equal(pixels % 2, labels), "an image keeps its label"
        return pixels.tolist()  # type: ignore[no-any-return]

    one, same, other = (prepared.train.to_tf_dataset(shuffle=True, seed=seed) for seed in (1, 1, 2))
    first, second = order(one), order(one)
    assert sorted(first) == sorted(second) == sorted(numbers(prepared).tolist())
    assert first != second
    assert [order(same), order(same)] == [first, second]
    assert order(other) != first


def test_a_keras_model_of_your_own_trains_on_it(prepared: Prepared) -> None:
    import keras

    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(
        prepared.train.to_tf_dataset(shuffle=True), validation_data=prepared.validation.to_tf_dataset(), verbose=0
    )
    assert np.isfinite(history.history["val_loss"]).all()


def test_without_tensorflow_the_extra_is_named(prepared: Prepared) -> None:
    code = f"""
import sys
sys.modules["tensorflow"] = None

from housetrain.data.prepared import Prepared
prepared = Prepared.open({str(prepared.folder)!r})
assert len(prepared.train.images)
prepared.train.to_tf_dataset()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(r"MissingExtra: .*pip install \"keras>=.*tensorflow>=", done.stderr), done.stderr


def test_only_the_evaluation_reads_the_test_images(tmp_path: Path) -> None:
    """With other test images nothing changes but the evaluation."""
    from sklearn.datasets import load_digits

    import housetrain as ht

    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)
    train, test = (images[:500], digits.target[:500]), (images[500:700], digits.target[500:700])
    prepared = Prepared.from_arrays(train, test, folder=tmp_path / "arrays")
    recipe = ht.Recipe.of("mlp", epochs=2, deterministic=True)
    before = ht.train(prepared, recipe, tmp_path / "before")
    tested = ht.evaluate(before)
    everything = np.load(prepared.file, mmap_mode="r+")
    everything[prepared.test.start :] = 255 - everything[prepared.test.start :]
    everything.flush()
    assert np.array_equal(prepared.test.images, everything[-len(prepared.test) :]), "the test is the last split"

    after = ht.train(prepared, recipe, tmp_path / "after")
    columns = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert [[row[name] for name in columns] for row in before.history] == [
        [row[name] for name in columns] for row in after.history
    ]
    board = ht.sweep(prepared, [recipe], tmp_path / "sweep", executor="in-process")
    assert board.best.val_loss == pytest.approx((before.result or {})["val_loss"])
    comparison = ht.compare(before, after)
    assert comparison.only_first == comparison.only_second == 0
    ht.write_report(after)
    assert not (after.folder / "evaluations.jsonl").exists(), "the test split is still unopened"
    assert ht.evaluate(after, prepared=prepared).accuracy < tested.accuracy
    assert [ht.evaluate(run, prepared=prepared).opening.count for run in (before, after)] == [1, 1]
