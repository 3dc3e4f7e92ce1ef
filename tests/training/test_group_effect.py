from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from noise_folders import image

from housetrain.data.catalog import scan
from housetrain.data.groups import groups_of
from housetrain.data.prepare import prepare
from housetrain.training.feature_store import FeatureStore, kept_features
from housetrain.training.group_effect import GroupEffect, group_effect

RULE = r"[ab]subject\d+"
WIDTH = 64


def keep(folder: Path, sha256: list[str], rows: np.ndarray) -> None:
    with FeatureStore(folder / "features" / "made-up-0", {"width": WIDTH}, WIDTH) as store:
        store.computed_by(cast(Any, SimpleNamespace(name="test", precision="fp32")))
        store.append([bytes.fromhex(one)[:16] for one in sha256], rows)


@pytest.mark.parametrize("content", [0.0, 4.0])
def test_what_ignoring_groups_flatters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: float) -> None:
    monkeypatch.chdir(tmp_path)
    files = [f"{c}/{c}subject{s}_{n}.png" for c in ("a", "b") for s in range(16) for n in range(5)]
    for seed, name in enumerate(files):
        image(tmp_path / "images" / name, seed)
    catalog = scan(tmp_path / "images")
    named = groups_of(catalog, RULE)
    assert named is not None and group_effect(catalog, named) is None  # nothing is kept
    prepared = prepare(tmp_path / "images", image_size=16)
    random, looks = np.random.default_rng(0), {}
    rows = []
    for row in prepared.split.rows:
        look = looks.setdefault((row.label, named.of[row.path]), random.normal(size=WIDTH))
        rows.append(look * 3 + random.normal(0, 0.3, WIDTH) + (content * 3 if row.label == "a" else 0.0))
    used = [number for number, row in enumerate(prepared.split.rows) if row.split != "test"]
    keep(prepared.folder, [prepared.split.rows[n].sha256 for n in used], np.array(rows)[used])
    found = group_effect(catalog, named)
    assert found is not None and found.images == len(used) and found.ignored > 0.95
    assert (found.respected > 0.95) if content else (found.respected < 0.75)
    assert kept_features(prepared.folder, ["0" * 64]) is None


def test_it_is_said_in_one_line() -> None:
    text = GroupEffect(0.97, 0.89, 1200).describe()
    assert "97.0 % if these groups are ignored" in text and "flatters by 8.0 points" in text
    assert "flatters hardly" in GroupEffect(0.9, 0.9, 1200).describe()
