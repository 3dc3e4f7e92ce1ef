"""What `auto` precision means, by machine and by net."""

from __future__ import annotations

import pytest

from housetrain.models.recipe import Recipe
from housetrain.training import precision
from housetrain.training.precision import precision_of


@pytest.mark.parametrize(
    ("flags", "gpu", "expected"),
    [
        ({"avx2"}, None, "float32"),
        ({"avx512_bf16"}, None, "bfloat16"),
        ({"amx_bf16"}, None, "bfloat16"),
        ({"avx512_bf16"}, False, "float32"),
        ({"avx2"}, True, "bfloat16"),
    ],
)
def test_auto_follows_the_machine(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], gpu: bool | None, expected: str
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(precision, "_gpu_has_bfloat16", lambda: gpu)
    assert precision_of(Recipe.of("cnn")) == expected
    assert precision_of(Recipe.of("mlp")) == "float32"
    assert precision_of(Recipe.of("mlp", precision="bfloat16")) == "bfloat16"
    assert precision_of(Recipe.of("cnn", precision="float32")) == "float32"
