from __future__ import annotations

import pytest

from housetrain.data.split_names import album_kind, albums, short_splits, split_of


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Train TRAIN Training training_set trainingSet seg_train images_train train2017 train-images", "train"),
        ("val valid Validation validation_set val2017 dev eval Evaluation valid_images", "validation"),
        ("test Testing test1 test_set seg_test TEST testset", "test"),
        ("seg_pred predict unlabeled unlabelled", "unlabeled"),
        (
            "Trainingsdaten entraînement Entrenamiento treino 訓練 训练集 훈련데이터 प्रशिक्षण تدريب обучение Eğitim",
            "train",
        ),
        ("Validierung validación évaluation 验证集 검증 सत्यापन تحقق валидация", "validation"),
        ("Testdaten prueba teste verifica テスト 测试集 परीक्षण اختبار тест tst", "test"),
    ],
)
def test_names_of_splits(names: str, split: str) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    "name", ["cat", "train_station", "test_tube", "trainer", "validator", "train_test", "", "1", "images"]
)
def test_names_of_classes(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("tr te", "train test"),
        ("tr va te", "train validation test"),
        ("TR_1 ts", "train test"),
        ("trn val tes", "train validation test"),
        ("tr te de", ""),  # languages
        ("te va", ""),  # nothing to train on
        ("train test", ""),  # found by their whole words
    ],
)
def test_short_names_are_splits_where_all_are(names: str, splits: str) -> None:
    assert list(short_splits(names.split()).values()) == splits.split()


DATES = [
    "2024-05-01", "2024_05_01", "20240501", "2024.5.1", "01.05.2024", "2024-05", "2024_05", "202405", "2024", "1998",
    "2024-05-01 Zoo", "20240501_123000", "May 2024", "2024 May", "05-2024", "2024-7",
]  # fmt: skip


@pytest.mark.parametrize("name", DATES)
def test_dates_are_albums(name: str) -> None:
    assert album_kind(name) == "date" and albums([name, "2023-12-31"]) == [name, "2023-12-31"]


@pytest.mark.parametrize("name", ["100CANON", "101APPLE", "100MEDIA", "102_PANA", "100RECNX", "DCIM"])
def test_folders_of_cameras_are_albums(name: str) -> None:
    assert albums([name, "103NIKON"]) == [name, "103NIKON"]


@pytest.mark.parametrize(
    "name",
    ["cat", "1234567", "3000", "20241", "2012 Acura", "101 Dogs", "001.ak47", "2024-13", "99999999", "5", "100birds"],
)
def test_names_of_classes_are_no_albums(name: str) -> None:
    assert not album_kind(name)


def test_albums_are_most_of_the_folders() -> None:
    assert albums(["100DOGSS", "101CATSS"]) == [], "no camera that is known, and two names"
    assert albums(["100DOGSS", "101DOGSS"]) == ["100DOGSS", "101DOGSS"], "one camera"
    assert albums(["cat", "dog", "2024-05-01", "2024-05-02"]) == []
    assert albums(["misc", "2024-05-01", "2024-05-02"]) == ["2024-05-01", "2024-05-02"]
    assert albums(["2024"]) == []
