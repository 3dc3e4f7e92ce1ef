from __future__ import annotations

import pytest

from housetrain.system.durations import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0.4, "0.4 s"), (9.949, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (75, "1 min 15 s"), (3599.7, "1 h 00 min"), (3900, "1 h 05 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text
