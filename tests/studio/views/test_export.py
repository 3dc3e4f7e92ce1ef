"""The Export page: the bundle, and how the formats compare."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from studio.conftest import Page

from housetrain.studio import jobs
from housetrain.system import store
from housetrain.training.run import Run


def test_export_says_that_there_is_no_bundle(page: Page, finished: Run) -> None:
    test = page("export")
    assert not test.exception
    assert [button for button in test.button if button.label == "Export the bundle"]


def test_export_shows_every_form_of_the_bundle(page: Page, finished: Run) -> None:
    models = [
        {"format": "openvino", "file": "model.xml", "precision": "bf16", "tolerance": 0.03, "files": ["model.xml"]},
        {"format": "keras", "file": "model.keras", "precision": "fp32", "tolerance": 0.002, "files": ["model.keras"]},
    ]
    sha256 = store.file_sha256(finished.folder / "model.keras")
    about = {
        "layout_version": 3, "models": models, "parity": {"openvino": {"agreement": 1.0}},
        "run": {"model_sha256": sha256},
        "spec": finished.spec.to_json(), "metrics": {"test": None}, "keras": "3.15.1", "golden": "validation",
    }  # fmt: skip
    with store.commit_folder(finished.folder, "bundle") as inside:
        store.write_json_atomic(inside / "bundle.json", about)
    test = page("export")
    assert not test.exception
    assert "OpenVINO, Keras" in [metric.value for metric in test.metric]
    shown = test.dataframe[0].value
    assert list(shown["format"]) == ["openvino bf16", "keras fp32"] and list(shown["tolerance"]) == [
        "3e-02",
        "2e-03",
    ]


def test_a_download_holds_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    from housetrain.studio.views import export

    secret = tmp_path / "home" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text("secret")
    bundle = tmp_path / "run" / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "model.xml").write_text("<net/>")
    (bundle / "README.md").symlink_to(secret)
    (bundle / "saved_model").symlink_to(secret.parent)
    with zipfile.ZipFile(io.BytesIO(export._zipped(str(bundle), ""))) as archive:
        assert archive.namelist() == ["run-bundle/model.xml"]


@pytest.mark.parametrize("name", ["bundle", "exports/home"])
def test_a_bundle_that_is_a_link_is_not_offered(page: Page, finished: Run, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    models = [{"format": "keras", "file": "model.keras", "precision": "fp32", "tolerance": 0.002}]
    sha256 = store.file_sha256(finished.folder / "model.keras")
    about = {"models": models, "spec": finished.spec.to_json(), "run": {"model_sha256": sha256}}
    for folder in (elsewhere, finished.folder):
        with store.commit_folder(folder, "bundle") as inside:
            store.write_json_atomic(inside / "bundle.json", about)
    link = finished.folder / name
    if name == "bundle":
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere / "bundle")
    test = page("export")
    assert not test.exception
    assert [error for error in test.error if "leads out of its folder" in error.value]


def test_export_shows_how_a_format_compares_and_makes_another(
    page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from housetrain.inference import verify
    from housetrain.studio.views import export

    compared = {"precision": "int8", "images": 512, "kind": "validation", "difference": 0.012, "agreement": 0.998}
    about = {"parity": {"litert": {**compared, "accuracy": 0.75, "keras_accuracy": 0.76}}}
    folder = finished.folder / "exports" / "litert-int8"
    with store.commit_folder(folder.parent, folder.name) as inside:
        store.write_json_atomic(inside / verify.ABOUT, about)
        (inside / "model.tflite").write_bytes(b"x" * 12_300)
    kept = {"models": [{"format": "keras", "precision": "fp32", "tolerance": 0.002}], "spec": finished.spec.to_json()}
    with store.commit_folder(finished.folder, "bundle") as inside:
        store.write_json_atomic(inside / verify.ABOUT, kept)
    monkeypatch.setattr(export, "_is_of", lambda about, run: True)
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    test = page("export", state={"export-format": "litert"})
    assert not test.exception
    [row] = [table.value for table in test.dataframe if "of Keras" in table.value]
    assert row.iloc[0].to_dict() == {
        "format": "litert int8",
        "kB": 12.3,
        "largest difference": "0.012",
        "same prediction as Keras": "99.8 %",
        "accuracy": "75.0 %",
        "of Keras": "76.0 %",
        "compared on": "512 validation images",
    }
    [button] = [one for one in test.button if one.label == "Export litert fp32"]
    button.click().run()
    assert begun == [["export", str(finished.folder), "--format", "litert", "--precision", "fp32"]]
