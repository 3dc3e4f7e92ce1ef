"""Accuracy from 20, 50, 200 and 1,000 images: `run` choosing by itself, plain Keras transfer, and `best` from scratch.

    python benchmarks/few_images.py PetImages --work /tmp/few [--sizes 20 50 200 1000] [--draws 10] [--tested 400]

Each draw takes other images of the folder, half of each class, and all are tested on the same images, which no draw
uses. ``auto`` and ``best`` are `housetrain.run` with their defaults; part of the images validates. The plain way is
that of the transfer tutorials with the same backbone: EfficientNet-Lite0, frozen, dropout 0.2, one Dense unit, Adam,
10 epochs, a fifth of the images validates and the last epoch counts. Its features are computed once, which changes no
number. Results are kept in the work folder, and a later call continues there. The benchmark fails (exit code 1) where
the accuracies of the draws say that ``auto`` is worse than the better of the others (paired t-test, p below 0.05).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

WAYS = ("auto", "plain", "best")
SIDE, EPOCHS = 224, 10


def draw(images: Path, target: Path, count: int, number: int, tested: int) -> Path:
    """Link ``count`` images to ``target/train`` and the tested ones to ``target/test``, and return ``target``."""
    for folder in sorted(path for path in images.iterdir() if path.is_dir()):
        files = sorted(
            path for path in folder.iterdir() if path.suffix.lower() == ".jpg" and path.stat().st_size > 5000
        )
        half = tested // 2
        chosen = np.random.default_rng([count, number]).choice(len(files) - half, count // 2, replace=False)
        for part, paths in (("test", files[-half:]), ("train", [files[place] for place in chosen])):
            for path in paths:
                link = target / part / folder.name / path.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(path.absolute())
    return target


class Plain:
    """The plain way: a frozen backbone in Keras, and a head that `fit` trains."""

    def __init__(self) -> None:
        import keras

        import housetrain as ht
        from housetrain.models.build import build

        spec = ht.InputSpec(SIDE, SIDE, "rgb")
        whole = build(ht.Recipe.of("efficientnet-lite0", dropout=0.0), spec=spec, classes=["a", "b"])
        self.base = keras.Model(whole.input, whole.get_layer("probability").input)
        self.known: dict[str, np.ndarray] = {}

    def features(self, paths: list[Path]) -> np.ndarray:
        """Return the features of images, resized as Keras' loader does."""
        import keras

        missing = [path for path in paths if str(path) not in self.known]
        for at in range(0, len(missing), 32):
            some = missing[at : at + 32]
            pixels = np.stack(
                [
                    keras.utils.img_to_array(keras.utils.load_img(path, target_size=(SIDE, SIDE)), dtype="uint8")
                    for path in some
                ]
            )
            rows = self.base.predict(pixels, verbose=0)
            self.known |= {str(path): row for path, row in zip(some, rows, strict=True)}
        return np.stack([self.known[str(path)] for path in paths])

    def accuracy(self, folder: Path, seed: int) -> float:
        """Train a head on ``folder/train`` and return its accuracy on ``folder/test``."""
        import keras

        keras.utils.set_random_seed(seed)
        parts: dict[str, Any] = {}
        for part in ("train", "test"):
            classes = sorted((folder / part).iterdir())
            paths = [path.resolve() for one in classes for path in sorted(one.iterdir())]
            labels = np.array([n for n, one in enumerate(classes) for _ in one.iterdir()], np.float32)
            parts[part] = self.features(paths), labels
        x, y = parts["train"]
        order = np.random.default_rng(seed).permutation(len(y))[len(y) // 5 :]
        head = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
        head.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        head.fit(x[order], y[order], epochs=EPOCHS, batch_size=32, verbose=0)
        x, y = parts["test"]
        return float(((head.predict(x, verbose=0)[:, 0] > 0) == y).mean())


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the accuracies of each way and size, one for each draw; each is kept as soon as it is known."""
    import housetrain as ht

    kept = args.work / "accuracies.json"
    found: dict[str, list[float]] = json.loads(kept.read_text()) if kept.is_file() else {}
    plain = Plain()
    for number in range(args.draws):
        for count in args.sizes:
            folder = draw(args.images, args.work / f"{count}-{number}" / "images", count, number, args.tested)
            for way in WAYS:
                row = found.setdefault(f"{way} {count}", [])
                if len(row) > number:
                    continue
                if way == "plain":
                    row.append(plain.accuracy(folder, number))
                else:
                    recipe = None if way == "auto" else ht.Recipe.of(way)
                    place = folder.with_name(way)
                    row.append(ht.run(folder, place, recipe=recipe, prepared=f"{place}-prepared").evaluation.accuracy)
                kept.write_text(json.dumps(found))
                print(f"{count:>5} images, draw {number}, {way:<6}{row[-1]:.1%}", flush=True)
    return found


def main() -> int:
    """Measure, print the table, and return the exit code."""
    from scipy import stats

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50, 200, 1000])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--tested", type=int, default=400)
    args = parser.parse_args()
    found, worse = measure(args), []
    print(f"\n{'images':>6}" + "".join(f"{way:>22}" for way in WAYS) + "   auto against the better one")
    for count in args.sizes:
        rows = {way: np.array(found[f"{way} {count}"][: args.draws]) for way in WAYS}
        cells = "".join(f"{f'{row.mean():.1%} ± {row.std(ddof=1):.1%}':>22}" for row in rows.values())
        better = max(WAYS[1:], key=lambda way: rows[way].mean())
        difference = rows["auto"] - rows[better]
        p = float(stats.ttest_1samp(difference, 0).pvalue) if difference.any() else 1.0
        print(f"{count:>6}{cells}   {difference.mean():+.1%} against {better}, p = {p:.2f}")
        if difference.mean() < 0 and p < 0.05:
            worse.append(f"{count} images: worse than {better}")
    print("; ".join(worse) or "auto is nowhere significantly worse")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
