from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import pytest
from events_of import Listener

from housetrain.system.events import Callback, Callbacks, SafeCallback, Stage, State


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def begin(self, stage: Stage, **facts: Any) -> None:
        self.calls.append(("begin", stage, facts))

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        self.calls.append(("progress", stage, done, total))

    def epoch(self, row: Mapping[str, Any], **facts: Any) -> None:
        self.calls.append(("epoch", dict(row)))

    def note(self, text: str) -> None:
        self.calls.append(("note", text))

    def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
        self.calls.append(("end", stage, state))


class Broken(Callback):
    def __init__(self) -> None:
        self.called = 0

    def progress(self, stage: Stage, done: int, total: int, **facts: Any) -> None:
        self.called += 1
        raise ValueError("no disk")


def test_every_callback_hears_every_event_in_order() -> None:
    first, second = Recorder(), Recorder()
    told = Callbacks([first, second])
    told.begin("train", total=2, name="a run")
    told.progress("train", 1, 2, loss=0.5)
    told.epoch({"epoch": 1})
    told.note("a line")
    told.end("train", "stopped")
    assert first.calls == second.calls
    assert [call[0] for call in first.calls] == ["begin", "progress", "epoch", "note", "end"]
    assert first.calls[0] == ("begin", "train", {"total": 2, "name": "a run"})
    assert first.calls[-1] == ("end", "train", "stopped")


def test_a_broken_callback_is_reported_once_and_never_called_again() -> None:
    broken, recorder = Broken(), Recorder()
    told = Callbacks([broken, recorder])
    for done in range(3):
        told.progress("scan", done, 3)
    assert broken.called == 1
    notes = [call[1] for call in recorder.calls if call[0] == "note"]
    assert notes == ["Broken stopped, the work continues: ValueError: no disk"]
    assert sum(call[0] == "progress" for call in recorder.calls) == 3


def test_all_callbacks_may_be_broken() -> None:
    class Silent(Callback):
        def note(self, text: str) -> None:
            raise RuntimeError("deaf")

    told = Callbacks([SafeCallback(Broken()), Silent()])
    told.progress("scan", 1, 3)
    told.note("nobody listens")
    told.end("scan")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [(None, "complete", None), (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"), (OSError("no"), "failed", "no")],
)
def test_a_stage_ends_however_its_work_ends(error: BaseException | None, state: str, reason: str | None) -> None:
    ends: list[tuple[str, dict[str, Any]]] = []

    class Ends(Callback):
        def end(self, stage: Stage, state: State = "complete", **facts: Any) -> None:
            ends.append((state, facts))

    with contextlib.suppress(KeyboardInterrupt, OSError), Callbacks([Ends()]).stage("scan") as facts:
        facts["images"] = 3
        if error is not None:
            raise error
    assert ends == [(state, {"images": 3} | ({"reason": reason} if reason else {}))]


def test_many_short_items_are_reported_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(number * 0.01 for number in range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    seen: list[int] = []
    events = Callbacks([Listener(lambda event: seen.append(event["done"]))])
    for done in range(100):
        events.count("scan", done, 99)
    assert seen[0] == 0 and seen[-1] == 99 and 8 <= len(seen) <= 13
