"""The opening of a test split: when, for which model, and what validation had promised.

In: counts and names. Out: an `Opening`. It does not know how it is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from housetrain.evaluation.statistics import chance_of_fall
from housetrain.system.text import format_percent

FALL = 0.01
"""How often a test is called lower than validation although both have the same expectation, at most."""
FEW_VALIDATION_IMAGES = 100
"""Fewer of them are a likely reason for a fall: at 90 % their interval is 6 points or more to either side."""


@dataclass(frozen=True, slots=True)
class Opening:
    """When and for which model the test split of a run was opened.

    Attributes:
        count: How often this run had opened its test split, this time included.
        models_tested: How many different models of this run had been tested by then.
        model_sha256: Of the model file.
        data: Fingerprint of the prepared images.
        when: Local date and time, ISO 8601.
        runs: How many runs had opened this test split by then, by the ledger of the prepared folder, this one included.
        validation_accuracy: Of the epoch that validation chose, in [0, 1].
        validation_images: Number of validation images.
        validation_tries: Epochs or regularization strengths from which it was chosen.
        validation_effect: Design effect of its images where they come in groups, see `housetrain.training.clusters`;
            ``None`` where it is not known, which counts as that of the test.
    """

    count: int
    models_tested: int
    model_sha256: str
    data: str
    when: str
    runs: int = 1
    validation_accuracy: float | None = None
    validation_images: int = 0
    validation_tries: int = 1
    validation_effect: float | None = None

    def falls_short(self, correct: int, images: int, effect: float = 1.0) -> bool:
        """Whether a test result is lower than validation promised, at a level of at most `FALL`.

        Args:
            correct: Correct test images.
            images: All test images.
            effect: Design effect of test images that come in groups, see `housetrain.training.clusters`.
        """
        if self.validation_accuracy is None or not self.validation_images:
            return False
        earlier = self.validation_images / (self.validation_effect or effect)
        worth = (self.validation_accuracy * earlier, earlier, correct / effect, images / effect)
        return chance_of_fall(*map(round, worth), tries=self.validation_tries) <= FALL

    def describe_fall(self, *, grouped: bool) -> str:
        """Return what a result that falls short means, why it may, and what to do.

        Args:
            grouped: Whether the images were split by groups already.
        """
        few = self.validation_images < FEW_VALIDATION_IMAGES
        reasons = ["images of one object or burst are in training and in validation"] * (not grouped)
        reasons += ["the test images come from another place or time"]
        reasons += [f"{self.validation_images:,} validation images are too few to choose by"] * few
        do = (
            "add images like those of the test to training and validation"
            if grouped
            else "housetrain check FOLDER names groups that it can see; --group-by keeps a group in one split"
        )
        return (
            f"Validation is far from the test: {format_percent(self.validation_accuracy)} of the "
            f"{self.validation_images:,} validation images are correct; chance explains such a fall in at most "
            f"{format_percent(FALL, 0)} of tests. Likely reasons: {', or '.join(reasons)}. To do: {do}"
        )
