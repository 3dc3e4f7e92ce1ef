"""The probability of each class, and the cross-entropy as Keras computes it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import housetrain
from housetrain.errors import ModelError
from housetrain.evaluation.metrics import log_loss
from housetrain.models.outputs import class_probabilities, cross_entropy, tempered
from housetrain.training.losses import scores


def test_one_sigmoid_is_the_probability_of_the_second_class() -> None:
    given = class_probabilities(np.array([[0.25], [1.0]]), 2)
    np.testing.assert_array_equal(given, np.array([[0.75, 0.25], [0.0, 1.0]], np.float32))
    np.testing.assert_array_equal(class_probabilities(np.array([0.25, 1.0]), 2), given)
    softmax = np.array([[0.2, 0.3, 0.5]], np.float32)
    np.testing.assert_array_equal(class_probabilities(softmax, 3), softmax)
    np.testing.assert_array_equal(class_probabilities(np.array([[0.2, 0.8]]), 2), np.array([[0.2, 0.8]], np.float32))
    for outputs, classes in (((4, 3), 2), ((4, 1), 3), ((4, 2, 2), 2)):
        with pytest.raises(ModelError, match="class names"):
            class_probabilities(np.zeros(outputs), classes)


def test_the_cross_entropy_is_that_of_keras_everywhere() -> None:
    keras = pytest.importorskip("keras")
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(3), 50)
    probabilities[:3] = np.eye(3)  # certain, and certainly wrong
    labels = np.concatenate([[0, 0, 2], draw.integers(0, 3, 47)])
    expected = np.asarray(keras.losses.sparse_categorical_crossentropy(labels, probabilities.astype(np.float32)))
    np.testing.assert_allclose(cross_entropy(labels, probabilities), expected, rtol=1e-4, atol=1e-6)
    assert log_loss(labels, probabilities) == pytest.approx(float(expected.mean()), rel=1e-5)
    assert scores(probabilities, labels, 3)[0]["val_loss"] == log_loss(labels, probabilities)
    second = draw.random((20, 1))
    two = class_probabilities(second, 2, dtype=np.float64)
    assert scores(second, labels[:20] // 2, 2)[0]["val_loss"] == log_loss(labels[:20] // 2, two)
    assert np.isnan(cross_entropy(np.array([0]), np.array([[np.nan, np.nan]])))[0]


def test_the_clip_stands_once_in_the_package() -> None:
    found = {
        path.name
        for path in Path(housetrain.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value == 1e-7
    }
    assert found == {"outputs.py"}


def test_the_temperature_undoes_how_sure_a_model_is_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in truth])
    best = cross_entropy(labels, tempered(labels, truth)).mean()
    for factor in (0.3, 3.0):
        other = truth**factor / (truth**factor).sum(axis=1, keepdims=True)
        found = tempered(labels, other)
        assert cross_entropy(labels, found).mean() == pytest.approx(best, abs=1e-5)
        assert np.array_equal(found.argmax(axis=1), truth.argmax(axis=1))
        assert found.sum(axis=1) == pytest.approx(1)
    certain = np.eye(3, dtype=np.float32)[labels]
    assert 0 <= cross_entropy(labels, tempered(labels, certain)).mean() < 1e-5
