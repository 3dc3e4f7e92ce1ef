"""Folders that are splits or parts of one set are never trained as classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.trees import fill

from housetrain.data.class_folders import walk
from housetrain.data.folder_layout import folders
from housetrain.data.label_source import LabelSource
from housetrain.data.split_layout import ready_made, splits_inside
from housetrain.errors import FolderError


def tree(root: Path, tops: str, inner: str = "cat dog") -> Path:
    return fill(root, *(f"{top}/{name}" for top in tops.split() for name in inner.split()))


@pytest.mark.parametrize(
    "tops",
    [
        "Training Validierung Test", "Trainingsdaten Testdaten", "entraînement évaluation", "treino teste",
        "entrenamiento validación prueba", "addestramento verifica", "训练集 测试集", "訓練 テスト", "обучение тест",
        "cats_train cats_test", "data_train_v2 data_test_v2", "train public_test private_test",
        "train_clean train_noisy test", "01_train 02_val 03_test",
    ],
)  # fmt: skip
def test_splits_in_other_words_and_with_affixes(tmp_path: Path, tops: str) -> None:
    found = walk(tree(tmp_path, tops))
    assert found.ready_made and found.classes == ("cat", "dog")
    assert {entry.split for entry in found.entries} >= {"train"} and len({entry.split for entry in found.entries}) > 1


def test_a_test_folder_of_flat_images_beside_train_and_another_folder(tmp_path: Path) -> None:
    root = fill(tmp_path, "Train/0", "Train/1", "Test", "Meta")
    found = walk(root)
    assert found.classes == ("0", "1") and {entry.split for entry in found.entries} == {"train"}


def test_a_split_may_spell_a_class_in_another_case(tmp_path: Path) -> None:
    found = walk(fill(tmp_path, "train/Cat", "train/Dog", "test/cat", "test/dog"))
    assert found.classes == ("Cat", "Dog")
    assert {(entry.split, entry.label) for entry in found.entries} == {
        (split, label) for split in ("train", "test") for label in ("Cat", "Dog")
    }


def test_class_folders_below_a_folder_of_images_in_each_split(tmp_path: Path) -> None:
    found = walk(fill(tmp_path, *(f"{split}/images/{c}" for split in ("train", "test") for c in "ab")))
    assert found.classes == ("a", "b") and found.ready_made


def test_splits_inside_each_class(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat dog", "train test")
    assert splits_inside(root, ["cat", "dog"]) and not splits_inside(root, ["cat"])
    found = walk(root)
    assert {(entry.label, entry.split) for entry in found.entries} == {
        (label, split) for label in ("cat", "dog") for split in ("train", "test")
    }
    assert [note.kind for note in found.notes] == ["splits-in-classes"]
    assert not walk(root, LabelSource.of({"class_level": 1})).ready_made


@pytest.mark.parametrize(
    ("tops", "said"),
    [
        ("trainA trainB testA testB", "hold the splits of several classes"),
        ("cat_train cat_test dog_train dog_test", "hold the splits of several classes"),
        ("HAM_images_part_1 HAM_images_part_2", "look like parts of one set, not classes, and hold no class folders"),
        ("images_001 images_002 images_003", "look like parts of one set, not classes"),
        ("box_train box_test query", "look like splits, not classes, and hold no class folders"),
    ],
)
def test_flat_folders_of_a_set_are_refused(tmp_path: Path, tops: str, said: str) -> None:
    root = fill(tmp_path, *tops.split())
    with pytest.raises(FolderError, match=said):
        walk(root)
    assert len(walk(root, LabelSource.of({"class_level": 1})).classes) == len(tops.split())


@pytest.mark.parametrize("tops", ["fold1 fold2 fold3", "site_a site_b", "camera1 camera2", "part-01 part-02"])
def test_parts_that_hold_the_same_classes_are_refused(tmp_path: Path, tops: str) -> None:
    root = tree(tmp_path, tops)
    with pytest.raises(FolderError, match=r"hold the same folders \(cat and dog\).*--class-level 2"):
        walk(root)
    assert walk(root, LabelSource.of({"class_level": 2})).classes == ("cat", "dog")
    assert walk(root, LabelSource.of({"class_level": 1})).classes == tuple(tops.split())


def test_patients_of_one_class_each_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "patient1/ill", "patient2/well", "patient3/ill", "patient4/well")
    with pytest.raises(FolderError, match="parts of one set"):
        walk(root)


@pytest.mark.parametrize("tops", ["1 2 3", "class1 class2", "type_a type_b", "c1 c2", "train_station bus_station"])
def test_numbered_classes_stay_classes(tmp_path: Path, tops: str) -> None:
    assert len(walk(fill(tmp_path, *tops.split())).classes) == len(tops.split())


def test_train_beside_other_vehicles_is_a_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/red", "bus/red", "car/red")
    assert not ready_made(root, folders(root)).of


def test_domains_that_hold_one_folder_of_class_folders_are_named(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{domain}/images/{c}" for domain in ("amazon", "dslr") for c in ("cat", "dog")))
    (note,) = walk(root).notes
    assert note.kind == "nested-folders" and "--class-level 3" in note.do


def test_sets_with_splits_of_their_own_are_no_classes(tmp_path: Path) -> None:
    root = fill(
        tmp_path, *(f"{top}/{split}/{c}" for top in ("setA", "birds") for split in ("train", "val") for c in "xy")
    )
    with pytest.raises(FolderError, match=r"birds and setA are sets of their own.*give one of them"):
        walk(root)


@pytest.mark.parametrize("beside", ["unlabeled", "test"])
def test_class_folders_beside_images_without_labels(tmp_path: Path, beside: str) -> None:
    root = fill(tmp_path, "labeled/cat", "labeled/dog", beside, count=9)
    with pytest.raises(FolderError, match=rf"labeled holds the classes cat and dog, {beside} holds no labels"):
        walk(root)


@pytest.mark.parametrize(
    ("tops", "kind"),
    [
        ("2024-05-01 2024-05-02", "dates"), ("2024_05 2024_06", "dates"), ("20240501 20240502 20240507", "dates"),
        ("1998 1999 2001", "dates"), ("100CANON 101CANON", "folders of a camera"),
        ("2023/01 2023/02 2024/01", "dates"),
    ],
)  # fmt: skip
def test_dates_and_folders_of_cameras_are_no_classes(tmp_path: Path, tops: str, kind: str) -> None:
    root = fill(tmp_path, *tops.split(), form="IMG_{n}.jpg")
    said = rf"look like {kind}, not classes, and hold no class folders.*--labels FILE.*--class-level 1"
    with pytest.raises(FolderError, match=said):
        walk(root)
    classes = sorted({top.split("/")[0] for top in tops.split()})
    assert list(walk(root, LabelSource.of({"class_level": 1})).classes) == classes


def test_dates_whose_file_names_carry_classes_are_read_by_them(tmp_path: Path) -> None:
    root = tmp_path
    for label in ("cat", "dog"):
        fill(root, "2024-05-01", "2024-05-02", form=label + "_{n}.jpg")
    with pytest.raises(FolderError, match=r"look like dates.*carry classes: cat, dog.*--label-from-name") as caught:
        walk(root)
    pattern = caught.value.do.split("'")[1]
    assert walk(root, LabelSource.of({"label_from_name": pattern})).classes == ("cat", "dog")


def test_classes_inside_dates_are_read_with_a_level(tmp_path: Path) -> None:
    root = tree(tmp_path, "2024-05-01 2024-05-02")
    with pytest.raises(FolderError, match=r"look like dates.*they hold cat and dog.*--class-level 2"):
        walk(root)
    assert walk(root, LabelSource.of({"class_level": 2})).classes == ("cat", "dog")
    deep = tree(tmp_path / "deep", "2024/05 2024/06 2025/01")
    with pytest.raises(FolderError, match=r"--class-level 3"):
        walk(deep)


@pytest.mark.parametrize("tops", ["0 1 2 3 4", "A03 B07 KR12"])
def test_numbers_and_codes_that_hold_the_same_classes_are_refused(tmp_path: Path, tops: str) -> None:
    root = tree(tmp_path, tops, "deer fox")
    with pytest.raises(FolderError, match=r"hold the same folders \(deer and fox\).*--class-level name"):
        walk(root)
    assert walk(root, LabelSource.of({"class_level": "name"})).classes == ("deer", "fox")
    assert walk(root, LabelSource.of({"class_level": 1})).classes == tuple(tops.split())
    assert walk(tree(tmp_path / "groups", tops, "site1 site2")).classes == tuple(tops.split()), "sites of classes"
    assert walk(tree(tmp_path / "views", tops, "left right")).classes == tuple(tops.split()), "views of classes"
    assert walk(tree(tmp_path / "grades", "grade1 grade2", "deer fox")).classes == ("grade1", "grade2")


@pytest.mark.parametrize(
    "tops",
    ["tr te", "tr va te", "train/train test/test", "seg_train/seg_train seg_test/seg_test", "train/images test"],
)
def test_short_and_repeated_names_of_splits(tmp_path: Path, tops: str) -> None:
    found = walk(tree(tmp_path, tops))
    assert found.ready_made and found.classes == ("cat", "dog")
    assert len(found.entries) == 12 * len(tops.split()) and not found.notes


def test_flat_short_names_may_be_classes(tmp_path: Path) -> None:
    root = fill(tmp_path, "tr", "te")
    with pytest.raises(FolderError, match=r"look like splits.*where these folders are the classes: --class-level 1"):
        walk(root)
    assert walk(fill(root, "de")).classes == ("de", "te", "tr")


def test_a_training_folder_of_one_class_is_data_for_anomalies(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/good", "test/good", "test/broken", "test/bent", "ground_truth/broken")
    with pytest.raises(FolderError, match=r"holds good alone, bent and broken are in the others only.*\S+/test\b"):
        walk(root)


def test_sets_in_wrappers_and_beside_unsplit_classes_are_no_classes(tmp_path: Path) -> None:
    objects = fill(tmp_path / "objects", *(
        f"{top}/{inner}" for top in ("bottle", "cable") for inner in ("train/good", "test/good", "ground_truth/bent")
    ))  # fmt: skip
    with pytest.raises(FolderError, match="bottle and cable are sets of their own, each with its splits"):
        walk(objects)
    sizes = tree(tmp_path / "sizes", "large/large small/small/train small/small/test")
    with pytest.raises(FolderError, match=r"large and small are sets of their own, small with its splits.*/small"):
        walk(sizes)


def test_the_folder_of_a_set_beside_its_test_is_train(tmp_path: Path) -> None:
    found = walk(tree(tmp_path, "rps/rps rps-test-set/rps-test-set", "paper rock"))
    assert found.classes == ("paper", "rock")
    assert {entry.path.split("/")[0]: entry.split for entry in found.entries} == {
        "rps": "train",
        "rps-test-set": "test",
    }
    flat = fill(tmp_path / "flat", "cats", "dogs", "cats_test", "dogs_test")
    with pytest.raises(FolderError, match="hold the splits of several classes"):
        walk(flat)
    assert len(walk(fill(tmp_path / "drives", "drive", "test drive", "engine")).classes) == 3


def test_enumerated_splits_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"a\. Training Set and b\. Testing Set look like splits"):
        walk(fill(tmp_path, "a. Training Set", "b. Testing Set"))


def test_copies_of_one_set_at_different_depths_are_no_classes(tmp_path: Path) -> None:
    root = tree(tmp_path, "natural_images data/natural_images", "airplane car")
    with pytest.raises(FolderError, match=r"natural_images hold the same folders \(airplane and car\).*give one"):
        walk(root)
    assert walk(root / "data" / "natural_images").classes == ("airplane", "car")


def test_folders_by_first_letter_are_read_with_a_level(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/abbey", "a/airfield", "b/bakery")
    with pytest.raises(FolderError, match=r"first letter, such as abbey, airfield and bakery.*--class-level 2"):
        walk(root)
    assert walk(root, LabelSource.of({"class_level": 2})).classes == ("abbey", "airfield", "bakery")


def test_shards_and_codes_in_codes_name_no_classes(tmp_path: Path) -> None:
    shards = fill(tmp_path / "shards", "0/3f", "0/a1", "f/00", form="{n}.jpg", count=2)
    with pytest.raises(FolderError, match="0 and f look like parts of one set"):
        walk(shards)
    sites = fill(tmp_path / "sites", "S1/B04", "S2/C05", form="IMG_{n}.jpg")
    assert walk(sites).classes == ("S1", "S2"), "nothing else labels them"
    rows = [f"{path}/IMG_{n}.jpg,{'ab'[n % 2]}\n" for path in ("S1/B04", "S2/C05") for n in range(6)]
    (sites / "labels.csv").write_text("image,species\n" + "".join(rows))
    with pytest.raises(FolderError, match=r"S1 and S2 look like parts of one set.*--labels labels.csv"):
        walk(sites)
