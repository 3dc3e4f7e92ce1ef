"""A name that a file holds leads nowhere but into its own folder: nothing elsewhere is read, shown or removed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade_runs import MakeRun

from housetrain.data.prepared import Prepared
from housetrain.data.split_manifest import LeftOut, Row, SplitManifest
from housetrain.errors import CorruptError, HousetrainError
from housetrain.images.encode import encode
from housetrain.images.input_spec import InputSpec
from housetrain.report import explain_page
from housetrain.report.thumbnails import Album
from housetrain.sweeps import driver
from housetrain.sweeps.folder import SweepFolder
from housetrain.system import store
from housetrain.system.files import inside

OUT = ["../secret", "a/../../secret", "..", "/etc/hostname", "", ".", "a\0b", 7, None, ["x"]]


@pytest.mark.parametrize("name", OUT)
def test_a_name_that_leads_out_is_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        inside(tmp_path, name)


def test_a_link_that_leads_out_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "root2"
    (root / "real").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "out").symlink_to(elsewhere)
    (root / "in").symlink_to("real")
    assert inside(root, "in/new.txt") == root / "in" / "new.txt"
    for name in ("out", "out/new.txt"):
        with pytest.raises(CorruptError, match="link"):
            inside(root, name)
    (tmp_path / "behind").symlink_to(root)  # the folder itself is the user's choice
    assert inside(tmp_path / "behind", "real/x") == tmp_path / "behind" / "real" / "x"


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CorruptError, match="neither a file"):
        inside(tmp_path, "fifo")


# ------------------------------------------------------------------------------------------------- what HTML shows
@pytest.fixture
def explained(tmp_path: Path) -> Path:
    """The explanations of one image in a run, and beside the run a secret that is a PNG, too."""
    target = tmp_path / "run" / "explained"
    for place in (target / "cat-01234567", tmp_path / "secret"):
        place.mkdir(parents=True)
        for name in ("image", "grad-cam", "occlusion", "layer"):
            (place / f"{name}.png").write_bytes(encode(np.full((4, 4, 3), 7 * ("secret" in str(place)), np.uint8)))
    write_index(target)
    return target


def write_index(target: Path, *, folder: Any = "cat-01234567", file: Any = "layer.png", **more: Any) -> None:
    entry = {"folder": folder, "model_sha256": "0", "layers": [{"file": file}], **more}
    store.write_json_atomic(target / explain_page.INDEX, {"images": [entry]})


def test_explanations_are_shown(explained: Path) -> None:
    shown = explain_page.section(explained)
    assert shown is not None and shown["shown"][0]["layers"][0]["image"].startswith("data:image/png")


@pytest.mark.parametrize(
    "entry",
    [{"folder": "../../secret"}, {"file": "../../../secret/layer.png"}, {"folder": 3}, {"layers": None}, {"file": []}],
)
def test_a_page_shows_nothing_from_elsewhere(entry: dict[str, Any], explained: Path) -> None:
    write_index(explained, **entry)
    assert explain_page.section(explained) is None
    write_index(explained, folder=str(explained.parents[1] / "secret"))
    assert explain_page.section(explained) is None


def test_a_page_follows_no_link_and_shows_no_text(explained: Path) -> None:
    layer = explained / "cat-01234567" / "layer.png"
    layer.unlink()
    layer.symlink_to(explained.parents[1] / "secret" / "layer.png")
    assert explain_page.section(explained) is None
    layer.unlink()
    layer.write_text("a key")
    shown = explain_page.section(explained)
    assert shown is not None and shown["shown"][0]["layers"] == []


def test_old_explanations_elsewhere_are_not_removed(explained: Path) -> None:
    secret = explained.parents[1] / "secret"
    entries = [{"folder": f"../../secret/../a-{number:08x}", "layers": []} for number in range(40)]
    store.write_json_atomic(explained / explain_page.INDEX, {"images": entries})
    (explained.parents[1] / "b-01234567").mkdir()
    (explained / "b-01234567").symlink_to(explained.parents[1] / "b-01234567")
    explain_page.add_entries(explained, [])
    assert secret.is_dir() and (explained.parents[1] / "b-01234567").is_dir()


def test_thumbnails_stay_in_the_folder_of_the_images(tmp_path: Path) -> None:
    root, spec = tmp_path / "images", InputSpec(height=8, width=8, color_mode="rgb")
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(encode(np.zeros((9, 9, 3), np.uint8)))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        made = Album(root, spec).thumbnail(name)
        assert made.image is None and "outside" in made.reason
    known = store.file_sha256(tmp_path / "secret.png")  # a folder of links to one's own images is common
    assert Album(root, spec).thumbnail("link.png", known).image is not None
    assert Album(root, spec).thumbnail("../secret.png", known).image is None


# ------------------------------------------------------------------------------------------------- lists and manifests
@pytest.mark.parametrize("path", ["../x.png", "/x.png", "a/../../x.png", ""])
def test_a_split_lists_images_below_its_folder_only(path: str, tmp_path: Path) -> None:
    rows = [Row(path, "0" * 64, "cat", "train", "0" * 64)]
    for bad in ({"rows": rows}, {"rows": [], "left_out": [LeftOut(path, "cat", "damaged")]}):
        SplitManifest.of_rows(tmp_path, ["cat", "dog"], options={}, **bad).save(tmp_path)  # type: ignore[arg-type]
        with pytest.raises(CorruptError):
            SplitManifest.load(tmp_path)


@pytest.mark.parametrize("what", ["images", "split"])
def test_prepared_images_are_read_from_their_folder_only(what: str, make_run: MakeRun, tmp_path: Path) -> None:
    make_run(with_arrays=True)
    manifest = store.read_json(tmp_path / "prepared" / "prepared.json")
    file = tmp_path / "prepared" / manifest[what]["file"]
    file.rename(tmp_path / "elsewhere")
    for name in ("../elsewhere", str(tmp_path / "elsewhere"), "..", 3):
        store.write_json_atomic(
            tmp_path / "prepared" / "prepared.json", {**manifest, what: {**manifest[what], "file": name}}
        )
        with pytest.raises(CorruptError):
            Prepared.open(tmp_path / "prepared")
    store.write_json_atomic(tmp_path / "prepared" / "prepared.json", manifest)
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptError):
        Prepared.open(tmp_path / "prepared")


def test_a_manifest_is_checked_inside_its_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("key")
    for name in ("../secret", str(tmp_path / "secret"), "/dev/zero"):
        store.write_json_atomic(folder / store.MANIFEST, {"files": {name: {"bytes": 3, "sha256": ""}}})
        with pytest.raises(CorruptError, match="leads out"):
            store.verify_folder(folder)


# ------------------------------------------------------------------------------------------------- sweeps
REQUEST = {
    "search": {"kind": "grid"},
    "validation": {"images": 4, "majority": "cat", "share": 0.5},
    "images": 20,
    "classes": ["cat", "dog"],
}


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    """A sweep of one trial, and beside it a run with checkpoints."""
    (tmp_path / "x" / "checkpoints").mkdir(parents=True)
    (tmp_path / "sweep" / "trials" / "a" / "checkpoints").mkdir(parents=True)
    trial = {"name": "a", "group": "a", "recipe": {"model": "mlp", "epochs": 1, "batch_size": 8}}
    store.write_json_atomic(tmp_path / "sweep" / "sweep.json", {**REQUEST, "trials": [trial]})
    return SweepFolder(tmp_path / "sweep")


@pytest.mark.parametrize("name", ["../../x", "..", "/x", "a/../../../x", "", 3, None])
def test_a_sweep_removes_nothing_elsewhere(name: object, sweep: SweepFolder) -> None:
    store.append_line(sweep.path / "decisions.jsonl", {"dropped": [name], "reason": "others were better"})
    with pytest.raises(CorruptError):
        driver._finish(sweep)
    with pytest.raises(CorruptError):
        sweep.run(name)  # type: ignore[arg-type]
    assert (sweep.path.parent / "x" / "checkpoints").is_dir()


def test_a_sweep_removes_only_checkpoints_of_its_trials(sweep: SweepFolder) -> None:
    (sweep.path / "trials" / "other" / "checkpoints").mkdir(parents=True)
    (sweep.path / "trials" / "linked").symlink_to(sweep.path.parent / "x")
    store.append_line(sweep.path / "decisions.jsonl", {"dropped": ["other", "a"], "reason": "others were better"})
    driver._finish(sweep)
    assert not (sweep.path / "trials" / "a" / "checkpoints").exists()
    assert (sweep.path / "trials" / "other" / "checkpoints").is_dir()
    with pytest.raises(CorruptError, match="link"):
        sweep.run("linked")


@pytest.mark.parametrize(
    "request_",
    [[], {}, {"trials": 3}, {"trials": [3]}, {"trials": [{"name": "../x", "group": "a", "recipe": {}}]},
     {"trials": [{"name": "a"}]}, {"trials": [{"name": "a", "group": "a", "recipe": []}]},
     {"search": None}, {"validation": 3}, {"images": "20"}],
)  # fmt: skip
def test_a_tampered_sweep_is_one_clear_error(request_: Any, sweep: SweepFolder) -> None:
    (sweep.path / "sweep.json").write_text(
        json.dumps({**REQUEST, **request_} if isinstance(request_, dict) else request_)
    )
    with pytest.raises(CorruptError):
        SweepFolder(sweep.path).trials()
    (sweep.path / "asked.jsonl").write_text("")
    with pytest.raises(HousetrainError):
        driver.leaderboard(sweep.path)
    shutil.rmtree(sweep.path)
