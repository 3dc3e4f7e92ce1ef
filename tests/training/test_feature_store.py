"""Features on disk: kept durably, never mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from housetrain.training.feature_store import FeatureStore


def test_rows_of_another_precision_are_not_mixed(tmp_path: Path) -> None:
    class Engine:
        def __init__(self, precision: str) -> None:
            self.name, self.precision = f"engine in {precision}", precision

    key = b"k" * 16
    with FeatureStore(tmp_path / "store", {"model": "m"}, 2) as kept:
        kept.computed_by(Engine("fp32"))  # type: ignore[arg-type]
        kept.append([key], np.ones((1, 2)))
    with FeatureStore(tmp_path / "store", {"model": "m"}, 2) as kept:
        kept.computed_by(Engine("fp32"))  # type: ignore[arg-type]
        assert key in kept and kept.engine == {"name": "engine in fp32", "precision": "float32"}
        kept.computed_by(Engine("bf16"))  # type: ignore[arg-type]
        assert key not in kept and len(kept) == 0
    with FeatureStore(tmp_path / "store", {"model": "m"}, 2) as kept:
        assert len(kept) == 0 and kept.engine["precision"] == "bfloat16"


def test_what_a_kill_leaves_is_a_shorter_store(tmp_path: Path) -> None:
    class Engine:
        name, precision = "engine", "fp32"

    keys = [bytes([number]) * 16 for number in range(3)]
    with FeatureStore(tmp_path, {"model": "m"}, 2) as kept:
        kept.computed_by(Engine())  # type: ignore[arg-type]
        kept.append(keys, np.arange(6.0).reshape(3, 2))
    with (tmp_path / "rows.f16").open("ab") as file:
        file.write(b"half")
    keys_file = tmp_path / "keys.bin"
    keys_file.write_bytes(keys_file.read_bytes()[:-5])
    with FeatureStore(tmp_path, {"model": "m"}, 2) as kept:
        assert len(kept) == 2 and keys[2] not in kept
        assert kept.rows(keys[:2]).tolist() == [[0.0, 1.0], [2.0, 3.0]]
        kept.append(keys[2:], np.array([[1e9, -1e9]]))
        assert kept.rows(keys[2:]).tolist() == [[65504.0, -65504.0]], "no infinity"
    keys_file.write_bytes(keys[0] * 3)  # a key twice: not written by this class
    with FeatureStore(tmp_path, {"model": "m"}, 2) as kept:
        assert len(kept) == 0
