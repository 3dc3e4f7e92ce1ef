"""doctor: JSON, words, and what it recommends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from housetrain import diagnosis
from housetrain.kernels import shape
from housetrain.training import precision

Call = Callable[..., tuple[int, str, str]]


def test_doctor_prints_json_and_words(call: Call) -> None:
    code, out, _ = call("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["cores"] >= 1 and facts["backend"] == os.environ.get("KERAS_BACKEND", "tensorflow")
    assert "Keras backend" in call("doctor")[1]


@pytest.mark.parametrize(
    ("flags", "missed"),
    [
        ({"avx2", "fma"}, True),
        ({"avx2", "fma", "amx_bf16"}, False),  # a matrix unit does without
        ({"sse4_2"}, False),
    ],
)
def test_doctor_misses_llvm_where_it_would_help(
    flags: set[str], missed: bool, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (precision, shape):
        monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(shape.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(diagnosis, "gpus", tuple)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(diagnosis, "PACKAGES", tuple(name for name in diagnosis.PACKAGES if name != "llvmlite"))
    facts = json.loads(call("doctor", "--json")[1])
    assert any("llvmlite is not installed" in remark["message"] for remark in facts["remarks"]) == missed
