"""A real tiny training as a process of its own, to be killed by test_kill.py: ``train_digits.py ARRAYS RUN``.

Prints ``begin`` when training begins and each epoch's number when it is kept; leaves what it ended with in
``RUN/end.json``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from events_of import Listener
from prepared_digits import digits

from housetrain.models.recipe import Recipe
from housetrain.training.train import train

RECIPE = Recipe.of(
    "cnn",
    conv=1,
    nodes=32,  # the compiled steps take part
    epochs=8,
    optimizer="adamw",
    weight_decay=0.01,
    learning_rate=0.003,
    schedule="one-cycle",
    dropout=0.2,
    shift=0.1,
    rotate=0.05,
    ema=0.9,
    deterministic=True,
)


def digest_of(folder: Path) -> str:
    """Return the sha256 of the model's weights, not of the file: a zip archive holds the time of day."""
    import keras

    weights = keras.models.load_model(folder / "model.keras").get_weights()
    return hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()


def main(arrays: Path, folder: Path) -> None:
    last = {}

    def watch(event: dict) -> None:
        if event["event"] == "begin":
            print("begin", flush=True)  # noqa: T201 - to the test that listens
        if event["event"] == "epoch":
            print(event["epoch"], flush=True)  # noqa: T201
            # The checkpoints go when the run is complete: this is all of the state, not only the best weights.
            state = sorted((folder / "checkpoints").glob("epoch-*"))[-1]
            for name in ("model", "optimizer"):
                last[name] = hashlib.sha256((state / f"{name}.bin").read_bytes()).hexdigest()

    run = train(digits(arrays, classes=3, most=400), RECIPE, folder, callbacks=[Listener(watch)])
    clock = {"seconds", "images_per_s"}
    history = [{key: value for key, value in row.items() if key not in clock} for row in run.history]
    (folder / "end.json").write_text(json.dumps({"weights": digest_of(folder), "history": history, **last}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
