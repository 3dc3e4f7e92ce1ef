"""Prediction against plain Keras in the same run: cold start, throughput, every export format.

    python benchmarks/predict.py [--run RUN ...] [--images FOLDER] [--photos FOLDER] [--work FOLDER] [--repeat 7]

For each run (by default a 3-conv-64 `cnn` trained here for three epochs):

* cold start: one photo classified by a new process, wall time and memory, against importing Keras, loading the same
  model and predicting;
* throughput: a folder into a CSV file, with the run's own bundle (float32, identical to the test) and with an 8-bit
  export, against decoding the same images alone on all cores, and against `image_dataset_from_directory` +
  `model.predict` of the same model;
* exports: size, load time, ms per image, agreement and accuracy of every format (`housetrain benchmark`).

Passes if a cold start takes at most 0.6 s and 200 MB, and throughput is at least 0.8 of decoding alone or five times
plain Keras; both are checked for the first run only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import housetrain as ht

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

PLAIN_ONE = """
import sys, json, numpy as np, keras
model = keras.models.load_model(sys.argv[1] + "/model.keras")
height, width, channels = model.input_shape[1:]
mode = "grayscale" if channels == 1 else "rgb"
photo = keras.utils.load_img(sys.argv[2], color_mode=mode, target_size=(height, width), interpolation="bilinear")
print(model.predict(np.asarray(photo, "uint8").reshape(1, height, width, channels), verbose=0))
"""
PLAIN_MANY = """
import sys, time, keras
model = keras.models.load_model(sys.argv[1] + "/model.keras")
height, width, channels = model.input_shape[1:]
begin = time.perf_counter()
images = keras.utils.image_dataset_from_directory(
    sys.argv[2], labels=None, shuffle=False, batch_size=64, image_size=(height, width),
    color_mode="grayscale" if channels == 1 else "rgb", verbose=False).prefetch(2)
answers = model.predict(images, verbose=0)
print(len(answers), time.perf_counter() - begin)
"""
DECODE_ALONE = """
import sys, time
from pathlib import Path
from housetrain.images.input_spec import InputSpec
from housetrain.inference.inputs import Listing, read_many
import json
spec = InputSpec.from_json(json.loads(sys.argv[1]))
begin = time.perf_counter()
print(sum(1 for _ in read_many(Listing([sys.argv[2]]), spec)), time.perf_counter() - begin)
"""


def measured(words: list[str]) -> tuple[float, float, str]:
    """Run a program. Return its seconds, the most memory it took in MB, and what it printed."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        out.seek(0)
        text = out.read().decode()
    if process.returncode not in (0, 1):
        raise SystemExit(f"failed: {words}")
    return seconds, usage.ru_maxrss / 1000, text


def housetrain(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("housetrain")), *words]


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def cold_start(run: ht.Run, photo: Path, repeat: int) -> tuple[float, float]:
    rows: dict[str, list[tuple[float, float]]] = {"housetrain": [], "plain Keras": []}
    for _ in range(repeat):
        rows["housetrain"].append(measured(housetrain("predict", str(run.folder / "bundle"), str(photo)))[:2])
    for _ in range(max(2, repeat // 3)):
        rows["plain Keras"].append(measured(python(PLAIN_ONE, str(run.folder), str(photo)))[:2])
    found = {}
    for name, values in rows.items():
        seconds = statistics.median(row[0] for row in values)
        memory = max(row[1] for row in values)
        found[name] = seconds, memory
        print(f"  cold start      {name:12s} {seconds:6.2f} s  {memory:6.0f} MB   (median of {len(values)})")
    return found["housetrain"]


def many(run: ht.Run, folder: Path, work: Path) -> tuple[float, float]:
    import json

    table = work / "out.csv"
    bundles = {"housetrain": run.folder / "bundle", "in 8 bits": run.folder / "exports" / "openvino-int8"}
    spec = json.dumps(run.spec.to_json())
    rates: dict[str, list[float]] = {"decoding alone": [], **{name: [] for name in bundles}}
    memory = []
    for _ in range(3):
        count, seconds = measured(python(DECODE_ALONE, spec, str(folder)))[2].split()
        rates["decoding alone"].append(float(count) / float(seconds))
        for name, bundle in bundles.items():
            _, megabytes, said = measured(housetrain("predict", str(bundle), str(folder), "--csv", str(table), "-q"))
            memory.append(megabytes)
            rates[name].append(float(said.rsplit("(", 1)[1].split()[0].replace(",", "")))
    whole = whole_ones(folder, work / "whole")
    count, seconds = measured(python(PLAIN_MANY, str(run.folder), str(whole)))[2].split()
    rates["plain Keras"] = [float(count) / float(seconds)]
    best = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in best.items():
        share = rate / best["decoding alone"]
        print(f"  many images   {name:14s} {rate:7,.0f} images/s  {share:5.2f} of decoding alone")
    print(f"  memory up to {max(memory):.0f} MB")
    quickest = max(best["housetrain"], best["in 8 bits"])
    return quickest / best["decoding alone"], quickest / best["plain Keras"]


def whole_ones(folder: Path, links: Path, most: int = 2000) -> Path:
    """Link ordinary JPEGs into a folder: plain Keras stops at the first image that it cannot read."""
    from housetrain.errors import DecodeError
    from housetrain.images import decode

    links.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))[:most]):
        try:
            data = decode.read_bytes(path)
            decode.decode(data)
            header = decode.probe(data)
        except DecodeError:
            continue
        if header.format == "JPEG" and header.mode in ("RGB", "L"):
            (links / f"{number}.jpg").symlink_to(path.resolve())
    return links


def exports(run: ht.Run) -> None:
    print(measured(housetrain("benchmark", str(run.folder)))[2])


def main() -> int:
    """Measure each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append")
    parser.add_argument("--images", type=Path, default=SHARED / "PetImages")
    parser.add_argument("--photos", type=Path, default=SHARED / "photos")
    parser.add_argument("--work", type=Path, help="where to train; by default a folder that is removed")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    passed = []
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        runs = [ht.Run.open(path) for path in options.run or ()]
        if not runs:  # by the command line: this process must stay small, or its children's memory looks like its own
            arrays = str(work / "prepared")
            measured(
                housetrain(
                    "prepare",
                    str(options.images),
                    "--image-size",
                    "50",
                    "--color-mode",
                    "grayscale",
                    "--output",
                    arrays,
                )
            )
            net = ["--model", "cnn", "--conv", "3", "--nodes", "64", "--epochs", "3"]
            measured(housetrain("train", arrays, *net, "--output", str(work / "run")))
            runs = [ht.Run.open(work / "run")]
        for run in runs:
            measured(housetrain("export", str(run.folder)))
            measured(housetrain("export", str(run.folder), "--format", "openvino", "--precision", "int8"))
            spec = run.spec
            print(f"\n{run.recipe_json['model']}, {spec.height}x{spec.width} {spec.color_mode}")
            photo = next(path for path in sorted(options.photos.rglob("*.jpg")))
            seconds, megabytes = cold_start(run, photo, options.repeat)
            passed.append(seconds <= 0.6 and megabytes <= 200)
            for folder in (options.images, options.photos):
                print(f"  {folder.name}:")
                with tempfile.TemporaryDirectory() as tables:
                    of_decoding, of_keras = many(run, folder, Path(tables))
                passed.append(of_decoding >= 0.8 or of_keras >= 5)
            exports(run)
    return 0 if all(passed[:2]) else 1


if __name__ == "__main__":
    sys.exit(main())
