from __future__ import annotations

import pytest

from housetrain.data.split_names import split_of


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Train TRAIN Training training_set trainingSet seg_train images_train train2017 train-images", "train"),
        ("val valid Validation validation_set val2017 dev eval Evaluation valid_images", "validation"),
        ("test Testing test1 test_set seg_test TEST testset", "test"),
        ("seg_pred predict unlabeled unlabelled", "unlabeled"),
    ],
)
def test_names_of_splits(names: str, split: str) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    "name", ["cat", "train_station", "test_tube", "trainer", "validator", "train_test", "", "1", "images"]
)
def test_names_of_classes(name: str) -> None:
    assert split_of(name) is None
