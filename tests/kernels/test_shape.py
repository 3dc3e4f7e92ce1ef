"""For which processors and shapes there are kernels."""

from __future__ import annotations

import pytest

from housetrain.kernels import Shape, shape


@pytest.mark.parametrize(
    ("flags", "float32", "bfloat16"),
    [
        ({"sse4_2"}, False, False),
        ({"avx2", "fma"}, True, False),
        ({"avx2", "fma", "avx512_bf16"} | shape.WIDE, True, True),
        ({"avx2", "fma", "avx512_bf16", "amx_bf16"} | shape.WIDE, True, False),
    ],
    ids=["old", "avx2", "avx512-bf16", "amx"],
)
def test_which_processors_gain(flags: set[str], float32: bool, bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(shape.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shape.importlib.util, "find_spec", lambda name: object())
    assert (shape.available("float32"), shape.available("bfloat16")) == (float32, bfloat16)
    monkeypatch.setattr(shape.importlib.util, "find_spec", lambda name: None)
    assert not shape.available("float32")
    monkeypatch.setattr(shape.platform, "machine", lambda: "arm64")
    assert not shape.available("float32")


def test_which_shapes_have_a_kernel() -> None:
    assert Shape(10, 10, 1, 32).fits and Shape(10, 10, 3, 64).fits and Shape(10, 10, 96, 32).fits
    assert not Shape(10, 10, 2, 32).fits and not Shape(10, 10, 32, 20).fits
    assert Shape(4, 4, 32, 32).fits and not Shape(3, 9, 32, 32).fits, "nothing is left after the pool"
    assert Shape(3, 9, 32, 32, padding=1).pooled == (1, 4)
