"""Arrays in files: `.npz` archives are read, pickles never."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.data.array_file import arrays_of, refuse_arrays
from housetrain.errors import CorruptError, DataError, FolderError


def arrays(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 255, (count, 12, 12), dtype=np.uint8), np.arange(count) % 2


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("ran").write_text, ("",)


def test_a_pickle_is_never_opened_and_the_safe_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "X.pickle").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FolderError, match=r"run any code.*numpy\.savez"):
        ht.scan("X.pickle")
    np.savez("X.npz", x=np.array([Bomb()], dtype=object), y=[0])
    with pytest.raises(CorruptError):
        arrays_of(Path("X.npz"))
    assert not (tmp_path / "ran").exists()
    np.save("X.npy", arrays()[0])
    for name, words in (("X.npy", "without its labels"), ("X.npz", "housetrain prepare X.npz")):
        with pytest.raises(FolderError, match=words):
            refuse_arrays(Path(name))


def test_the_arrays_of_keras_and_of_the_tutorials_are_found_by_name(tmp_path: Path) -> None:
    images, labels = arrays()
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    np.savez(tmp_path / "mine.npz", X=images, y=labels)
    np.savez(tmp_path / "other.npz", a=images)
    found = arrays_of(tmp_path / "mnist.npz")
    assert found.keys() == {"train", "test"} and (found["test"][0] == images[:9]).all()
    assert arrays_of(tmp_path / "mine.npz").keys() == {"train"}
    with pytest.raises(DataError, match="Expected: arrays named x_train"):
        arrays_of(tmp_path / "other.npz")


def test_prepare_takes_a_file_of_arrays(call: Any, tmp_path: Path) -> None:
    images, labels = arrays()
    np.savez(tmp_path / "mine.npz", X=images, y=labels)
    code, out, _ = call("prepare", tmp_path / "mine.npz", "--test-split", "0.2", "--classes", "cat,dog")
    prepared = ht.Prepared.open(out.split("Arrays   ")[1].split()[0])
    counts = {name: sum(of.values()) for name, of in prepared.counts().items()}
    assert code == 0 and sum(counts.values()) == 60 and counts["test"] > 3 < counts["validation"]
    assert prepared.class_indices == {"cat": 0, "dog": 1}
    assert call("prepare", tmp_path / "mine.npz", "--test-per-class", "3")[0] == 2


def test_without_test_arrays_a_share_of_the_training_images_is_set_aside(tmp_path: Path) -> None:
    images, labels = arrays(400)
    prepared = ht.Prepared.from_arrays((images, labels), folder=tmp_path / "a", test_split=0.25)
    rows = {name: set(prepared.arrays(name).sha256) for name in ("train", "validation", "test")}
    assert len(rows["test"]) == pytest.approx(100, abs=25) and len(rows["validation"]) == pytest.approx(60, abs=20)
    assert len(set.union(*rows.values())) == 400, "no image is in two splits"
    none = ht.Prepared.from_arrays((images, labels), folder=tmp_path / "b", test_split=0)
    assert len(none.test) == 0 and none.validation.sha256 == prepared.validation.sha256
    with pytest.raises(DataError, match="No images are left"):
        ht.Prepared.from_arrays((images, labels), validation_split=0.5, test_split=0.5)


def test_labels_one_hot(tmp_path: Path) -> None:
    images, labels = arrays()
    train = ht.Prepared.from_arrays((images, labels), folder=tmp_path / "a").train
    assert train.one_hot.shape == (len(train), 2) and train.one_hot.dtype == np.float32
    assert (train.one_hot.argmax(axis=1) == train.labels).all() and (train.one_hot.sum(axis=1) == 1).all()
