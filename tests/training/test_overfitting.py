"""Overfitting is told from wobble."""

from __future__ import annotations

import pytest

from housetrain.training.overfitting import overfitting, overfitting_text


def rows(training: list[float], validation: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "loss": a, "val_loss": b}
        for epoch, (a, b) in enumerate(zip(training, validation, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("training", "validation", "began"),
    [
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.5, 0.45, 0.55, 0.7], 4),  # the textbook
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.6, 0.5, 0.45, 0.4], None),  # still learning
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.5, 0.45, 0.46, 0.455], None),  # a flat end
        ([0.7, 0.5, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.42, 0.39], None),  # a wobble that came back
        ([0.7, 0.68, 0.66, 0.64], [0.65, 0.6262, 0.6284, 0.7208], None),  # one bad epoch is no trend
        ([0.3, 0.4, 0.5, 0.6], [0.3, 0.5, 0.6, 0.8], None),  # both rise: diverging, not overfitting
        ([0.7, 0.5], [0.5, 0.9], None),  # too short to say
        ([], [], None),
    ],
)
def test_where_overfitting_begins(training: list[float], validation: list[float], began: int | None) -> None:
    assert overfitting(rows(training, validation)) == began


def test_epochs_that_are_not_numbers_are_passed_over() -> None:
    history: list[dict[str, float | None]] = [*rows([0.7, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.8])]  # type: ignore[list-item]
    history.append({"epoch": 5, "loss": None, "val_loss": None})
    assert overfitting(history) == 3  # type: ignore[arg-type]


def test_it_is_said_in_words_with_the_epoch() -> None:
    assert "epoch 3" in overfitting_text(rows([0.7, 0.4, 0.3, 0.2], [0.7, 0.4, 0.6, 0.8]))
    assert overfitting_text(rows([0.7, 0.4, 0.3], [0.7, 0.4, 0.3])) == ""
