"""A bundle that is incomplete, changed or hostile is refused with one of our own errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housetrain.errors import CorruptError, ModelError
from housetrain.images.input_spec import InputSpec
from housetrain.inference import verify
from housetrain.inference.model_format import TOLERANCES
from housetrain.system import store

SHAPE = (8, 8, 1)
SPEC = InputSpec(height=8, width=8, color_mode="grayscale").to_json()
MODEL = {"format": "keras", "file": "model.keras", "precision": "fp32", "tolerance": 0.002, "files": ["model.keras"]}
ABOUT = {"layout_version": 3, "classes": ["cat", "dog"], "spec": SPEC, "models": [MODEL]}


class Fixed:
    """An engine that always returns the same outputs."""

    name, precision, parallel = "fixed", "fp32", 1

    def __init__(self, outputs: Any) -> None:
        self.outputs = np.asarray(outputs, np.float32)

    def run(self, images: Any) -> Any:
        del images
        return self.outputs

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize("wrong", [0.5 + 2 * TOLERANCES["fp32"], float("nan")])
def test_a_model_that_answers_otherwise_than_before_is_refused(wrong: float) -> None:
    golden = verify.Golden(np.zeros((1, *SHAPE), np.uint8), np.array([[0.5, 0.5]], np.float32))
    verify.check_golden(Fixed([[0.5005, 0.4995]]), golden, tolerance=TOLERANCES["fp32"])
    with pytest.raises(ModelError, match="no longer returns the probabilities"):
        verify.check_golden(Fixed([[wrong, 0.5]]), golden, tolerance=TOLERANCES["fp32"])
    with pytest.raises(ModelError, match="does not match its class names"):
        verify.check_golden(Fixed([[0.5, 0.2, 0.3]]), golden, tolerance=TOLERANCES["fp32"])


# ------------------------------------------------------------------------------------------------- the bundle's files
@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's files, without a real model: reading them needs no Keras."""
    with store.commit_folder(tmp_path, "bundle") as inside:
        (inside / "model.keras").write_bytes(b"a model")
        store.write_json_atomic(inside / verify.ABOUT, ABOUT)
        np.savez(inside / verify.GOLDEN, images=np.zeros((3, *SHAPE), np.uint8), probabilities=np.ones((3, 2), "f4"))
        np.savez(
            inside / verify.SEEN, **{name: np.arange(5, dtype=np.uint64) for name in ("train", "validation", "test")}
        )
    return tmp_path / "bundle"


def remade(bundle: Path, **files: bytes) -> Path:
    """Replace files of a bundle, with a manifest that agrees: what someone who can write the folder can do."""
    for name, data in files.items():
        (bundle / name.replace("_", ".")).write_bytes(data)
    store.write_manifest(bundle)
    return bundle


def npz(path: Path, **arrays: Any) -> bytes:
    np.savez(path, **arrays)
    return path.read_bytes()


def test_a_whole_bundle_is_read(bundle: Path) -> None:
    contents = verify.read_bundle(bundle)
    assert contents.about["classes"] == ["cat", "dog"] and contents.entry.file == "model.keras"
    assert contents.golden.images.shape == (3, *SHAPE)
    assert contents.seen.split_of(4) == "train" and contents.seen.split_of(5) is None
    (bundle / "a-note-of-mine.txt").write_text("other files in the folder are left alone")
    verify.read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.keras", "bundle.json", "golden.npz", "seen.npz", "manifest.json"])
def test_every_damage_to_every_file_is_noticed(bundle: Path, name: str) -> None:
    path = bundle / name
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    broken = [data[:length] for length in (0, 1, len(data) // 2, len(data) - 1)]
    for _ in range(40):
        flipped = bytearray(data)
        flipped[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        broken.append(bytes(flipped))
    before = verify.read_bundle(bundle)
    for value in [*broken, None, data + b"\n"]:
        if value is None:
            path.unlink()
        else:
            path.write_bytes(value)
        try:
            after = verify.read_bundle(bundle)
        except (ModelError, CorruptError):
            continue
        finally:
            path.write_bytes(data)
        assert name == "manifest.json", "only white space, case or a name nobody reads in the manifest may change"
        assert after.about == before.about and after.entry == before.entry


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/passwd", "a/../../b", "..", "C:/x", "C:x", "a\\b", "\\\\host\\x", "", ".", "a\nb", "a//b"],
)
def test_names_that_lead_out_of_the_folder_are_refused(bundle: Path, name: str) -> None:
    manifest = store.read_json(bundle / store.MANIFEST)
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    store.write_json_atomic(bundle / store.MANIFEST, manifest)
    with pytest.raises(CorruptError, match=r"leads out of its folder|not one that housetrain writes"):
        verify.read_bundle(bundle)


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.keras").rename(tmp_path / "elsewhere")
    (bundle / "model.keras").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptError, match="link"):
        verify.read_bundle(bundle)


@pytest.mark.parametrize(
    "about",
    [b"[]", b"{", b"null", b'{"layout_version": 3}', b'{"layout_version": "x"}', b"[" * 100_000]
    + [json.dumps({**ABOUT, **change}).encode() for change in (
        {"classes": ["one"]}, {"classes": [1, 2]}, {"classes": "cat dog"}, {"spec": 3}, {"spec": {}}, {"models": 3})],
)  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(bundle: Path, about: bytes) -> None:
    with pytest.raises(CorruptError, match=r"bundle\.json"):
        verify.read_bundle(remade(bundle, bundle_json=about))


def test_a_bundle_of_a_newer_housetrain_says_so(bundle: Path) -> None:
    with pytest.raises(ModelError, match="newer housetrain"):
        verify.read_bundle(remade(bundle, bundle_json=json.dumps({**ABOUT, "layout_version": 4}).encode()))
    with pytest.raises(ModelError, match="older housetrain"):
        verify.read_bundle(remade(bundle, bundle_json=json.dumps({**ABOUT, "layout_version": 2}).encode()))


def test_a_model_elsewhere_is_refused(bundle: Path) -> None:
    about = {**ABOUT, "models": [{**MODEL, "file": "../model.keras", "files": ["../model.keras"]}]}
    with pytest.raises(CorruptError, match="does not list its model"):
        verify.read_bundle(remade(bundle, bundle_json=json.dumps(about).encode()))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"file": "../model.keras", "files": ["../model.keras"]}, "does not list its model"),
        ({"file": "/etc/passwd"}, "does not describe"),
        ({"files": []}, "does not describe"),
        ({"files": "model.keras"}, "does not describe"),
        ({"files": [3]}, "does not describe"),
        ({"file": "saved_model", "files": ["saved_model/x"]}, "does not list its model"),
        ({"tolerance": 7}, "does not describe"),
        ({"tolerance": float("nan")}, "does not describe"),
        ({"format": ["keras"]}, "does not describe"),
        ({"format": "pickle"}, "kind of model"),
    ],
)
def test_invalid_models_are_refused(bundle: Path, change: dict[str, Any], word: str) -> None:
    about = {**ABOUT, "models": [{**MODEL, **change}]}
    with pytest.raises((CorruptError, ModelError), match=word):
        verify.read_bundle(remade(bundle, bundle_json=json.dumps(about).encode()))


def test_arrays_that_would_be_unpickled_or_make_no_sense_are_refused(bundle: Path, tmp_path: Path) -> None:
    images, given = np.zeros((2, *SHAPE), np.uint8), np.ones((2, 2), np.float32)
    trap = np.array([Trap(tmp_path / "trapped")], dtype=object)
    for golden in (
        npz(tmp_path / "1.npz", images=trap, probabilities=given),
        npz(tmp_path / "2.npz", images=images.astype(np.float32), probabilities=given),
        npz(tmp_path / "3.npz", images=images, probabilities=given[:1]),
        npz(tmp_path / "4.npz", images=images[:0], probabilities=given[:0]),
        npz(tmp_path / "5.npz", images=images),
        b"not a zip",
        b"",
    ):
        with pytest.raises(CorruptError, match=r"golden\.npz"):
            verify.read_bundle(remade(bundle, golden_npz=golden))
    assert not (tmp_path / "trapped").exists()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_was_seen_must_be_sorted_numbers(bundle: Path, tmp_path: Path) -> None:
    good = np.arange(3, dtype=np.uint64)
    for number, bad in enumerate((good[::-1], good.astype(np.int64), good.reshape(1, 3))):
        data = npz(tmp_path / f"{number}.npz", train=bad, validation=good, test=good)
        with pytest.raises(CorruptError, match=r"seen\.npz"):
            verify.read_bundle(remade(bundle, seen_npz=data))
