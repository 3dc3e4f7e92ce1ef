"""The limits of a result follow from its numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from made_up_results import made_up

from housetrain.evaluation.evaluation import Evaluation, Opening
from housetrain.report.limits import limits as limits_of


def limits(evaluation: Evaluation | None, **more: Any) -> dict[str, str]:
    counts = {"train": {"cat": 50, "dog": 50}, "validation": {}, "test": {}}
    options = {"counts": counts, "findings": {}, "left_out": 0, **more}
    return dict(limits_of(evaluation, options.pop("counts"), **options))


def test_limits_follow_the_numbers() -> None:
    good = limits(made_up(1800, 200))
    assert list(good) == ["Distribution shift", "Unknown classes"], "what always holds"
    assert "Small test split" in limits(made_up(45, 5))
    assert "Not better than the baseline" in limits(made_up(52, 48))
    assert "about 24 percentage points" in limits(made_up(1500, 500, sure=0.99))["Calibration"]
    assert "Calibration" not in limits(made_up(50, 10)), "7 points, as a calibrated model may have on 60 images"
    assert "Not tested" in limits(None)
    assert (
        "4 times, for 2 different"
        in limits(dataclasses.replace(made_up(90, 10), opening=Opening(4, 2, "m", "d", "now")))[
            "The test split was opened before"
        ]
    )
    tested = dataclasses.replace(made_up(90, 10), opening=Opening(1, 1, "m", "d", "now", runs=7))
    assert "opened by 7 runs" in limits(tested)["A test for several runs"]
    promised = Opening(1, 1, "m", "d", "now", validation_accuracy=0.95, validation_images=300)
    far = limits(dataclasses.replace(made_up(60, 40), opening=promised))
    assert next(iter(far)) == "Validation is far from the test" and "--group-by" in far[next(iter(far))]
    assert "Few test images of some classes" in limits(made_up(1900, 100, classes=("cat", "dog", "rare")))


def test_limits_of_the_images() -> None:
    found = limits(
        None,
        counts={"train": {"cat": 300, "dog": 40}, "validation": {}, "test": {}},
        findings={"near-duplicate": 7},
        left_out=3,
        history=[{"epoch": n, "loss": 1 / n, "val_loss": abs(n - 3) + 1} for n in range(1, 9)],
    )
    assert "“dog” 40" in found["Imbalanced classes"]
    assert found["Near-duplicates"].startswith("7")
    assert found["Left out"].startswith("3")
    assert "epoch 4" in found["Overfitting"]
