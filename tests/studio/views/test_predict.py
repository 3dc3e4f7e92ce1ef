"""The Predict page: it opens nothing outside the data root, and explains a prediction on request."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from studio.conftest import Page, texts

from housetrain.studio import jobs
from housetrain.training.run import Run


def test_an_uploaded_photo_is_for_its_user_only(tmp_path: Path) -> None:
    from housetrain.studio.views import predict

    before = os.umask(0)
    try:
        path = predict._placed(tmp_path, "../photo.JPG", b"pixels")
    finally:
        os.umask(before)
    assert path.parent == tmp_path and path.suffix == ".jpg" and path.read_bytes() == b"pixels"
    assert path.stat().st_mode & 0o777 == 0o600


def test_predict_refuses_paths_outside(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.studio.views import predict

    monkeypatch.setattr(predict, "_desk", lambda run: None)
    test = page("predict", state={"from": "path"})
    assert not test.exception
    test.text_input[0].set_value("/etc/passwd").run()
    assert len(test.error) == 1 and "The studio may not open" in test.error[0].value


def test_predict_shows_where_the_model_looked(page: Page, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from housetrain.studio.views import predict

    photo = next((Path.cwd() / "pets" / "cats").iterdir())
    answer = {"source": str(photo), "label": "cats", "probability": 0.9, "margin": 0.8, "seen": "train", "error": None}
    answer |= {
        "top": [{"label": "cats", "probability": 0.9}],
        "thumbnail": base64.b64encode(photo.read_bytes()).decode(),
        "name": photo.name,
        "kept": str(photo),
    }
    monkeypatch.setattr(predict, "_desk", lambda run: None)
    monkeypatch.setattr(predict, "_ask", lambda: [(photo.name, photo)])
    monkeypatch.setattr(predict, "_predict", lambda run, clerk, photos: [answer])
    begun: list[list[str]] = []

    def start(folder: Path, words: list[object], **options: object) -> None:
        begun.append(list(map(str, words)))

    monkeypatch.setattr(jobs, "start", start)
    test = page("predict")
    assert not test.exception
    assert "in the training split" in texts(test)
    [button] = [one for one in test.button if one.label == "Explain"]
    button.click().run()
    assert begun[0][:4] == ["explain", str(finished.folder), str(photo), "--layers"]
