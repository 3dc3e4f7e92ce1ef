"""Batches: every image once an epoch, in an order that follows from seed and epoch alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prepared_digits import digits, prepared_of

from housetrain.data.prepare import Prepared
from housetrain.training import batches
from housetrain.training.batches import Examples, Feed, class_weights, order_of, targets_of


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return digits(tmp_path_factory.mktemp("digits"), most=203)


def feed_of(prepared: Prepared, *, batch_size: int, seed: int, kept: slice = slice(None)) -> Feed:
    train, validation = (
        Examples(split.images[kept], split.labels[kept]) for split in (prepared.train, prepared.validation)
    )
    weighted = prepared.balance == "weights"
    return Feed(train, validation, classes=len(prepared.classes), weighted=weighted, batch_size=batch_size, seed=seed)


def epoch_of(feed: Feed, epoch: int) -> list[tuple[np.ndarray, ...]]:
    feed.begin_epoch(epoch)
    steps = feed.train if hasattr(feed.train, "element_spec") else (feed.train[i] for i in range(len(feed.train)))
    return [tuple(np.array(part) for part in step) for step in steps]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first = order_of(100, seed=0, epoch=0)
    assert sorted(first.tolist()) == list(range(100))
    assert np.array_equal(first, order_of(100, seed=0, epoch=0))
    assert not np.array_equal(first, order_of(100, seed=0, epoch=1))
    assert not np.array_equal(first, order_of(100, seed=1, epoch=0))


def test_an_epoch_shows_every_image_once_with_its_own_target(prepared: Prepared) -> None:
    feed = feed_of(prepared, batch_size=32, seed=3)
    images, labels = np.array(prepared.train.images), prepared.train.labels
    assert feed.count % 32, "the test needs a partial batch"
    for epoch in (0, 1):
        steps = epoch_of(feed, epoch)
        assert [len(step[0]) for step in steps] == [32] * (feed.count // 32) + [feed.count % 32]
        assert len(steps) == feed.steps
        order = order_of(feed.count, seed=3, epoch=epoch)
        assert np.array_equal(np.concatenate([step[0] for step in steps]), images[order])
        assert np.array_equal(np.concatenate([step[1] for step in steps]), labels[order])
        assert steps[0][0].dtype == np.uint8


def test_other_backends_get_the_same_batches(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = feed_of(prepared, batch_size=32, seed=3)
    monkeypatch.setattr(batches, "_Graph", batches._Arrays)
    arrays = feed_of(prepared, batch_size=32, seed=3)
    for epoch in (0, 4):
        for a, b in zip(epoch_of(graph, epoch), epoch_of(arrays, epoch), strict=True):
            assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def test_validation_comes_in_its_own_order_in_large_batches(prepared: Prepared) -> None:
    feed = feed_of(prepared, batch_size=8, seed=0)
    steps = [np.array(step) for step in feed.validation]
    assert len(steps) == 1
    assert np.array_equal(np.concatenate(steps), prepared.validation.images)
    assert np.array_equal(feed.labels, prepared.validation.labels)


def test_the_map_itself_is_the_tensor_and_its_pages_can_be_given_back(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4000, 128, 128, 1), dtype=np.uint8)  # 66 MB
    prepared = prepared_of(images, [0, 1] * 2000, ["a", "b"], tmp_path)
    del images
    feed = feed_of(prepared, batch_size=32, seed=0)
    assert not feed.streaming, "the test needs more free memory than this machine has"
    assert sum(len(images) for images, *_ in feed.train) == feed.count
    before, shared = _anonymous_bytes(), _mapped_bytes(prepared.file)
    assert shared > 40e6
    feed.streaming = True
    feed.release()
    assert _mapped_bytes(prepared.file) < shared / 4
    assert sum(len(images) for images, *_ in feed.train) == feed.count  # and they come back
    assert _anonymous_bytes() - before < 20e6  # some batches, no copy of the images


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def _mapped_bytes(file: Path) -> int:
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split(maxsplit=5)
        if "-" in head[0] and not head[0].endswith(":"):
            inside = len(head) > 5 and head[5] == str(file)
        elif inside and line.startswith("Rss:"):
            total += int(head[1]) * 1024
    return total


def test_plain_arrays_will_do(prepared: Prepared) -> None:
    images, labels = np.array(prepared.train.images), prepared.train.labels
    examples = Examples(images[1:], labels[1:])  # at an address where TensorFlow takes no tensor
    feed = Feed(examples, examples, classes=10, weighted=False, batch_size=32, seed=0)
    order = order_of(feed.count, seed=0, epoch=0)
    assert np.array_equal(np.concatenate([s[0] for s in epoch_of(feed, 0)]), images[1:][order])


def test_features_make_batches_too() -> None:
    rows = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float16)
    examples = Examples(rows, np.arange(70) % 2)
    feed = Feed(examples, examples, classes=2, weighted=True, batch_size=32, seed=0)
    steps = epoch_of(feed, 3)
    assert [step[0].shape for step in steps] == [(32, 5), (32, 5), (6, 5)]
    assert np.array_equal(np.concatenate([step[0] for step in steps]), rows[order_of(70, seed=0, epoch=3)])


# ------------------------------------------------------------------------------------------------- targets, weights
def test_class_weights_are_the_square_root_of_what_makes_classes_count_alike() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2)
    assert weights is not None
    assert np.bincount(labels, weights=weights[labels]).tolist() == pytest.approx([75, 25])
    assert weights[1] / weights[0] == pytest.approx(3) and weights[labels].mean() == pytest.approx(1)
    assert class_weights(np.array([0, 1, 0, 1]), 2) is None
    absent = class_weights(np.array([0, 0, 1]), 3)
    assert absent is not None
    assert absent[2] == 1


def test_weights_go_with_their_images_and_only_where_asked(tmp_path: Path, prepared: Prepared) -> None:
    uneven = prepared_of(np.zeros((300, 8, 8, 1), np.uint8), [0] * 200 + [1] * 100, ["a", "b"], tmp_path)
    feed = feed_of(uneven, batch_size=32, seed=0)
    weights = class_weights(uneven.train.labels, 2)
    assert weights is not None
    for _, targets, sample_weights in epoch_of(feed, 0):
        assert np.array_equal(sample_weights, weights[targets[:, 0].astype(int)])
    left = prepared_of(np.zeros((300, 8, 8, 1), np.uint8), [0] * 200 + [1] * 100, ["a", "b"], tmp_path, balance="none")
    assert feed_of(left, batch_size=32, seed=0).weights is None


@pytest.mark.parametrize(("classes", "shape"), [(2, (3, 1)), (4, (3,))])
def test_targets_fit_the_output(classes: int, shape: tuple[int, ...]) -> None:
    assert targets_of(np.array([0, 1, 1]), classes).shape == shape


def test_smoothed_targets_are_still_probabilities() -> None:
    assert targets_of(np.array([0, 1]), 2, smoothing=0.1)[:, 0].tolist() == pytest.approx([0.05, 0.95])
    hot = targets_of(np.array([0, 3]), 4, smoothing=0.2)
    assert hot.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert hot[1].tolist() == pytest.approx([0.05, 0.05, 0.05, 0.85])
