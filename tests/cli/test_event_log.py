"""``--verbose`` and ``--log-file``: one line for each event, whatever happens to the command or to the file."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from events_of import BEGIN, RESULT, ROW, snapshot
from noise_folders import folder_of
from small_run import HOUSETRAIN, Housetrain, Tiny
from typer.main import get_command

from housetrain.cli import event_log, progress_bar
from housetrain.cli.app import app
from housetrain.errors import StoreError
from housetrain.system.events import Callbacks

Call = Callable[..., tuple[int, str, str]]
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d) (INFO   |WARNING|ERROR  ) (.+)")
EVENT = re.compile(r"command: |begin |note: |epoch |strength |trial |end |error: |warning: |exit \d+ after ")


def events_in(file: Path) -> list[str]:
    """Return the lines of a log without their times, each checked to be one event with a time."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = LINE.fullmatch(line)
        assert match and EVENT.match(match[3]), line
        found.append(match[3])
    return found


def logged(file: Path, work: Callable[[Callbacks], object]) -> list[str]:
    with event_log.logged(file, verbose=False):
        work(Callbacks(progress_bar.callbacks_for(quiet=True)))
    assert progress_bar.callbacks_for(quiet=True) == []
    return events_in(file)


# ------------------------------------------------------------------------------------------------- lines
def test_each_event_is_one_line(tmp_path: Path) -> None:
    def work(events: Callbacks) -> None:
        events.begin("train", **BEGIN, run="runs/tiny")
        events.progress("train", 20, 40, epoch=1, epochs=3)
        events.epoch(ROW, epochs=3, best=True)
        events.note("two\nlines")
        events.end("train", result={**RESULT, "overfitting": "Overfitting since epoch 2"}, run="runs/tiny")
        for done in (1, 1, 2):
            events.progress("sweep", done, 4, snapshot=snapshot(done))
        with events.stage("predict", total=0) as facts:
            facts.update(images=1200, failed=0, accuracy=1 / 3)

    _, *lines, last = logged(tmp_path / "log.txt", work)
    assert [re.sub(r"after \d\.\d s", "after 0.0 s", line) for line in lines] == [
        "begin train: Training tiny: 1,234 parameters, 1,280 images, 3 epochs of 40 steps, float32; "
        "Class weights: a 1.50, b 0.75; run runs/tiny",
        "epoch 2/3  loss 0.4000  accuracy 0.8000  val_loss 0.5000  val_accuracy 0.7000  "
        "1,000 images/s  2.0 s  best so far",
        "note: two\\nlines",
        "end train: complete after 0.0 s; Trained 3 epochs in 1 min 01 s (all epochs): best is epoch 2, "
        "val_loss 0.5000, val_accuracy 0.7000; Overfitting since epoch 2; run runs/tiny",
        "trial 1/4  trial-0  complete  val_loss 0.5000  1 min 30 s left",
        "trial 2/4  trial-1  complete  val_loss 0.4000  1 min 30 s left",
        "begin predict",
        "end predict: complete after 0.0 s; images 1,200, failed 0, accuracy 0.3333",
    ]
    assert last.startswith("exit 0 after ")


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (StoreError("The disk is full", do="free some space"), ["error: The disk is full. Do: free some space."], 2),
        (SystemExit(3), [], 3),
        (BrokenPipeError(), [], 0),
        (KeyboardInterrupt(), ["error: interrupted; rerun the same command to resume"], 130),
    ],
)
def test_how_a_command_ends_is_logged(error: BaseException, said: list[str], code: int, tmp_path: Path) -> None:
    def work(events: Callbacks) -> None:
        with events.stage("scan"):
            raise error

    with pytest.raises(type(error)):
        logged(tmp_path / "log.txt", work)
    _, begin, end, *lines, last = events_in(tmp_path / "log.txt")
    assert begin == "begin scan" and re.match("end scan: (failed|stopped) after", end)
    assert lines == said and last.startswith(f"exit {code} after ")


def test_an_error_of_the_program_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    def work(events: Callbacks) -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        logged(tmp_path / "log.txt", work)
    lines = events_in(tmp_path / "log.txt")
    assert any("test_event_log.py" in line for line in lines) and lines[-2] == "error: ZeroDivisionError: by zero"


def test_warnings_of_modules_are_in_the_log_and_stay_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("housetrain"), "propagate", False)  # pytest's own handlers are on the root
    log = logging.getLogger("housetrain.system.lock")
    lines = logged(tmp_path / "log.txt", lambda events: log.warning("%s: waiting", "runs/pets"))
    log.warning("after the command")
    assert lines[1] == "warning: runs/pets: waiting"
    assert capsys.readouterr().err.splitlines() == ["runs/pets: waiting", "after the command"]
    assert "after the command" not in (tmp_path / "log.txt").read_text()


# ------------------------------------------------------------------------------------------------- the command line
def test_every_verb_with_a_progress_bar_can_be_logged() -> None:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    options = {verb: {name for one in command.params for name in one.opts} for verb, command in commands.items()}
    silent = {verb for verb, names in options.items() if "--log-file" not in names}
    assert {"run", "train", "sweep", "prepare", "predict", "check"}.isdisjoint(silent)
    assert {verb for verb in silent if "--quiet" in options[verb]} == {"course"}  # prints its steps itself
    assert all("--verbose" in names for verb, names in options.items() if verb not in silent)


def test_a_command_appends_to_its_log_and_tells_nothing_else_when_quiet(call: Call, tmp_path: Path) -> None:
    images, log = folder_of(tmp_path / "images", cats=3, dogs=3), tmp_path / "log.txt"
    log.write_text("from another program\n")
    for _ in range(2):
        code, out, err = call("check", images, "--quiet", "--json", "--log-file", log)
        assert code == 1 and json.loads(out)["images"] == 6 and err == ""
    first, rest = log.read_text().split("\n", 1)
    log.write_text(rest)
    assert first == "from another program"
    lines = events_in(log)
    assert [line.split()[0] for line in lines] == ["command:", "begin", "end", "exit"] * 2
    assert f"housetrain check {images} --quiet --json --log-file {log}" in lines[0]
    assert lines[1] == "begin scan: total 6" and lines[3].startswith("exit 1 after ")


def test_verbose_shows_each_stage_with_the_time_on_standard_error(call: Call, tmp_path: Path) -> None:
    code, out, err = call("prepare", folder_of(tmp_path / "images", cats=8, dogs=8), "--verbose")
    assert code == 0 and "Arrays" in out
    lines = [re.fullmatch(r"\d\d:\d\d:\d\d (.+)", line) for line in err.splitlines()]
    assert all(lines), err
    kinds = [line[1].split(":")[0] for line in lines if line]
    assert kinds[:2] == ["begin scan", "end scan"] and "note" in kinds and "begin prepare" in kinds
    assert len(kinds) == len(set(kinds) - {"note"}) + kinds.count("note"), "no line is there twice"


def test_an_error_is_one_line_on_a_verbose_terminal(call: Call, tmp_path: Path) -> None:
    code, _, err = call("train", tmp_path / "missing", "--verbose", "--log-file", tmp_path / "log.txt")
    assert code == 2
    assert [line.split()[0] for line in err.splitlines() if "exit 2" not in line] == ["Error:"]
    assert events_in(tmp_path / "log.txt")[1].startswith("error: There are no prepared images in this folder.")


def test_predictions_have_their_counts_in_the_log(tiny: Tiny, housetrain: Housetrain, tmp_path: Path) -> None:
    broken = tmp_path / "broken\nname.png"
    broken.write_text("not an image")
    done = housetrain("predict", tiny.run, tiny.images / "cats", broken, "--log-file", tmp_path / "log.txt")
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 25
    _, begin, note, end, last = events_in(tmp_path / "log.txt")
    assert begin == "begin predict" and "broken\\nname.png could not be read" in note
    assert re.fullmatch(r"end predict: complete after .* s; images 24, failed 1", end) and last.startswith("exit 1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--log-file", "missing/log.txt"), "The log file cannot be written: No such file or directory"),
        (("--log-file", "."), "The log file cannot be written: Is a directory"),
        (("--log-file", "/dev/full"), "The log file cannot be written: No space left on device"),
        (("--log-file", "fifo"), "The log file cannot be written: No such device or address"),
        (("--log-file", "photo.png"), "The log file exists and is not a text file"),
        (("--log-file", "images/log.txt"), "into the folder of images, which is never changed"),
        (("--quiet", "--verbose"), "The options --quiet and --verbose contradict each other"),
    ],
)
def test_a_log_that_cannot_be_kept_is_an_error_before_the_work(
    options: tuple[str, ...], said: str, call: Call, tmp_path: Path
) -> None:
    images = folder_of(tmp_path / "work" / "images", cats=8, dogs=8)
    photo = Path("photo.png")
    photo.write_bytes(next(images.rglob("*.png")).read_bytes())
    os.mkfifo("fifo")
    before = (sorted(images.rglob("*")), photo.read_bytes())
    code, out, err = call("prepare", "images", *options)
    assert code == 2 and out == ""
    assert len(err.splitlines()) == 1 and err.startswith("Error: ") and said in err
    assert not Path("prepared").exists()
    assert (sorted(images.rglob("*")), photo.read_bytes()) == before


def test_a_training_ends_well_when_its_log_cannot_be_written_any_more(
    tiny: Tiny, housetrain: Housetrain, tmp_path: Path
) -> None:
    """The reader of a FIFO leaves after two lines: every further line fails."""
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)

    def leave_early() -> None:
        with fifo.open(encoding="utf-8") as file:
            read.extend([file.readline(), file.readline()])

    reader = threading.Thread(target=leave_early, daemon=True)
    reader.start()
    command = [*HOUSETRAIN, "train", tiny.prepared, "--model", "mlp", "--nodes", "4", "--epochs", "3"]
    for _ in range(100):  # until the reader waits: opening the FIFO without one is an error before the work
        done = subprocess.run(
            [*map(str, command), "--output", str(tmp_path / "run"), "--log-file", str(fifo)],
            capture_output=True,
            text=True,
        )
        if "No such device" not in done.stderr:
            break
        time.sleep(0.1)
    reader.join(30)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "result.json").is_file() and len(read) == 2
    assert done.stderr.count("The log file cannot be written, the work continues: Broken pipe") == 1


def test_sigterm_is_the_end_of_a_log(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    command = [*HOUSETRAIN, "train", tiny.prepared, "--model", "mlp", "--nodes", "4", "--epochs", "100000"]
    options = ["--output", tmp_path / "run", "--log-file", log, "--set", "patience=0", "--quiet"]
    with subprocess.Popen([*map(str, command), *map(str, options)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 100
        while not (log.exists() and "epoch 3/" in log.read_text()):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    *_, end, error, last = events_in(log)
    assert end.startswith("end train: stopped after") and "Rerun the same command to resume" in end
    assert error == "error: interrupted; rerun the same command to resume" and last.startswith("exit 143 after")


def test_without_the_options_nothing_of_a_log_is_imported() -> None:
    code = (
        "import sys; from housetrain import cli; sys.argv = ['housetrain', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print([one for one in sys.modules if one in ('logging', 'rich') or one.startswith('housetrain.cli.')])"
    )
    for words in (["--help"], ["check", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        loaded = done.stdout.splitlines()[-1]
        assert "housetrain.cli.app" in loaded and "housetrain.cli.log_options" in loaded
        for name in ("'logging'", "'rich'", "event_log", "log_handlers", "event_texts"):
            assert name not in loaded, loaded


def test_a_logged_verb_keeps_its_signature() -> None:
    from housetrain.cli.data import check

    names = list(inspect.signature(check).parameters)
    assert names[0] == "folder" and names[-2:] == ["verbose", "log_file"] and "train_dir" in names
