"""Transfer learning against plain Keras on the same images, from the folder to a tested model.

    python benchmarks/transfer.py PetImages --weights xception_notop.weights.h5 --work /tmp/transfer

The plain way is that of the tutorials: `image_dataset_from_directory`, a frozen Xception that processes every image
in every epoch, `fit` with validation, `evaluate`. It is measured for one epoch and extrapolated to ten (start + 10
epochs + test), which is stated next to the number: ten epochs would take most of an hour. housetrain is measured
completely, as a user starts it, with empty caches: check, split, prepare, features, head, test, report, bundle. Both
run in their own processes and both import what they need. ``auto`` is `housetrain run` without a model, and
``plain-lite0`` the plain way with the backbone that it takes, EfficientNet-Lite0 at 224 pixels.

Each stage can run alone (``--stage``), so that a shared machine is not occupied for long; results are stored in the
work folder, and ``--stage report`` prints them together. The benchmark fails (exit code 1) if the ratio is below 30,
the test accuracy is below ``--accuracy``, or bfloat16 costs accuracy beyond the interval of float32.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EPOCHS = 10
STAGES = ("ours", "plain", "float32", "auto", "plain-lite0", "report")
LITE_SIZE, LITE_RATIO = 224, 8


def ours(args: argparse.Namespace, name: str) -> dict[str, float]:
    """Run `housetrain run` as a person would, timed from outside: ``ours``, ``float32`` or ``auto``."""
    cache, out = args.work / f"cache-{name}", args.work / name
    prepared = args.work / ("prepared-auto" if name == "auto" else "prepared")
    for old in (cache, out, *([prepared] if name != "float32" else [])):
        shutil.rmtree(old, ignore_errors=True)
    xception = ["--model", "xception", "--weights", str(args.weights), "--image-size", str(args.image_size)]
    command = [
        sys.executable, "-m", "housetrain", "run", str(args.folder), "--output", str(out),
        "--prepared", str(prepared), "--json",
        *(xception if name != "auto" else []),
        *(["--set", "precision=float32"] if name == "float32" else []),
    ]  # fmt: skip
    begin = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOUSETRAIN_CACHE": str(cache)}
    )
    seconds = time.perf_counter() - begin
    outcome = json.loads(done.stdout)
    evaluation, result = outcome["evaluation"], outcome["result"]
    low, high = evaluation["accuracy_interval"]
    return {
        "seconds": seconds, "features_s": result["features_s"], "engine": result["engine"], "tested": evaluation["n"],
        "accuracy": evaluation["accuracy"], "low": low, "high": high,
    }  # fmt: skip


def lay_out(args: argparse.Namespace) -> Path:
    """Make ``plain/{train,validation,test}/<class>`` of links to the very images that `ours` used."""
    from housetrain import Prepared

    places = [args.work / name for name in ("prepared", "prepared-auto")]  # the same split
    prepared, folder = Prepared.open(next(place for place in places if place.exists())), args.work / "plain"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("train", "validation", "test"):
        for path, label in zip(prepared.arrays(name).paths, prepared.arrays(name).labels, strict=True):
            source = prepared.split.root / path
            # TensorFlow reads neither CMYK JPEGs nor much of what is called .jpg and is not.
            with source.open("rb") as file:
                if file.read(3) != b"\xff\xd8\xff":
                    continue
            link = folder / name / prepared.classes[label] / path.replace("/", "_")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.absolute())
    return folder


def plain(args: argparse.Namespace, name: str) -> dict[str, float]:
    """Run the tutorials' way in a process of its own, one epoch: ``plain`` or ``plain-lite0``."""
    folder = lay_out(args)
    begin = time.perf_counter()
    size = LITE_SIZE if name == "plain-lite0" else args.image_size
    command = [sys.executable, __file__, str(folder), "--weights", str(args.weights), "--image-size", str(size)]
    command += ["--base", name]
    done = subprocess.run([*command, "--stage", "child"], check=True, stdout=subprocess.PIPE, text=True)
    whole = time.perf_counter() - begin
    found = json.loads(done.stdout.splitlines()[-1])
    found["start_s"] = whole - found["epoch_s"] - found["test_s"]
    found["seconds"] = found["start_s"] + EPOCHS * found["epoch_s"] + found["test_s"]
    return dict(found)


def child(args: argparse.Namespace) -> None:
    """The plain way itself."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    side = (args.image_size, args.image_size)
    parts = {}
    for name in ("train", "validation", "test"):
        parts[name] = keras.utils.image_dataset_from_directory(
            args.folder / name,
            label_mode="binary",
            image_size=side,
            batch_size=32,
            shuffle=name == "train",
            verbose=False,
        ).prefetch(tf.data.AUTOTUNE)
    inputs = keras.Input((*side, 3))
    if args.base == "plain-lite0":
        base = lite0(args.image_size)
        base.trainable = False
        x = base(inputs, training=False)
    else:
        base = keras.applications.Xception(include_top=False, weights=args.weights, input_shape=(*side, 3))
        base.trainable = False
        x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
        x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])
    begin = time.perf_counter()
    model.fit(parts["train"], validation_data=parts["validation"], epochs=1, verbose=0)
    epoch = time.perf_counter() - begin
    begin = time.perf_counter()
    _, accuracy = model.evaluate(parts["test"], verbose=0)
    print(json.dumps({"epoch_s": epoch, "test_s": time.perf_counter() - begin, "accuracy": accuracy}))


def lite0(size: int) -> Any:
    """Return EfficientNet-Lite0 as a Keras model, pixels in, pooled features out."""
    import keras

    import housetrain as ht
    from housetrain.models.build import build

    recipe = ht.Recipe.of("efficientnet-lite0", dropout=0.0)
    whole = build(recipe, spec=ht.InputSpec(size, size, "rgb"), classes=["a", "b"])
    return keras.Model(whole.input, whole.get_layer("probability").input)


def report(args: argparse.Namespace) -> int:
    """Print what the stages found, and return the exit code."""
    found = {path.stem: json.loads(path.read_text()) for path in (args.work / "stages").glob("*.json")}
    failures = []
    if "ours" in found:
        mine = found["ours"]
        print(
            f"housetrain run --model xception, {args.image_size}x{args.image_size}: {mine['seconds']:.1f} s whole "
            f"({mine['features_s']:.1f} s of it features, {mine['engine']}); test accuracy {mine['accuracy']:.4f} "
            f"({mine['low']:.4f} to {mine['high']:.4f}) on {mine['tested']:,}"
        )
        if mine["accuracy"] < args.accuracy:
            failures.append(f"test accuracy {mine['accuracy']:.4f} is below {args.accuracy}")
    if "plain" in found:
        other = found["plain"]
        print(
            f"the plain way: start {other['start_s']:.1f} s, an epoch {other['epoch_s']:.1f} s, test "
            f"{other['test_s']:.1f} s (measured for one epoch: accuracy {other['accuracy']:.4f}); "
            f"scaled to {EPOCHS} epochs: {other['seconds']:.0f} s"
        )
    if {"ours", "plain"} <= found.keys():
        ratio = found["plain"]["seconds"] / found["ours"]["seconds"]
        print(f"ratio: {ratio:.1f}")
        if ratio < args.ratio:
            failures.append(f"the ratio {ratio:.1f} is below {args.ratio}")
    if {"ours", "float32"} <= found.keys():
        exact = found["float32"]
        print(
            f"float32 features: accuracy {exact['accuracy']:.4f} ({exact['low']:.4f} to {exact['high']:.4f}), "
            f"features {exact['features_s']:.1f} s"
        )
        if not exact["low"] <= found["ours"]["accuracy"] <= exact["high"]:
            failures.append("the quick features' accuracy is outside float32's interval")
    failures += report_auto(found, args)
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def report_auto(found: dict[str, dict[str, Any]], args: argparse.Namespace) -> list[str]:
    """Print how `run` without a model compares with both plain ways, and return what is missed."""
    if (mine := found.get("auto")) is None:
        return []
    failures = []
    print(
        f"housetrain run: {mine['seconds']:.1f} s whole ({mine['features_s']:.1f} s of it features, {mine['engine']}); "
        f"test accuracy {mine['accuracy']:.4f} ({mine['low']:.4f} to {mine['high']:.4f}) on {mine['tested']:,}"
    )
    for name, least in (("plain", args.ratio), ("plain-lite0", LITE_RATIO)):
        if (other := found.get(name)) is None:
            continue
        ratio = other["seconds"] / mine["seconds"]
        print(
            f"{name}: start {other['start_s']:.1f} s, an epoch {other['epoch_s']:.1f} s, test {other['test_s']:.1f} s "
            f"(accuracy {other['accuracy']:.4f} after one); scaled to {EPOCHS} epochs: {other['seconds']:.0f} s; "
            f"ratio to run without a model: {ratio:.1f}"
        )
        if ratio < least:
            failures.append(f"the ratio {ratio:.1f} to {name} is below {least}")
    return failures


def main() -> int:
    """Run the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("transfer-benchmark"))
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--accuracy", type=float, default=0.96)
    parser.add_argument("--ratio", type=float, default=30.0)
    parser.add_argument("--stage", choices=(*STAGES, "child"), action="append")
    parser.add_argument("--base", choices=("plain", "plain-lite0"), default="plain")
    args = parser.parse_args()
    if args.stage == ["child"]:
        child(args)
        return 0
    args.work = args.work.absolute()
    (args.work / "stages").mkdir(parents=True, exist_ok=True)
    for stage in args.stage or STAGES:
        if stage == "report":
            return report(args)
        found = (plain if stage.startswith("plain") else ours)(args, stage)
        (args.work / "stages" / f"{stage}.json").write_text(json.dumps(found))
        print(stage, json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
