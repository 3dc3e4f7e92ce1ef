"""Signals: answered at once, taken between two steps; a second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from housetrain.training.interrupt import Interrupted, Signals

BUSY = """
import hashlib, sys
from housetrain.training import interrupt
with interrupt.answered(), interrupt.Signals() as signals:
    signals.check()
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes in C: no Python handler runs
"""

ENDS = """
import time
from housetrain.training import interrupt
try:
    with interrupt.answered(), interrupt.Signals():
        print("busy", flush=True)
        time.sleep(600)
except KeyboardInterrupt as stopped:
    interrupt.exit_now(128 + interrupt.number_of(stopped))
raise SystemExit("not interrupted")
"""


LATER = """
import os, pathlib, signal, sys, time
from housetrain.training import interrupt
interrupt._STILL_S = 0.5
try:
    with interrupt.answered():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
except KeyboardInterrupt:
    pass
time.sleep(0.2)  # the thread closes its files
files = [open(pathlib.Path(sys.argv[1], f"{number}.jpg"), "wb") for number in range(9)]
time.sleep(1)
"""


def started(script: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "busy\n"
    return child


def test_a_signal_is_answered_while_a_library_computes_and_a_second_one_ends_the_process() -> None:
    with started(BUSY) as child:
        assert child.stderr is not None
        child.send_signal(signal.SIGINT)
        assert child.stderr.readline().startswith("Stopping after this step ...")
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
        assert child.stderr.read().endswith("Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_the_first_step_a_signal_acts_at_once(number: signal.Signals) -> None:
    with started(ENDS) as child:
        child.send_signal(number)
        assert child.wait(60) == 128 + number
        assert child.stderr is not None
        assert child.stderr.readline().startswith("Stopping ...")


def test_between_two_steps_a_signal_waits_for_the_check() -> None:
    with pytest.raises(Interrupted), Signals() as signals:
        signals.check()
        os.kill(os.getpid(), signal.SIGTERM)
        waited = True
        signals.check()
    assert waited


def test_a_signal_after_the_last_check_is_not_lost() -> None:
    with pytest.raises(Interrupted), Signals() as signals:
        signals.check()
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_import_is_not_cut_in_half_where_the_process_goes_on() -> None:
    whole = False
    with pytest.raises(Interrupted), Signals() as signals, signals.importing():
        os.kill(os.getpid(), signal.SIGTERM)
        whole = True
    assert whole


def test_no_later_word_reaches_a_file_that_has_the_number_of_the_closed_terminal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LATER, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Stopping" in done.stderr
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b""] * 9
