from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data.pets import counts, jpeg, pets_zip
from events_of import Event, Interrupt, Listener

from housetrain.data import samples
from housetrain.data.samples import sample
from housetrain.errors import DiskFull, DownloadError, FolderError, RecipeError
from housetrain.system import events
from housetrain.system.events import Callbacks

# ---------------------------------------------------------------------------------------------- digits, IDX


def test_digits_are_the_real_ones(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    seen: list[Event] = []
    folder = sample("digits", tmp_path / "digits", callbacks=[Listener(seen.append)])
    real = load_digits()
    assert sum(counts(folder).values()) == 1797
    assert counts(folder) == {str(digit): int((real.target == digit).sum()) for digit in range(10)}
    assert (seen[-2]["done"], seen[-2]["total"], seen[-1]["state"]) == (1797, 1797, "complete")
    image = cv2.imread(str(folder / "7" / "00007.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (32, 32) and image.dtype == np.uint8
    back = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(float) * 16 / 255
    assert np.abs(back - real.images[7]).mean() < 1.0  # values reach 16


def test_second_call_does_nothing(tmp_path: Path) -> None:
    folder = sample("digits", tmp_path / "digits")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}
    sample("digits", folder)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")} == before


def test_interrupted_is_completed_and_deleted_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sample("digits", tmp_path / "whole")

    folder = tmp_path / "digits"
    monkeypatch.setattr(events, "_COUNT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        sample("digits", folder, callbacks=[Interrupt(after=500)])
    assert 0 < sum(counts(folder).values()) < 1797
    next((folder / "0").iterdir()).write_bytes(b"torn")
    sample("digits", folder)
    next((folder / "3").iterdir()).unlink()
    sample("digits", folder)
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.png")} == {
        p.relative_to(whole): p.read_bytes() for p in whole.rglob("*.png")
    }


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"holds other files.*thesis\.txt"):
        sample("digits", tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]
    digits = sample("digits", tmp_path / "digits")
    with pytest.raises(FolderError, match="digits"):
        sample("mnist", digits)


def test_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean fashion-mnist"):
        sample("fashion_mnist", tmp_path / "x")


def test_mnist_from_its_files(tmp_path: Path, mnist_t10k: Path) -> None:
    folder = sample("mnist", tmp_path / "mnist", source=mnist_t10k)
    with gzip.open(mnist_t10k / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(mnist_t10k / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert sum(counts(folder).values()) == 10_000  # one part only: no train/ and test/
    for number in (0, 1, 4321, 9999):
        image = cv2.imread(str(folder / str(labels[number]) / f"{number:05d}.png"), cv2.IMREAD_UNCHANGED)
        assert (image == pixels[number]).all()


def write_idx(folder: Path, start: str, count: int, *, packed: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images = struct.pack(">4I", 0x803, count, 28, 28) + pixels.tobytes()
    labels = struct.pack(">2I", 0x801, count) + bytes(number % 10 for number in range(count))
    for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"{start}-{kind}-ubyte{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [True, False])
def test_two_parts_become_ready_made_splits(tmp_path: Path, packed: bool) -> None:
    for start, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / "files", start, count, packed=packed)
    folder = sample("fashion-mnist", tmp_path / "fashion", source=tmp_path / "files")
    assert sorted(item.name for item in folder.iterdir() if item.is_dir()) == ["test", "train"]
    assert counts(folder / "train") == dict.fromkeys(sorted(samples.FASHION_CLASSES), 4)
    assert counts(folder / "test") == dict.fromkeys(sorted(samples.FASHION_CLASSES), 2)


@pytest.mark.skipif(not any(place.is_dir() for place in samples.DEBIAN_FOLDERS), reason="no dataset-fashion-mnist here")
def test_fashion_mnist_of_debian_is_found() -> None:
    parts, scratch = samples._idx("fashion-mnist", source=None, events=Callbacks())
    assert scratch is None
    assert parts["train"][0].shape == (60_000, 28, 28) and parts["test"][0].shape == (10_000, 28, 28)
    assert np.bincount(parts["train"][1]).tolist() == [6000] * 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"<html>not found</html>",
        lambda data: gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12),
        lambda data: gzip.compress(bytes(samples._MOST_IDX_BYTES + 10)),
    ],
    ids=["empty", "cut", "html", "impossible shape", "bomb"],
)
def test_damaged_idx_is_refused(tmp_path: Path, damage: Any) -> None:
    write_idx(tmp_path / "files", "train", 20)
    path = tmp_path / "files" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DownloadError, match="IDX"):
        sample("mnist", tmp_path / "out", source=tmp_path / "files")
    assert not (tmp_path / "out").exists()


def test_a_source_without_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with pytest.raises(FolderError, match="train-images-idx3-ubyte"):
        sample("mnist", tmp_path / "out", source=tmp_path / "files")
    assert not (tmp_path / "out").exists()


def test_killed_at_any_instant_the_next_call_completes_it(tmp_path: Path, mnist_t10k: Path) -> None:
    folder = tmp_path / "mnist"
    code = "import sys; from pathlib import Path; from housetrain.data.samples import sample\n"
    code += "sample('mnist', Path(sys.argv[1]), source=Path(sys.argv[2]))"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder), str(mnist_t10k)])
    while child.poll() is None and sum(1 for _ in folder.rglob("*.png")) < 200:
        time.sleep(0.02)
    child.kill()
    child.wait()
    sample("mnist", folder, source=mnist_t10k)
    assert sum(counts(folder).values()) == 10_000
    assert all(cv2.imread(str(path)) is not None for path in folder.rglob("*.png"))


# ---------------------------------------------------------------------------------------------- download


# ---------------------------------------------------------------------------------------------- zip


def test_cats_vs_dogs_from_a_zip_at_hand(tmp_path: Path) -> None:
    archive = pets_zip(tmp_path / "kagglecatsanddogs_5340.zip")
    for number, source in enumerate((archive, tmp_path)):
        folder = sample("cats-vs-dogs", tmp_path / f"pets{number}", source=source)
        assert counts(folder) == {"Cat": 12, "Dog": 12}
    assert archive.exists()
    with pytest.raises(FolderError, match="archive does not exist"):
        sample("cats-vs-dogs", tmp_path / "other", source=tmp_path / "none.zip")


def test_unpacking_keeps_what_is_whole_and_mends_what_is_torn(tmp_path: Path) -> None:
    archive = pets_zip(tmp_path / "pets.zip")
    folder = sample("cats-vs-dogs", tmp_path / "pets", source=archive)
    mark = folder / samples.MARK
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "complete": False}))
    kept, torn, gone = folder / "Cat" / "1.jpg", folder / "Cat" / "2.jpg", folder / "Dog" / "5.jpg"
    inode = kept.stat().st_ino
    torn.write_bytes(b"\0" * torn.stat().st_size)  # the right size: as after a power cut
    gone.unlink()
    sample("cats-vs-dogs", folder, source=archive)
    assert kept.stat().st_ino == inode
    assert torn.read_bytes() == jpeg(2) and gone.read_bytes() == jpeg(5)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match=r"No space left.*bytes_needed=") as caught:
        sample("digits", tmp_path / "digits")
    assert "\n" not in str(caught.value)
