"""The error rate of the most confident predictions."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_results import quick

from housetrain.inference.decision import NEVER, UNDECIDED, Decision
from housetrain.report.plots import coverage


def rows(seed: int = 0) -> tuple[coverage.Coverage, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    sure = 1 - 0.5 * random.random(400)
    right = random.random(400) < sure
    result = quick([int(not one) for one in right], [[one, 1 - one] for one in sure], ("a", "b"))
    return coverage.coverage_table(result.rows, Decision(threshold=0.9, risk=0.05, images=300)), sure, right


def test_the_curve_ends_at_the_error_rate_of_all() -> None:
    table, sure, right = rows()
    assert table.curve[-1] == (1.0, pytest.approx(1 - right.mean()))
    assert table.curve[0][0] == 20 / 400 and len(table.curve) <= 120
    shares = [share for share, _ in table.curve]
    assert shares == sorted(shares)
    assert table.sure == (sure >= 0.9).sum() and table.wrong == (~right[sure >= 0.9]).sum()


def test_what_was_promised_stands_beside_what_the_test_found() -> None:
    table, *_ = rows()
    promised = Decision(threshold=0.9, risk=0.05, coverage=0.2, images=300)
    text = coverage.describe_coverage(table, promised)
    assert "At most 5.0 %" in text and f"{table.sure} of 400" in text
    never = Decision(threshold=NEVER, images=300)
    assert "cannot promise" in coverage.describe_coverage(table, never)
    assert "no validation outputs" in coverage.describe_coverage(table, UNDECIDED)
    for decision in (promised, never, UNDECIDED):
        assert "<svg" in coverage.draw_coverage(table, decision)
    nothing = coverage.Coverage(((1.0, 0.1),), 0, 0, 10)
    assert nothing.risk is None and "<svg" in coverage.draw_coverage(nothing, never)
