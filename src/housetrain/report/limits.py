"""The limits of a test result: what its numbers do not show.

In: an evaluation, counts, findings, a history. Out: (title, sentences), the most serious first. It does not know HTML;
nothing here is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from housetrain.data.split_manifest import NO_TEST
from housetrain.errors import one_line
from housetrain.system.text import format_count, format_interval, format_list, format_percent, format_sentence
from housetrain.training.overfitting import overfitting_text

if TYPE_CHECKING:
    from housetrain.evaluation.evaluation import Evaluation

FEW_TEST_IMAGES = 30
"""With fewer test images of a class, the 95 % interval of its recall is about 15 points or more to either side."""
WIDE_INTERVAL = 0.05
HIGH_ECE = 0.05
"""A corrected calibration error up to this is no reason to distrust the probabilities, even if chance does not explain
it."""
Limit = tuple[str, str]


def limits(
    evaluation: Evaluation | None,
    counts: Mapping[str, Mapping[str, int]],
    *,
    findings: Mapping[str, int],
    left_out: int,
    history: Sequence[Mapping[str, Any]] = (),
) -> tuple[Limit, ...]:
    """Return the limits of a result as (title, sentences), the most serious first.

    Args:
        evaluation: The test result, or ``None``.
        counts: Split -> class -> images.
        findings: Kind of finding -> how many.
        left_out: Images left out.
        history: One mapping per epoch.
    """
    if evaluation is None:
        no_test = bool(counts.get("test")) and not any(counts["test"].values())
        found = [("Validation only", f"{NO_TEST}.") if no_test else _NOT_TESTED]
    else:
        found = _limits_of_test(evaluation)
    sizes = {name: total for name, total in counts.get("train", {}).items() if total}
    if sizes and max(sizes.values()) >= 2 * min(sizes.values()):
        most, least = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
        text = (
            f"“{one_line(most)}” has {sizes[most]:,} training images, “{one_line(least)}” {sizes[least]:,}. The "
            "accuracy is dominated by the large classes: check the recall of the small ones."
        )
        found.append(("Imbalanced classes", text))
    if overfits := overfitting_text(history):
        found.append(("Overfitting", f"{overfits} Use more images, more augmentation or a smaller model."))
    if near := findings.get("near-duplicate", 0) + findings.get("near-two-labels", 0):
        kept = (
            "Each group is kept within one split, so it does not inflate the test accuracy; near-duplicates that the "
            "comparison misses may."
        )
        if findings.get("duplicates-apart"):
            kept = "They may be in train and in test, as was asked for, so they inflate the test accuracy."
        text = f"{format_count(near, 'group')} of nearly identical images. {kept}"
        found.append(("Near-duplicates", text))
    if left_out:
        text = (
            f"{format_count(left_out, 'image is', 'images are')} left out, for the reasons given below. In use, such "
            "images will occur."
        )
        found.append(("Left out", text))
    classes = list(dict.fromkeys(name for per_class in counts.values() for name in per_class))
    unknown = (
        f"The model knows only {format_list(classes, limit=4, quote=True)}. For an image of anything else it still "
        "predicts one of them, sometimes with high confidence."
    )
    marks = [row.novel for row in evaluation.rows if row.novel is not None] if evaluation else []
    if marks:
        unknown += (
            f" It marks images that are unlike the training images (novel): {sum(marks):,} of the {len(marks):,} "
            f"test images ({format_percent(sum(marks) / len(marks))}; 5 % are expected)."
        )
    return (*found, _DISTRIBUTION_SHIFT, ("Unknown classes", unknown))


_NOT_TESTED: Limit = (
    "Not tested",
    "The test split has not been opened. The validation split selected the best epoch, so the validation metrics are "
    "slightly optimistic.",
)
_DISTRIBUTION_SHIFT: Limit = (
    "Distribution shift",
    "The test images come from the same folder as the training images: the same sources, cameras and conditions. "
    "Expect a lower accuracy on images from other sources, and test on some of those.",
)


def _limits_of_test(evaluation: Evaluation) -> list[Limit]:
    found = []
    low, high = evaluation.accuracy_interval
    if evaluation.falls_short and evaluation.opening:
        text = evaluation.opening.describe_fall(grouped=evaluation.grouped).partition(": ")[2]
        found.append(("Validation is far from the test", format_sentence(text)))
    if not evaluation.beats_baseline and evaluation.imbalanced:
        text = (
            f"The balanced accuracy is {format_percent(evaluation.macro_recall)} (95 % interval "
            f"{format_interval(evaluation.macro_recall_interval)}), no higher than chance explains. There is no "
            "evidence that the model distinguishes the classes."
        )
        found.append(("Not better than the baseline", text))
    elif not evaluation.beats_baseline:
        text = (
            f"The 95 % interval {format_interval((low, high))} does not lie above the majority-class baseline, "
            f"{format_percent(evaluation.baseline.accuracy)} for always predicting "
            f"“{one_line(evaluation.baseline.label)}”. There is no evidence that the model distinguishes the classes."
        )
        found.append(("Not better than the baseline", text))
    if high - low > WIDE_INTERVAL:
        text = (
            f"With {format_count(evaluation.n, 'test image')} the accuracy is known to about "
            f"±{(high - low) * 50:.0f} percentage points. Smaller differences between two models mean nothing."
        )
        found.append(("Small test split", text))
    few = [name for name, scores in evaluation.per_class.items() if scores.support < FEW_TEST_IMAGES]
    if few and high - low <= WIDE_INTERVAL:
        text = (
            f"{format_list(few, quote=True)}: fewer than {FEW_TEST_IMAGES} each. Their metrics are imprecise; see the "
            "intervals."
        )
        found.append(("Few test images of some classes", text))
    calibration = evaluation.calibration
    if calibration.deviates and calibration.corrected > HIGH_ECE:
        text = (
            f"Confidence and accuracy differ by about {calibration.corrected * 100:.0f} percentage points (95 % "
            f"interval {format_interval(calibration.interval)}), more than chance explains. Do not use the "
            "probabilities as they are."
        )
        found.append(("Calibration", text))
    opening = evaluation.opening
    if opening and opening.models_tested > 1:
        text = (
            f"{opening.count} times, for {opening.models_tested} different models of this run. Testing repeatedly and "
            "keeping the best result overestimates accuracy."
        )
        found.append(("The test split was opened before", text))
    if opening and opening.runs > 1:
        text = (
            f"This test has been opened by {opening.runs} runs. The accuracy of the best of them is too high; choose "
            "by the validation loss, and test the final choice on new images."
        )
        found.append(("A test for several runs", text))
    return found
