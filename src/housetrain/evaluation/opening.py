"""The opening of a test split: when, for which model, and what validation had promised.

In: counts and names. Out: an `Opening`. It does not know how it is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from housetrain.evaluation.statistics import chance_of_fall

_FALL = 0.05


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

    def falls_short(self, correct: int, images: int, effect: float = 1.0) -> bool:
        """Whether a test result is lower than validation promised, at a level of at most 5 %.

        Args:
            correct: Correct test images.
            images: All test images.
            effect: Design effect of images that come in groups, see `housetrain.training.clusters`.
        """
        if self.validation_accuracy is None or not self.validation_images:
            return False
        before, tries = self.validation_accuracy * self.validation_images, self.validation_tries
        worth = (round(count / effect) for count in (before, self.validation_images, correct, images))
        return chance_of_fall(*worth, tries=tries) <= _FALL
