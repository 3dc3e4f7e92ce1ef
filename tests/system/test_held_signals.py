"""Signals that come during the call of a library are delivered after it."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from housetrain.system.held_signals import signals_held


def test_an_interrupt_waits_for_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_counts_more_than_the_error_that_a_library_makes_of_it() -> None:
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("the conversion has failed")


def test_without_a_signal_nothing_changes() -> None:
    with pytest.raises(RuntimeError, match="other"), signals_held():
        raise RuntimeError("other")
    with signals_held():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_of_the_caller_gets_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, record)
    try:
        with signals_held():
            signal.raise_signal(signal.SIGTERM)
            assert received == []
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_is_left_alone() -> None:
    failed = []

    def work() -> None:
        try:
            with signals_held():
                pass
        except ValueError as error:  # signal only works in main thread
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
