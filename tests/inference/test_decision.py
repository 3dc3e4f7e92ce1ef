"""What validation images say of predictions: simulations of every promise at its nominal rate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from housetrain.errors import RecipeError
from housetrain.evaluation.calibration import calibration
from housetrain.inference import decision
from housetrain.inference.decision import LEVELS, NEVER, UNDECIDED, Decision, decide, promise, temperature_of
from housetrain.models.outputs import at_temperature, cross_entropy


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def simulated(
    count: int, seed: int, *, classes: int = 3, sharp: float = 2.0, temperature: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities whose logits must be divided by ``temperature`` to be calibrated."""
    random = np.random.default_rng(seed)
    logits = sharp * random.standard_normal((count, classes))
    labels = (random.random((count, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    return np.minimum(labels, classes - 1), softmax(logits * temperature)


# ------------------------------------------------------------------------------------------------- temperature
@pytest.mark.parametrize(("classes", "true"), [(2, 2.5), (2, 0.6), (10, 3.0)])
def test_the_temperature_is_that_of_scikit_learn(classes: int, true: float) -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Fitted(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
        classes_ = np.arange(classes)

        def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> Fitted:
            return self

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
            return x.argmax(axis=1)

        def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
            return x

    labels, given = simulated(1500, 3, classes=classes, temperature=true)
    reference = CalibratedClassifierCV(FrozenEstimator(Fitted()), method="temperature").fit(given, labels)
    found = temperature_of(labels, given)
    assert found == pytest.approx(true, rel=0.15)
    np.testing.assert_allclose(at_temperature(given, found), reference.predict_proba(given), atol=2e-3)


def test_a_temperature_is_used_only_where_other_images_confirm_it() -> None:
    calibrated = [simulated(150, seed) for seed in range(120)]
    found = [temperature_of(*one) for one in calibrated]
    assert np.mean([one == 1 for one in found]) > 0.4, "most calibrated models are left alone"
    fresh = [simulated(2000, 1000 + seed) for seed in range(120)]
    changes = [
        cross_entropy(labels, at_temperature(given, one)).mean() - cross_entropy(labels, given).mean()
        for one, (labels, given) in zip(found, fresh, strict=True)
    ]
    assert np.mean(changes) < 4e-3 and max(changes) < 0.05
    labels, given = simulated(400, 7, temperature=3.0)
    assert temperature_of(labels, given) == pytest.approx(3.0, rel=0.25)
    assert temperature_of(labels[:19], given[:19]) == 1, "too few images"


def test_the_calibration_error_falls_to_what_chance_explains() -> None:
    labels, given = simulated(1000, 1, classes=10, temperature=3.0)
    found = temperature_of(labels, given)
    labels, given = simulated(1500, 2, classes=10, temperature=3.0)

    def error(probabilities: NDArray[np.float64]) -> float:
        return calibration(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels).corrected

    assert error(given) > 0.1 and error(at_temperature(given, found)) < 0.02


def test_scaled_probabilities_keep_their_type_order_and_sum() -> None:
    given = simulated(50, 0)[1].astype(np.float32)
    assert at_temperature(given, 1.0) is given
    for temperature in (0.3, 4.0):
        scaled = at_temperature(given, temperature)
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(scaled.argsort(axis=1), given.argsort(axis=1))
    certain = at_temperature(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(certain).all() and 0.99 < certain[0, 0] < 1


# ------------------------------------------------------------------------------------------------- the promise
def risk_above(threshold: float, accuracy_of: NDArray[np.float64], confidence: NDArray[np.float64]) -> float:
    """Return the true risk at or above a threshold, for confidences of a large sample."""
    named = confidence >= threshold
    return float(1 - accuracy_of[named].mean()) if named.any() else 0.0


@pytest.mark.parametrize("images", [60, 300, 1200])
@pytest.mark.parametrize("shape", ["calibrated", "flat 5.5 %", "flat 10.5 %", "overconfident", "coin"])
def test_a_promise_is_broken_in_at_most_5_percent_of_the_cases(images: int, shape: str) -> None:
    random = np.random.default_rng(images)
    right = {
        "calibrated": lambda sure: sure,
        "flat 5.5 %": lambda sure: np.full_like(sure, 0.945),
        "flat 10.5 %": lambda sure: np.full_like(sure, 0.895),
        "overconfident": lambda sure: 0.5 + 0.9 * (sure - 0.5),
        "coin": lambda sure: np.full_like(sure, 0.5),
    }[shape]
    grid = 1 - 0.5 * random.beta(0.5, 2.0, 50_000)
    truth = right(grid)
    broken = 0
    repeats = 600
    for _ in range(repeats):
        sure = 1 - 0.5 * random.beta(0.5, 2.0, images)
        threshold, risk, _ = promise(sure, random.random(images) < right(sure))
        broken += risk is not None and risk_above(threshold, truth, grid) > risk
    # 5 % of 600 are 30, with a standard error of 5.3.
    assert broken <= 43, f"{broken / repeats:.3f}"


def test_a_promise_is_made_where_it_can_be() -> None:
    random = np.random.default_rng(0)
    sure = 1 - 0.5 * random.beta(0.5, 2.0, 1200)
    threshold, risk, coverage = promise(sure, random.random(1200) < sure)
    assert risk == 0.05 and 0.5 < threshold < 1 and 0.2 <= coverage < 0.8
    good = random.random(1200) < 0.5 + 0.5 * np.minimum(1, (sure - 0.5) * 8)
    assert promise(sure, good)[1] in (0.01, 0.02), "a good model promises more"
    assert promise(sure, np.ones(1200, bool)) == (0.0, 0.01, 1.0), "a perfect one is never unsure"
    few = np.linspace(0.6, 1, 14)
    assert promise(few, np.ones(14, bool)) == (0.0, 0.2, 1.0), "few images promise little"
    assert promise(few[:10], np.ones(10, bool)) == (NEVER, None, 0.0), "or nothing"


def test_a_coin_flip_is_never_sure_and_says_why() -> None:
    random = np.random.default_rng(2)
    first = 1 / (1 + np.exp(-4 * random.standard_normal(220)))  # confident, for no reason
    found = decide(random.integers(0, 2, 220), np.stack([1 - first, first], axis=1))
    assert found.threshold == NEVER and found.risk is None
    assert "cannot promise" in found.describe() and "220" in found.describe()
    assert found.temperature > 5


def test_equal_confidences_stand_together() -> None:
    sure = np.repeat([0.9, 0.6], 100)
    right = np.concatenate([np.ones(100, bool), np.arange(100) % 2 == 0])
    threshold, risk, coverage = promise(sure, right)
    assert (threshold, risk, coverage) == (0.9, 0.05, 0.5)


# ------------------------------------------------------------------------------------------------- sets
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_prediction_sets_hold_the_true_class_as_often_as_said(level: float) -> None:
    covered, sizes = [], []
    for seed in range(150):
        labels, given = simulated(200, seed, classes=5, temperature=2.0)
        found = decide(labels, given)
        labels, given = simulated(100, 10_000 + seed, classes=5, temperature=2.0)
        scaled = at_temperature(given, found.temperature)
        for label, row in zip(labels, scaled, strict=True):
            names = decision.set_of("abcde", row, quantile=found.quantile(level))
            covered.append("abcde"[label] in names)
            sizes.append(len(names))
    assert level - 0.01 <= np.mean(covered) <= level + 0.025
    assert 1 <= np.mean(sizes) < 4.5


def test_the_quantiles_are_those_of_the_definition() -> None:
    scores = np.random.default_rng(0).random(99)
    found = decision.conformal_quantiles(scores)
    assert found[LEVELS.index(0.9)] == np.sort(scores)[89], "the 90th of 99"
    assert decision.conformal_quantiles(scores[:10])[-1] == 1.0, "10 images cannot give 99 %: all classes"
    whole = Decision(quantiles=found)
    assert whole.quantile(0.9) == found[40] and whole.quantile(0.901) == found[41]
    assert UNDECIDED.quantile(0.5) == 1.0
    assert decision.set_of("abc", [0.2, 0.7, 0.1], quantile=0.0) == ("b",), "never empty"
    assert decision.set_of("abc", [0.2, 0.7, 0.1], quantile=1.0) == ("b", "a", "c")


def test_thresholds_are_read_as_a_person_writes_them() -> None:
    assert decision.thresholds_of(["cow=0.98", "a=b=0.5"]) == {"cow": 0.98, "a=b": 0.5}
    assert decision.thresholds_of(None) == {}
    for wrong in ("cow", "cow=much", "0.5"):
        with pytest.raises(RecipeError, match="threshold"):
            decision.thresholds_of([wrong])


# ------------------------------------------------------------------------------------------------- as data
def test_a_decision_survives_json_and_refuses_other_numbers() -> None:
    found = decide(*simulated(300, 4, temperature=2.0))
    assert Decision.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Decision.from_json({}) == UNDECIDED
    for wrong in ({"temperature": 0.0}, {"quantiles": [0.5]}, {"temperature": -1}):
        with pytest.raises(ValueError, match="decision"):
            Decision.from_json(wrong)
    assert decide([0] * 50, np.full((50, 2), math.nan)) == UNDECIDED and decide([], np.empty((0, 2))) == UNDECIDED
    assert "no validation outputs" in UNDECIDED.describe()
