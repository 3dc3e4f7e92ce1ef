"""The regularization path against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest

from housetrain.training import logistic


def data(classes: int, *, count: int = 300, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, count)
    centers = rng.normal(size=(classes, width)) * 0.8
    features = (centers[labels] + rng.normal(size=(count, width))) * np.linspace(0.1, 30, width) + 5
    return features.astype(np.float32), labels


def targets_of(labels: np.ndarray, classes: int) -> np.ndarray:
    if classes == 2:
        return labels[:, None].astype(np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_strength_is_what_scikit_learn_finds(classes: int, weighted: bool) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = data(classes)
    weights = np.where(labels == 0, 2.0, 1.0).astype(np.float32) if weighted else None
    if weights is not None:
        weights /= weights.mean()
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    for head in logistic.path(features, targets_of(labels, classes), weights=weights, strengths=(1.0, 0.1, 0.01)):
        reference = LogisticRegression(C=1 / (head.strength * len(labels)), tol=1e-8, max_iter=5000)
        reference.fit(scaled, labels, sample_weight=weights)
        expected = reference.predict_proba(scaled)
        found = head.probabilities(features)
        assert found.dtype == np.float32 and found.shape == (len(labels), 1 if classes == 2 else classes)
        assert (found[:, 0] if classes == 2 else found) == pytest.approx(
            expected[:, 1] if classes == 2 else expected, abs=5e-3
        )


def test_the_path_goes_from_strong_to_weak_and_fits_ever_closer() -> None:
    assert list(logistic.STRENGTHS) == sorted(logistic.STRENGTHS, reverse=True)
    assert logistic.STRENGTHS[0] >= 100 and logistic.STRENGTHS[-1] <= 1e-5
    features, labels = data(3)
    heads = list(logistic.path(features, targets_of(labels, 3)))
    assert [head.strength for head in heads] == list(logistic.STRENGTHS)
    losses = [-np.log(head.probabilities(features)[np.arange(len(labels)), labels]).mean() for head in heads]
    assert losses == pytest.approx(sorted(losses, reverse=True), abs=1e-5)
    assert losses[0] == pytest.approx(np.log(3), abs=0.05), "the strongest is nearly the baseline"


def test_a_constant_feature_and_large_logits_stay_finite() -> None:
    features, labels = data(2)
    features[:, 0] = 7.0
    head = list(logistic.path(features, targets_of(labels, 2), strengths=(1e-6,)))[-1]
    assert np.isfinite(head.kernel).all() and np.isfinite(head.probabilities(features * 1e6)).all()
    assert head.probabilities(features[:0]).shape == (0, 1)


def test_a_check_may_stop_it() -> None:
    features, labels = data(2)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(logistic.path(features, targets_of(labels, 2), check=stop))


def test_products_run_on_one_thread_and_others_on_theirs_again_afterwards() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    features, labels = data(2)
    seen: set[int] = set()
    before = threads()
    head = next(logistic.path(features, targets_of(labels, 2), check=lambda: seen.update(threads())))
    assert seen == {1} and threads() == before
    head.probabilities(features)
    assert threads() == before
