"""A table of very many predictions: whole after any kill, no row twice, none missing, flat memory."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image  # noqa: TID253

from housetrain.errors import FolderError, RunLocked, StoreError
from housetrain.images.input_spec import InputSpec
from housetrain.inference.batch_predict import predict_into
from housetrain.inference.inputs import Listing
from housetrain.inference.predictor import Prediction, Predictor
from housetrain.system.events import Callback, Stage, State

CLASSES = ("ant", "bee", "cow")


class Fake(Predictor):
    """Names images by their path, without reading them; stops, if asked to, like a person pressing Ctrl-C."""

    def __init__(self, *, stop_at: int | None = None, weights: str = "w") -> None:
        super().__init__(None, InputSpec(), classes=CLASSES, about={"model_sha256": weights})  # type: ignore[arg-type]
        self.stop_at, self.asked = stop_at, 0

    def predict_many(self, images: Any, **options: Any) -> Iterator[Prediction]:
        for source in images:
            if self.asked == self.stop_at:
                raise KeyboardInterrupt
            self.asked += 1
            if "broken" in str(source):
                yield Prediction.failed(str(source), "truncated")
                continue
            first = len(str(source)) % 3
            top = tuple((CLASSES[(first + place) % 3], (0.7, 0.2, 0.1)[place]) for place in range(options["top"]))
            yield Prediction(str(source), top[0][0], 0.7, top, 0.5, None, unsure=first == 0)


NAMES = ["a.jpg", 'with "quotes", commas.jpg', "two\nlines.jpg", "broken.jpg", "ümlaut.jpg", "lone\udcff.jpg", "z.jpg"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_table_holds_every_image_in_order(tmp_path: Path) -> None:
    result = predict_into(tmp_path / "out.csv", Fake(), NAMES, top=2)
    assert (result.rows, result.kept, result.failed) == (7, 0, 1)
    table = rows(tmp_path / "out.csv")
    assert [row["image"] for row in table] == NAMES
    assert table[3]["error"] == "truncated" and table[3]["label"] == table[3]["probability"] == table[3]["unsure"] == ""
    assert table[0] == {
        "image": "a.jpg", "label": "cow", "probability": "0.700000", "margin": "0.500000", "unsure": "no",
        "novel": "", "seen_in_training": "", "error": "", "RelativePath": "", "File": "a.jpg", "label_2": "ant",
        "probability_2": "0.200000",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    predict_into(tmp_path / "out.jsonl", Fake(), NAMES, kind="jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [line["image"] for line in lines] == NAMES and lines[3]["error"] == "truncated"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_cut_anywhere_and_called_again_it_is_the_same_table(tmp_path: Path, kind: Any) -> None:
    """Whatever a kill left of the file, the next call makes it what it would have been."""
    whole = tmp_path / "whole"
    predict_into(whole, Fake(), NAMES, kind=kind, top=2)
    data = whole.read_bytes()
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_into(path, Fake(stop_at=3), NAMES, kind=kind, top=2)
    marker = (tmp_path / "out.unfinished").read_bytes()
    assert data.startswith(path.read_bytes()) and path.stat().st_size > 0
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        (tmp_path / "out.unfinished").write_bytes(marker)
        again = Fake()
        result = predict_into(path, again, NAMES, kind=kind, top=2)
        assert path.read_bytes() == data
        assert result.rows == 7 and result.kept + again.asked == 7, "nothing is named twice"
        assert not (tmp_path / "out.unfinished").exists()


def test_a_finished_table_is_made_anew(tmp_path: Path) -> None:
    predict_into(tmp_path / "out.csv", Fake(), NAMES)
    result = predict_into(tmp_path / "out.csv", Fake(), NAMES[:2])
    assert result.rows == 2 and len(rows(tmp_path / "out.csv")) == 2


def test_another_model_does_not_go_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_into(path, Fake(stop_at=2), NAMES)
    before = path.read_bytes()
    for other in ({"predictor": Fake(weights="v")}, {"predictor": Fake(), "top": 2}):
        with pytest.raises(StoreError, match=r"another model or other options.*remove out\.csv\.unfinished"):
            predict_into(path, images=NAMES, **other)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert predict_into(path, Fake(), NAMES).kept == 2


def test_a_table_among_the_images_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "z.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert predict_into(Path("names.csv"), Fake(), Listing([tmp_path])).rows == 2
    with pytest.raises(StoreError, match="folder"):
        predict_into(tmp_path, Fake(), NAMES)


def test_two_at_once_do_not_mix_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def second(_: Prediction) -> None:
        with pytest.raises(RunLocked):
            predict_into(path, Fake(), NAMES)

    predict_into(path, Fake(), NAMES, each=second)
    assert len(rows(path)) == 7


class Log(Callback):
    """What a callback hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def begin(self, stage: Stage, **facts: Any) -> None:
        self.heard.append(("begin", stage, facts["total"]))

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        self.heard.append(("progress", stage, done, total))

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        self.heard.append(("end", stage, state))


def test_callbacks_follow_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("housetrain.inference.batch_predict._FLUSH_S", -1.0)  # every row
    log, counted, stopped = Log(), Log(), Log()
    predict_into(tmp_path / "a.csv", Fake(), NAMES, callbacks=[log])
    assert log.heard[0] == ("begin", "predict", 7) and log.heard[-1] == ("end", "predict", "complete")
    assert log.heard[1:-1] == [("progress", "predict", done, 7) for done in range(1, 8)]
    predict_into(tmp_path / "b.csv", Fake(), iter(NAMES), callbacks=[counted])
    assert counted.heard[-2] == ("progress", "predict", 7, 0)  # an iterator cannot be counted first
    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "c.csv", Fake(stop_at=3), NAMES, callbacks=[stopped])
    assert stopped.heard[-1] == ("end", "predict", "stopped")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_it_works_and_leaves_no_note(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    test_two_at_once_do_not_mix_their_rows(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def peak_of_a_resumed_table(path: Path) -> None:
    """Write to the output the peak, in bytes, of 100,000 rows of which an interrupted call wrote half."""
    names = [f"folder/{number:06d}.jpg" for number in range(100_000)]
    with pytest.raises(KeyboardInterrupt):
        predict_into(path, Fake(stop_at=50_000), names)
    tracemalloc.start()
    again = Fake()
    result = predict_into(path, again, iter(names))
    assert result.rows == 100_000 and result.kept == again.asked == 50_000
    sys.stdout.write(str(tracemalloc.get_traced_memory()[1]))


def test_memory_is_flat(tmp_path: Path) -> None:
    """100,000 rows, interrupted half-way, take a few bytes each at most. In a process where nothing else allocates."""
    code = (
        "import pathlib, runpy, sys; runpy.run_path(sys.argv[1])['peak_of_a_resumed_table'](pathlib.Path(sys.argv[2]))"
    )
    call = [sys.executable, "-c", code, __file__, str(tmp_path / "out.csv")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8_000_000


def test_a_listing_finds_images_as_it_goes(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a/1.jpg", "a/Thumbs.db", ".hidden/3.jpg", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / name for name in ("c.jpg", "a/1.jpg", "b/2.jpg")]
    assert list(Listing([tmp_path])) == expected
    assert list(Listing([tmp_path / "c.jpg", tmp_path, tmp_path / "*.jpg"])) == expected
    assert Listing([tmp_path]).at_least(3) and not Listing([tmp_path]).at_least(4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="holds no images"):
        Listing([tmp_path, tmp_path / "empty"])


# ------------------------------------------------------------------------------------------------- the real thing
@pytest.fixture
def many(tmp_path: Path) -> Path:
    """3,000 small images; every hundredth is none."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "many"
    for number in range(3000):
        path = folder / f"{number % 7}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 100 == 7:
            path.write_bytes(b"not an image")
        else:
            Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return folder


def command(bundle: Path, folder: Path, *more: str) -> list[str]:
    code = "from housetrain.cli import main; main()"
    return [sys.executable, "-c", code, "predict", str(bundle), str(folder), *more]


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_kill_9_again_and_again_loses_and_repeats_nothing(
    bundle: Path, many: Path, tmp_path: Path, option: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    done = subprocess.run(
        command(bundle, many, option, str(whole), "--batch-size", "8"), capture_output=True, text=True
    )
    assert done.returncode == 1, "some could not be read"
    assert "3,000 images in" in done.stdout and "30 could not be read" in done.stdout
    chance, kills, sizes = random.Random(0), 0, []
    for _ in range(12):
        words = command(bundle, many, option, str(out), "--batch-size", "1", "--workers", "1")
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = out.stat().st_size if out.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if out.exists() and out.stat().st_size > before:
                time.sleep(chance.uniform(0, 0.1))
                break
            time.sleep(0.005)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        sizes.append(out.stat().st_size)
        if kills == 3:
            subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
            break
    assert kills >= 1 and sizes[0] < whole.stat().st_size, "the kill came in the middle of the work"
    assert not Path(f"{out}.unfinished").exists()
    named = named_in(out, option)
    assert len(named) == len(set(named)) == 3000 and named == named_in(whole, option)


def named_in(path: Path, option: str) -> list[str]:
    if option == "--csv":
        return [row["image"] for row in rows(path)]
    return [json.loads(line)["image"] for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_labels_are_counted_those_of_an_earlier_call_too(tmp_path: Path, kind: Any) -> None:
    whole = predict_into(tmp_path / "whole", Fake(), NAMES, kind=kind)
    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "cut", Fake(stop_at=4), NAMES, kind=kind)
    resumed = predict_into(tmp_path / "cut", Fake(), NAMES, kind=kind)
    assert resumed.kept == 4
    assert (resumed.counts, resumed.unsure) == (whole.counts, whole.unsure)
    assert sum(whole.counts.values()) == 6
    assert f"{whole.unsure} of them unsure" in whole.summary()


def test_the_columns_of_timelapse_are_relative_to_the_folder_given(tmp_path: Path) -> None:
    for name in ("site 1/day 2/1.jpg", "site 1/2.jpg", "3.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    for given in (tmp_path / "in", tmp_path / "in" / "**"):
        predict_into(tmp_path / "out.csv", Fake(), Listing([given]))
        found = {(row["RelativePath"], row["File"]) for row in rows(tmp_path / "out.csv")}
        assert found == {("site 1\\day 2", "1.jpg"), ("site 1", "2.jpg"), ("", "3.jpg")}


def test_a_vote_is_resumed_with_the_same_result(tmp_path: Path) -> None:
    class All(Fake):
        def predict_many(self, images: Any, **options: Any) -> Iterator[Prediction]:
            assert options["top"] is None
            return super().predict_many(images, top=3)

    predict_into(tmp_path / "whole.csv", All(), NAMES, vote_by="parent")
    whole = (tmp_path / "whole.csv").read_bytes()
    assert b"sequence,own_label" in whole.splitlines()[0]
    cut = tmp_path / "cut.csv"
    with pytest.raises(ZeroDivisionError):
        predict_into(cut, All(), NAMES, vote_by="parent", each=lambda one: 1 // (one.image != "ümlaut.jpg"))
    predict_into(cut, All(), NAMES, vote_by="parent")
    assert cut.read_bytes() == whole
