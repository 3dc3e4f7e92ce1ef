"""Images unlike anything that a model was trained on: the share that is flagged, and what it costs.

In: a run on pretrained features, folders of other images. Out: the share of novel and of unsure predictions of each
folder, and the processor time with and without the distance.

    python benchmarks/novelty.py runs/pets digits/ animals/ screenshots/
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import housetrain as ht
from housetrain.inference.engine import run_in_batches
from housetrain.training.run_data import prepared_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folders", type=Path, nargs="*")
    asked = parser.parse_args()
    run = ht.Run.open(asked.run)
    with ht.Predictor.load(run) as predictor:
        assert hasattr(predictor.engine, "novelty"), "the run has no novelty.npz"
        for folder in asked.folders:
            found = [one for one in predictor.predict_many(sorted(folder.rglob("*.*"))) if one.error is None]
            novel, unsure = (np.mean([getattr(one, name) for one in found]) for name in ("novel", "unsure"))
            print(f"{folder.name}: {len(found):,} images, {novel:.1%} novel, {unsure:.1%} unsure")
        images = np.asarray(prepared_of(run).validation.images[:256])
        plain = predictor.engine._engine  # type: ignore[attr-defined] # the same model without the distance
        ratios = []
        for _ in range(5):
            seconds = []
            for engine in (plain, predictor.engine):
                start = time.process_time()
                run_in_batches(engine, images, batch=64)
                seconds.append(time.process_time() - start)
            ratios.append(seconds[1] / seconds[0])
        print(f"processor time with the distance / without: {np.median(ratios):.3f}")


if __name__ == "__main__":
    main()
