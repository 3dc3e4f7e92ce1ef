"""The samples as arrays: what keras.datasets gives, without image files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.test_download import Server, server
from data.test_samples import write_idx
from events_of import Event, Listener

from housetrain.data import samples
from housetrain.data.download import RemoteFile
from housetrain.data.prepared import Prepared
from housetrain.data.samples import sample
from housetrain.errors import DownloadError, FolderError, RecipeError

__all__ = ["server"]


def test_digits_as_arrays_are_those_of_the_images_and_train(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    file = sample("digits", tmp_path / "new" / "digits.npz", arrays=True)
    assert [path.name for path in file.parent.iterdir()] == ["digits.npz"]
    given = np.load(file)
    assert sorted(given) == ["x_test", "x_train", "y_test", "y_train"]
    assert (np.concatenate([given["y_train"], given["y_test"]]) == load_digits().target).all()
    assert given["x_train"].shape == (1500, 32, 32) and given["x_train"].dtype == np.uint8
    pairs = [(given[f"x_{name}"], given[f"y_{name}"]) for name in ("train", "test")]
    prepared = Prepared.from_arrays(*pairs, folder=tmp_path / "arrays")
    assert len(prepared.test.labels) == 297 and prepared.classes == tuple("0123456789")


def test_mnist_from_its_files_as_arrays(tmp_path: Path, mnist_t10k: Path) -> None:
    given = np.load(sample("mnist", tmp_path / "mnist.npz", source=mnist_t10k, arrays=True))
    assert sorted(given) == ["x_train", "y_train"], "one part only: no official test"
    assert given["x_train"].shape == (10_000, 28, 28) and given["y_train"][:5].tolist() == [7, 2, 1, 0, 4]


def test_mnist_is_downloaded_once_and_its_test_stays_the_test(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / "files", start, count)
    contents = {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()}
    remotes = []
    servers = {name: Server(data) for name, data in contents.items()}
    for name, one in servers.items():
        url = one.url.replace("pets.zip", name)
        remotes.append(RemoteFile(url, len(one.data), hashlib.sha256(one.data).hexdigest()))
    monkeypatch.setitem(samples.REMOTE, "mnist", tuple(remotes))
    monkeypatch.setattr(samples, "_downloads", lambda: tmp_path / "downloads")
    seen: list[Event] = []
    file = sample("mnist", tmp_path / "mnist.npz", arrays=True, callbacks=[Listener(seen.append)])
    given = np.load(file)
    assert (len(given["x_train"]), len(given["x_test"])) == (40, 20) and seen[-1]["state"] == "complete"
    before = file.stat().st_mtime_ns
    assert sample("mnist", file, arrays=True) == file and file.stat().st_mtime_ns == before
    assert all(len(one.asked) == 1 for one in servers.values())
    assert not list((tmp_path / "downloads").iterdir())
    remotes[0] = RemoteFile(remotes[0].url, remotes[0].bytes, "0" * 64)
    monkeypatch.setitem(samples.REMOTE, "mnist", tuple(remotes))
    with pytest.raises(DownloadError):
        sample("mnist", tmp_path / "again.npz", arrays=True)
    assert not (tmp_path / "again.npz").exists()


def test_another_file_or_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.npz"
    np.savez(mine, x=np.zeros(3))
    before = mine.read_bytes()
    with pytest.raises(FolderError, match="another file"):
        sample("digits", mine, arrays=True)
    digits = sample("digits", tmp_path / "digits.npz", arrays=True)
    with pytest.raises(FolderError, match="another file"):
        sample("mnist", digits, arrays=True)
    with pytest.raises(FolderError, match=r"ends with \.npz"):
        sample("digits", tmp_path / "digits", arrays=True)
    with pytest.raises(RecipeError, match="differ in size"):
        sample("cats-vs-dogs", tmp_path / "pets.npz", arrays=True)
    assert mine.read_bytes() == before and {path.name for path in tmp_path.iterdir()} == {"digits.npz", "mine.npz"}


def test_the_command_says_what_to_do_next(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("sample", "digits", "--arrays")
    assert code == 0 and out.splitlines() == ["Arrays   digits.npz", "Next     housetrain prepare digits.npz"]
    write_idx(tmp_path / "files", "train", 40)
    write_idx(tmp_path / "files", "t10k", 20)
    code, out, _ = call("sample", "fashion-mnist", "--arrays", "--source", "files")
    next_line = out.splitlines()[1].removeprefix("Next     housetrain ").split()
    assert code == 0 and "T-shirt-top,Trouser" in next_line[-1]
    code, out, err = call(*next_line, "--json")
    assert code == 0 and "T-shirt-top" in json.loads(out)["counts"]["train"], err
