"""The process that names images: an image that kills it costs that image; a model that does not load is told."""

from __future__ import annotations

import base64
import sys
import textwrap
from pathlib import Path

import pytest

from housetrain.errors import ModelError
from housetrain.studio import desk

FAKE = """
    import json, os, sys, time
    if len(sys.argv) > 1 and "broken" in sys.argv[1]:
        print(json.dumps({"error": "The model is refused."}), flush=True); raise SystemExit
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        [path] = json.loads(line)["paths"]
        if "bomb" in path: os._exit(9)
        if "slow" in path: time.sleep(60)
        print(json.dumps({"predictions": [{"source": path, "label": "cat", "error": None}]}), flush=True)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process that answers as the real one does, without a model."""
    script = tmp_path / "fake.py"
    script.write_text(textwrap.dedent(FAKE))
    real = desk.subprocess.Popen

    def start(words: list[str], **options: object) -> object:
        return real([sys.executable, str(script), *words[3:]], **options)

    monkeypatch.setattr(desk.subprocess, "Popen", start)
    return tmp_path


def test_a_image_that_kills_or_hangs_costs_that_image(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_ANSWERS_S", 1.0)
    clerk = desk.Desk(fake / "run", work=fake)
    try:
        answers = clerk.predict([Path(name) for name in ("a.jpg", "bomb.jpg", "b.jpg", "slow.jpg", "c.jpg")])
    finally:
        clerk.close()
    assert [answer["label"] for answer in answers] == ["cat", None, "cat", None, "cat"]
    assert answers[1]["error"] == "decoder crashed" and "took over 1 s" in answers[3]["error"]


def test_a_model_that_is_refused_is_told_in_its_own_words(fake: Path) -> None:
    clerk = desk.Desk(fake / "broken", work=fake)
    with pytest.raises(ModelError, match="The model is refused"):
        clerk.predict([Path("a.jpg")])


def test_one_model_is_kept_at_a_time(fake: Path) -> None:
    first = desk.desk_of(fake / "run", stamp="1", work=fake)
    assert desk.desk_of(fake / "run", stamp="1", work=fake) is first
    second = desk.desk_of(fake / "run", stamp="2", work=fake)
    try:
        assert second is not first and not first.ready and first._process is None
    finally:
        desk.close_all()


def test_thumbnails_are_images() -> None:
    from housetrain.studio.widgets import as_address, plain, readable

    assert base64.b64decode(as_address(b"abc").split(",")[1]) == b"abc"
    assert plain("a_b*c [x](y) <b>") == r"a\_b\*c \[x\]\(y\) \<b\>"
    assert readable("cat\udcff\n.jpg") == "cat?\\n.jpg"
