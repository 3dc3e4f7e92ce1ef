"""The seconds below "Starting TensorFlow ...": on a terminal only, gone at the end, and silent after Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

SLOW = """
import time
from housetrain.cli import ticking, waiting
from housetrain.cli.progress_bar import ProgressBar
from housetrain.training import interrupt
bar = ProgressBar()
with interrupt.answered():
    bar.note("Starting TensorFlow ...")
    try:
        time.sleep({seconds})
    except KeyboardInterrupt:  # as the command line does
        interrupt.received()
        interrupt.exit_now(130)
    bar.note("Training")
"""


def shown(command: list[str], *, term: str = "xterm", stop_after: float = 0.0) -> tuple[str, float, int]:
    """Return what a command shows on a terminal, how long its answer to Ctrl-C takes, and its exit code."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term}
    process = subprocess.Popen(command, stderr=theirs, stdout=theirs, env=environment, start_new_session=True)
    os.close(theirs)
    text, sent, took, began = "", 0.0, -1.0, time.monotonic()
    while True:
        if stop_after and not sent and "Starting" in text and time.monotonic() - began > stop_after:
            process.send_signal(signal.SIGINT)
            sent = time.monotonic()
        if not select.select([ours], [], [], 0.01)[0]:
            continue
        try:
            part = os.read(ours, 4096).decode()
        except OSError:
            break
        if not part:
            break
        text += part
        if sent and took < 0 and "Stopping" in text:
            took = time.monotonic() - sent
        if "Starting" not in text:
            began = time.monotonic()
    os.close(ours)
    return text, took, process.wait()


def lines_left(text: str) -> list[str]:
    """Return the lines that a terminal shows in the end."""
    return [re.split(r"\r\x1b\[K", line)[-1].strip("\r") for line in text.split("\n")]


def test_the_seconds_move_on_a_terminal_and_are_gone_at_the_end() -> None:
    text, _, code = shown([sys.executable, "-c", SLOW.format(seconds=2.2)])
    assert code == 0
    ticks = re.findall(r"\x1b\[K([|/\\-]) (\d) s", text)
    assert len({shape for shape, _ in ticks}) == 4 and {second for _, second in ticks} >= {"1", "2"}
    assert lines_left(text) == ["Starting TensorFlow ...", "Training", ""]


@pytest.mark.parametrize("to", ["pipe", "dumb"])
def test_a_log_and_a_plain_terminal_get_the_line_alone(to: str) -> None:
    command = [sys.executable, "-c", SLOW.format(seconds=1)]
    if to == "pipe":
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    else:
        text = shown(command, term="dumb")[0].replace("\r\n", "\n")
    assert text == "Starting TensorFlow ...\nTraining\n"


def test_after_ctrl_c_the_answer_is_the_last_line() -> None:
    text, took, code = shown([sys.executable, "-c", SLOW.format(seconds=9)], stop_after=1.2)
    assert code == 130 and 0 <= took < 1.5, "0.2 s on a machine with nothing else to do"
    after = text.partition("Stopping")[2]
    assert not re.search(r"[|/\\-] \d s", after) and "Stopping" in lines_left(text)[1]
