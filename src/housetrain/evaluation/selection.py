"""What the best of several models is expected to give on new images.

In: losses and correct predictions of the same validation images under several models. Out: the accuracy and the loss
of the selected one, corrected for the luck in selecting it. It does not know runs or sweeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_DRAWS = 400
_CELLS = 2_000_000  # images drawn at once: 16 MB


class Expected(NamedTuple):
    """What a model that was selected from several is expected to give on new images.

    Attributes:
        val_accuracy: Its accuracy, in [0, 1].
        val_loss: Its loss, nats.
        chosen_among: From how many models it was selected.
    """

    val_accuracy: float
    val_loss: float
    chosen_among: int


def expected_of_best(losses: np.ndarray, correct: np.ndarray) -> Expected:
    """Return what the model of the lowest mean loss is expected to give on new images.

    The best of many models is partly the luckiest: on the images that selected it, it looks better than it is. The
    bootstrap repeats the selection: it draws as many images with replacement, selects by them, and scores the selected
    model on the images that were not drawn, which had no part in it (37 % of all). The mean difference to the model
    selected by all images is added to the score of that model, so that one model alone keeps its score.

    Equal models are scored without bias. Where models differ, fewer distinct images select slightly worse than all of
    them do, so the figure tends to be a little too low. The choice of an epoch within a
    training is not repeated. The seed is fixed, so equal losses give equal figures.

    Args:
        losses: Float (m, n), the losses of m models on the same n images; the first is the one that was selected.
        correct: Float (m, n) in [0, 1]: whether an image is classified correctly, or the share of seeds that do it.

    Source:
        I. Tsamardinos, E. Greasidou and G. Borboudakis, "Bootstrapping the out-of-sample predictions for efficient and
        accurate cross-validation", Machine Learning 107 (2018) 1895-1922 (BBC-CV).
    """
    import numpy as np

    losses, correct = losses.astype(np.float64), correct.astype(np.float64)
    models, images = losses.shape
    accuracy, loss = float(correct[0].mean()), float(losses[0].mean())
    if models < 2 or images < 2:
        return Expected(accuracy, loss, models)
    random = np.random.default_rng(0)
    gains: list[np.ndarray] = []
    at_once = max(1, _CELLS // images)
    for start in range(0, _DRAWS, at_once):
        draws = min(at_once, _DRAWS - start)
        picked = random.integers(images, size=(draws, images)) + np.arange(draws)[:, None] * images
        times = np.bincount(picked.ravel(), minlength=draws * images).reshape(draws, images)
        selected = (times.astype(np.float64) @ losses.T).argmin(axis=1)
        left = (times == 0).astype(np.float64)
        left /= np.maximum(left.sum(axis=1, keepdims=True), 1.0)
        scores = np.stack([left @ correct.T, left @ losses.T])
        gains.append(scores[:, np.arange(draws), selected] - scores[:, :, 0])
    gain = np.concatenate(gains, axis=1).mean(axis=1)
    return Expected(float(np.clip(accuracy + gain[0], 0.0, 1.0)), loss + float(gain[1]), models)
