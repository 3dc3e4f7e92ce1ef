"""Columns that hold labels, and cells that hold several."""

from __future__ import annotations

import pytest

from housetrain.data.label_columns import Column, preference, several_in


@pytest.mark.parametrize(
    ("values", "name", "separator"),
    [
        ("Effusion/No Finding/Cardiomegaly|Effusion", "Finding Labels", "|"),
        ("a|b/a|c", "", "|"),
        ("scab/rust/complex/scab complex/rust complex", "labels", " "),
        ("clear primary/haze primary/clear water", "tags", " "),
        ("scab/rust/scab,rust", "", ","),
        ("Chinee apple/Lantana/Negative", "Species", ""),
        ("apple, red/apple, green/pear, green", "name", ""),
        ("Boeing 707/Boeing 747/Airbus A310", "family", ""),
        ("TCP|IP/other", "", ""),
        ("cat/dog", "labels", ""),
        ("sea/lion/sea lion", "species", ""),
    ],
)
def test_cells_of_several_labels_are_told_from_names_of_several_words(values: str, name: str, separator: str) -> None:
    assert several_in(values.split("/"), name) == separator


def test_names_that_mean_the_label_and_keys_for_a_shell() -> None:
    assert preference("class_id") < preference("species") < preference("weather")
    assert Column(3, "Finding Labels", (), 2).key == "3" and Column(3, "species", (), 2).key == "species"
