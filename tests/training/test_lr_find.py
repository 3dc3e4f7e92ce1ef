"""The learning-rate finder: its suggestion, where it stops, and its page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared_digits import digits

from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe
from housetrain.training.lr_find import HIGH, LOW, STEPS, LrCurve, lr_find, valley


def test_the_suggestion_is_in_the_longest_fall() -> None:
    flat, fall, rise = np.full(40, 2.3), np.linspace(2.29, 0.5, 40), np.linspace(0.6, 9, 20)
    at = valley([*flat, *fall, *rise])
    assert 45 < at < 65, "in the middle of the fall, neither flat nor near the minimum"
    assert valley([1.0]) == 0 and valley([1.0, 2.0, 3.0]) == 0
    assert valley([3.0, 2.0, 1.0]) in (0, 1)


def test_the_rate_rises_until_the_loss_diverges_and_the_suggestion_trains(tmp_path: Path) -> None:
    prepared = digits(tmp_path / "arrays", classes=4, most=400)
    curve = lr_find(prepared, Recipe.of("mlp", nodes=16))
    assert curve.rates[0] == LOW and list(curve.rates) == sorted(curve.rates)
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed) <= STEPS
    assert curve.losses[0] == pytest.approx(np.log(4), abs=0.7), "an untrained model knows nothing"
    assert min(curve.smoothed) < 0.8 * curve.smoothed[0], "it learns on the way"
    assert 1e-5 < curve.suggested < curve.lowest <= HIGH


def test_a_frozen_base_has_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no learning rate to find"):
        lr_find(digits(tmp_path / "arrays", classes=2, most=40), Recipe.of("efficientnet-lite0"))


def test_the_command_writes_a_page(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = tuple(10.0**power for power in range(-7, 2))
    made = LrCurve(rates, (2.3, 2.3, 2.2, 1.5, 1.0, 0.8, 0.9, 3, 9), (2.3, 2.3, 2.2, 1.6, 1.1, 0.9, 0.95, 2, 5))
    monkeypatch.setattr("housetrain.training.lr_find.lr_find", lambda *_, **__: made)
    prepared = digits(tmp_path / "arrays", classes=2, most=40)
    monkeypatch.setattr("housetrain.data.prepared.Prepared.open", lambda folder: prepared)
    code, out, said = call("lr-find", prepared.folder, "--model", "mlp")
    assert code == 0, said
    page, wanted = Path("lr-find-mlp.html").read_text(encoding="utf-8"), "--learning-rate 1e-6"
    assert wanted in out and wanted in page
    assert "learning rate" in page and page.count('class="curve') == 2 and not re.search(r'(src|href)="http', page)
    ticks = re.findall(r'text-anchor="middle"[^>]*>(1e-?\d+|0\.0*1|10?)</text>', page)
    assert ticks == [f"1e{power}" for power in range(-7, 2)], "one form on one axis"
