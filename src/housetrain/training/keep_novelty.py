"""What a fine-tuned model needs to tell that an image is unlike its training images.

In: a run whose ``model.keras`` is written, and its images. Out: ``novelty.npz`` in the run folder. Frozen
models keep it with their features (`housetrain.training.head_fit`). Models trained from scratch get none: of digits and
noise, a model of cats and dogs found 33 and 10 % at 5 % false alarms, a fine-tuned one 100 % (docs/log.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from housetrain.inference.fastest import batch_of, serving_engine
from housetrain.inference.novelty import MOST, Novelty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from housetrain.inference.engine import Images, LoadedModel, Outputs
    from housetrain.training.run import Run


def keep_novelty(run: Run, train: Images, validation: Images) -> Novelty | None:
    """Write the novelty of a run's model, measured by the engine that will predict with it.

    Args:
        run: With the model of its best epoch.
        train: The training images, uint8 (N, height, width, channels).
        validation: The validation images.

    Returns:
        ``None`` where there are too few images, or where the model has no features.
    """
    precision = str(run.recipe_json.get("precision", "auto"))
    engine = serving_engine(
        run.model_path, classes=len(run.classes), input_shape=run.spec.shape, precision=precision, features=True
    )
    try:
        if engine.features is None:
            return None
        features = [_features_of(engine, images) for images in (train, validation)]
    finally:
        engine.close()
    if (found := Novelty.of(*features)) is not None:
        found.save(run.folder)
    return found


def _features_of(engine: LoadedModel, images: Images) -> Outputs:
    """Return the features of some of the images, drawn at random with a fixed seed."""
    drawn: NDArray[np.intp] = np.sort(np.random.default_rng(0).permutation(len(images))[:MOST])
    size = batch_of(engine)
    parts = [np.stack([images[number] for number in drawn[at : at + size]]) for at in range(0, len(drawn), size)]
    return np.concatenate([engine.run_with_features(part)[1] for part in parts])
