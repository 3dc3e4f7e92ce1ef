"""Labels in files of NumPy and MATLAB; damaged and hostile ones cost no memory."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from housetrain.data.array_labels import columns_of
from housetrain.errors import FolderError

NAMES = [f"{n:05d}.jpg" for n in range(1, 7)]


def cell(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=object)[np.newaxis]


def test_a_vector_of_numpy_is_one_column(tmp_path: Path) -> None:
    for array in (np.array([0, 1, 1]), np.array([[0], [1], [1]], np.uint8), np.array([0.0, 1.0, 1.0])):
        np.save(tmp_path / "y.npy", array)
        assert columns_of(tmp_path / "y.npy") == {"label": ["0", "1", "1"]}
    np.save(tmp_path / "y.npy", np.array(["cat", "dog"]))
    assert columns_of(tmp_path / "y.npy") == {"label": ["cat", "dog"]}
    np.save(tmp_path / "y.npy", np.array([("a.png", 1), ("b.png", 0)], dtype=[("file", "U9"), ("label", "i4")]))
    assert columns_of(tmp_path / "y.npy") == {"file": ["a.png", "b.png"], "label": ["1", "0"]}
    np.save(tmp_path / "y.npy", np.array([["a.png", "cat"], ["b.png", "dog"]]))
    assert columns_of(tmp_path / "y.npy") == {"1": ["a.png", "b.png"], "2": ["cat", "dog"]}
    np.save(tmp_path / "y.npy", np.zeros((4, 8, 8), np.uint8))
    assert columns_of(tmp_path / "y.npy") == {}, "images"


def test_arrays_of_one_length_are_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "y.npz", files=np.array(NAMES), y=np.arange(6) % 2, names=np.array(["cat", "dog"]))
    assert columns_of(tmp_path / "y.npz") == {"files": NAMES, "y": ["0", "1"] * 3}
    np.savez(tmp_path / "y.npz", y=np.arange(3))
    assert columns_of(tmp_path / "y.npz") == {"y": ["0", "1", "2"]}


def test_pickled_and_damaged_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([{}, {}], dtype=object))
    with pytest.raises(FolderError, match=r"cannot be read as labels.*save the labels as CSV"):
        columns_of(tmp_path / "y.npy")
    for name in ("y.npz", "y.mat", "z.npy"):
        (tmp_path / name).write_bytes(b"no array of anything at all" * 20)
        with pytest.raises(FolderError, match=f"{name} cannot be read as labels"):
            columns_of(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"labels": np.array([[1, 2, 2]], np.uint8)}, {"labels": ["1", "2", "2"]}),  # Oxford Flowers
        (
            {"file_list": cell(NAMES).T, "labels": np.array([[1, 1, 1, 2, 2, 2]]).T, "other": np.eye(3)},
            {"file_list": NAMES, "labels": ["1", "1", "1", "2", "2", "2"]},
        ),  # Stanford Dogs
        (
            {
                "imdb": {"images": {"name": cell(NAMES), "class": np.array([1, 2, 1, 2, 1, 2])}, "size": 3},
                "meta": {"classes": cell(["banded", "dotted"])},
            },
            {"name": NAMES, "class": ["banded", "dotted"] * 3},
        ),  # DTD
    ],
)
def test_tables_of_matlab(tmp_path: Path, values: dict[str, Any], expected: dict[str, list[str]]) -> None:
    savemat(tmp_path / "labels.mat", values)
    assert columns_of(tmp_path / "labels.mat") == expected


def test_structures_of_matlab_and_names_in_a_file_beside(tmp_path: Path) -> None:
    fields = [(name, object) for name in ("bbox_x1", "class", "fname")]
    rows = np.array([(7, n % 2 + 1, name) for n, name in enumerate(NAMES)], dtype=fields)
    savemat(tmp_path / "cars_train_annos.mat", {"annotations": rows[np.newaxis]})
    savemat(tmp_path / "cars_meta.mat", {"class_names": cell(["Acura RL", "Audi S4"])})
    assert columns_of(tmp_path / "cars_train_annos.mat") == {
        "bbox_x1": ["7"] * 6, "class": ["Acura RL", "Audi S4"] * 3, "fname": NAMES,
    }  # fmt: skip


def test_a_file_of_matlab_7_3_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "labels.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(FolderError, match=r"MATLAB 7.3 file; in MATLAB: save\('labels.mat', 'labels', '-v7'\)"):
        columns_of(tmp_path / "labels.mat")


def test_a_small_file_that_announces_a_huge_array_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "labels.mat"
    savemat(path, {"labels": cell(["a", "b", "c"])})
    data = path.read_bytes()
    dims = struct.pack("<2i", 1, 3)
    assert data.count(dims) == 1
    path.write_bytes(data.replace(dims, struct.pack("<2i", 1, 2**31 - 1)))
    with pytest.raises(FolderError, match=r"labels.mat cannot be read as labels \(needs too much memory\)"):
        columns_of(path)
