"""Conversions of large models: made once, checked before each use, bounded in size."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import housetrain as ht
from housetrain.exports import bundle
from housetrain.inference import conversions, fastest
from housetrain.inference.conversions import keep_conversion, kept_conversion
from housetrain.inference.formats import FORMATS

pytest.importorskip("openvino")
OPENVINO = FORMATS["openvino"]


@pytest.fixture
def large(digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ht.Run:
    """A copy of a small run that counts as one of many parameters."""
    monkeypatch.setattr(fastest, "CONVERTED", 100)
    monkeypatch.setattr(bundle, "CONVERTED", 100)
    return ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run"))


def kept() -> list[Path]:
    return sorted((Path(os.environ["HOUSETRAIN_CACHE"]) / "models").iterdir())


def test_test_bundle_and_prediction_convert_once(large: ht.Run, digits: Any) -> None:
    images = np.asarray(digits.prepared.test.images)
    with ht.Predictor.load(large) as predictor:
        assert predictor.about["engine"] == "openvino"
        given = predictor.probabilities(images)
    [folder] = kept()
    written = (folder / "model.bin").stat().st_mtime_ns
    exported = ht.export(large).folder
    assert (exported / "model.bin").read_bytes() == (folder / "model.bin").read_bytes()
    assert ht.Predictor.load(large).probabilities(images).tolist() == given.tolist()
    shutil.rmtree(exported)
    assert ht.Predictor.load(large).probabilities(images).tolist() == given.tolist()
    assert kept() == [folder] and (folder / "model.bin").stat().st_mtime_ns == written


def test_a_second_prediction_imports_no_keras(large: ht.Run) -> None:
    ht.Predictor.load(large).close()
    code = (
        "import sys, housetrain\n"
        "from housetrain.inference import fastest\n"
        f"fastest.CONVERTED = 100\nhousetrain.Predictor.load({str(large.folder)!r})\n"
        "print('keras' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_a_changed_conversion_is_made_again(large: ht.Run) -> None:
    ht.Predictor.load(large).close()
    [folder] = kept()
    whole = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    ht.Predictor.load(large).close()
    assert kept() == [folder] and (folder / "model.bin").read_bytes() == whole


def test_very_large_models_are_kept_in_bfloat16(large: ht.Run, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ht.Predictor.load(large).close()
    monkeypatch.setattr(fastest, "LARGE", 100)
    with ht.Predictor.load(large) as predictor:
        given = predictor.probabilities(np.asarray(digits.prepared.test.images))
    assert [folder.name.split("-")[2] for folder in kept()] == ["bf16", "fp32"], "each under a name of its own"
    exported = ht.Predictor.load(ht.export(large).folder)
    assert exported.probabilities(np.asarray(digits.prepared.test.images)).tolist() == given.tolist()


@pytest.mark.slow
def test_those_used_longest_ago_are_removed(large: ht.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model = large.load_model()
    made = [keep_conversion(OPENVINO, "fp32", name * 64, model) for name in "abc"]
    assert all(path is not None for path in made)
    for age, path in enumerate(reversed(made)):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert kept_conversion(OPENVINO, "fp32", "a" * 64) == made[0], "using one makes it the newest"
    monkeypatch.setattr(conversions, "MOST_BYTES", 3 * conversions._size(made[0]) + 1)
    new = keep_conversion(OPENVINO, "fp32", "d" * 64, model)
    assert kept() == sorted([made[0], made[2], new])


def test_without_a_cache_it_still_predicts(large: ht.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HOUSETRAIN_CACHE", str(tmp_path / "file" / "cache"))
    with ht.Predictor.load(large) as predictor:
        assert predictor.about["engine"] == "openvino"
    assert (ht.export(large).folder / "model.xml").is_file()


def test_the_model_file_is_loaded_and_hashed_once_a_process(digits: Any, tmp_path: Path) -> None:
    """The test and the export of a run share the loaded model; the export copies the file."""
    run = ht.Run.open(shutil.copytree(digits.run.folder, tmp_path / "run"))
    code = f"""
import sys, housetrain as ht
from housetrain.system import store
opened = []
def listen(event, facts):
    if event == "open" and str(facts[0]) == {str(run.folder / "model.keras")!r}:
        opened.append(sys._getframe(1).f_code.co_name)
sys.addaudithook(listen)
run = ht.Run.open({str(run.folder)!r})
ht.Predictor.load(run)
before = len(opened)
ht.export(run)
ht.Predictor.load(run)
print(before, len(opened) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, later = map(int, done.stdout.split())
    assert first <= 4, "hashed, checked, and twice by Keras: is it a zip archive, and what does it hold"
    assert later <= 2, "copied, and asked when it was saved"
