"""An explanation is written as images, a page, and a section of the report."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

import housetrain as ht
from housetrain.errors import DecodeError, ModelError
from housetrain.report.explain import explain


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_a_run_is_explained_and_its_report_shows_it(model: str, tmp_path: Path) -> None:
    images = ht.sample("digits", tmp_path / "digits")
    prepared = ht.prepare(images, tmp_path / "prepared", image_size=16, color_mode="grayscale")
    options = {"conv": 2, "nodes": 8} if model == "cnn" else {}
    run = ht.train(prepared, ht.Recipe.of(model, epochs=1, **options), tmp_path / "run")
    photo = sorted(images.rglob("*.png"))[0]
    ht.write_report(run)
    assert 'id="explain"' not in (run.folder / "report.html").read_text()
    made = explain(run, [photo])
    (one,) = made.images
    folder = made.folder / one.folder
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    if model == "cnn":
        layers = ["layers/01-conv_1.png", "layers/02-pool_1.png", "layers/03-conv_2.png", "layers/04-pool_2.png"]
        assert names == {"image.png", "grad-cam.png", "occlusion.png", *layers}
        assert (made.folder / "filters.png").is_file()
    else:
        assert names == {"image.png", "occlusion.png"} and "no convolution" in made.lines()[-1]
    for path in folder.rglob("*.png"):
        assert cv2.imread(str(path)).size > 0
    report = (run.folder / "report.html").read_text()
    assert 'id="explain"' in report and report.count("data:image/png") >= len(names)
    page = made.page.read_text()
    assert "http" not in page.replace("http-equiv", "") and photo.name in page
    assert json.loads(json.dumps(made.to_json()))["images"][0]["label"] == one.label
    elsewhere = explain(run, [photo], tmp_path / "elsewhere", name="7")
    assert elsewhere.images[0].name == "7" and elsewhere.page.is_file()
    with pytest.raises(ModelError, match="no such class"):
        explain(run, [photo], name="cow")
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(DecodeError):
        explain(run, [tmp_path / "bad.png"])
