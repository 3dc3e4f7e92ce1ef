"""The page's predictions: an image that kills the process costs that image; a model that does not load says why."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_predictions import FakePredictions
from trained_models import Trained

from housetrain.errors import ModelError
from housetrain.studio import desk
from housetrain.studio.settings import PASSWORD
from housetrain.system.process_pool import Limits


@pytest.fixture
def without_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "Predictions", FakePredictions)


@pytest.mark.usefixtures("without_model")
def test_an_image_that_kills_or_hangs_costs_that_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    one = desk.Desk(tmp_path / "run", work=tmp_path, limits=Limits(timeout_s=1.0))
    try:
        found = one.predict([Path(name) for name in ("a.jpg", "bomb.jpg", "b.jpg", "slow.jpg", "c.jpg")])
        assert one.ready
    finally:
        one.close()
    assert [prediction["label"] for prediction in found] == ["cat", None, "cat", None, "cat"]
    assert found[1]["error"] == "process ended with exit code 3" and found[3]["error"] == "took over 1 s"


@pytest.mark.usefixtures("without_model")
def test_a_model_that_is_refused_says_why_each_time(tmp_path: Path) -> None:
    one = desk.Desk(tmp_path / "broken", work=tmp_path)
    try:
        for _ in range(2):
            with pytest.raises(ModelError, match=r"^The model is refused\. Do: export it again\.$"):
                one.predict([Path("a.jpg")])
    finally:
        one.close()


@pytest.mark.usefixtures("without_model")
def test_one_model_is_kept_at_a_time(tmp_path: Path) -> None:
    first = desk.desk_of(tmp_path / "run", stamp="1", work=tmp_path)
    try:
        assert desk.desk_of(tmp_path / "run", stamp="1", work=tmp_path) is first
        first.predict([Path("a.jpg")])
        second = desk.desk_of(tmp_path / "run", stamp="2", work=tmp_path)
        assert second is not first and not first.ready
    finally:
        desk.close_all()


@pytest.mark.usefixtures("without_model")
def test_closing_ends_a_prediction_that_waits(tmp_path: Path) -> None:
    one = desk.Desk(tmp_path / "run", work=tmp_path)
    one.predict([Path("a.jpg")])
    raised: list[Exception] = []

    def wait() -> None:
        try:
            one.predict([Path("slow.jpg")])
        except ModelError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    one.close()
    thread.join(5)
    assert not thread.is_alive() and "was replaced" in str(raised[0])


def test_a_real_model_predicts_with_a_thumbnail_and_names_a_bad_image(
    bundle: Path, digits: Trained, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"<html>")
    good = sorted((digits.images / "3").iterdir())[0]
    one = desk.Desk(bundle, work=tmp_path)
    try:
        first, second = one.predict([good, Path("bad.png")], thumbnail=32)
    finally:
        one.close()
    assert first["label"] in digits.prepared.classes and first["error"] is None and first["image"] == str(good)
    assert max(cv2.imdecode(np.frombuffer(base64.b64decode(first["thumbnail"]), np.uint8), 1).shape) <= 32
    assert second["label"] is None and second["error"] == "not an image (HTML)"
