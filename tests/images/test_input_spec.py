"""The input spec as a value: it travels as JSON and refuses nonsense."""

from __future__ import annotations

import pytest

from housetrain.errors import DataError
from housetrain.images.input_spec import InputSpec, white_of


def test_the_input_spec_travels_and_refuses_nonsense() -> None:
    spec = InputSpec(7, 9, "rgb", "pad", (1, 2, 3), 4095)
    assert InputSpec.from_json(spec.to_json()) == spec and spec.shape == (7, 9, 3) and InputSpec().channels == 1
    with pytest.raises(DataError) as caught:
        InputSpec(0, 5000, "gray", "squash", (1, 2), 4096)  # type: ignore[arg-type]
    for name in ("height=0", "width=5000", "color_mode='gray'", "resize='squash'", "background=(1, 2)", "white=4096"):
        assert name in str(caught.value)
    for wrong in ({"height": 5}, {**spec.to_json(), "extra": 1}, {**spec.to_json(), "height": True}):
        with pytest.raises(DataError):
            InputSpec.from_json(wrong)


def test_a_spec_without_white_is_that_of_all_16_bits() -> None:
    plain = InputSpec().to_json()
    assert "white" not in plain and InputSpec.from_json(plain) == InputSpec.from_json({**plain, "white": 65535})


def test_the_largest_value_decides_what_is_white() -> None:
    values = {0: 65535, 1: 255, 255: 255, 256: 511, 1023: 1023, 2500: 4095, 4095: 4095, 4096: 8191, 16383: 16383}
    assert {peak: white_of(peak) for peak in values} == values
    assert white_of(16384) == white_of(65535) == 65535
