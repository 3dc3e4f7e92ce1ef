"""Speed of `prepare` against the loop of the tutorials and against decoding alone, in the same run.

    python benchmarks/prepare.py                       # both folders, grayscale 50 and RGB 96, five interleaved repeats
    python benchmarks/prepare.py --memory 25000 100000 # peak memory of parent and workers, on generated images

Expected: at least 1.7x the plain loop, at least 0.85 of decoding alone on all cores, and the same images (mean absolute
difference to an area-resized full decode below 2 of 255). The script fails otherwise.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from decoding import Decoding

from housetrain.data.catalog import Catalog, scan
from housetrain.data.prepare import Prepared, prepare
from housetrain.data.split import split
from housetrain.data.split_manifest import SPLITS, SplitManifest
from housetrain.images.input_spec import InputSpec
from housetrain.system.process_pool import map_in_workers

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SPECS = (InputSpec(50, 50, "grayscale"), InputSpec(96, 96, "rgb"))
PLAIN_LEAST, DECODING_LEAST, DIFFERENCE_MOST = 1.7, 0.85, 2.0


def plain(root: Path, names: Sequence[str], spec: InputSpec, file: Path) -> np.ndarray:
    """The tutorials' loop, and the array saved for the next time as they do it."""
    images = []
    for name in names:
        image = cv2.imread(
            str(root / name), cv2.IMREAD_GRAYSCALE if spec.color_mode == "grayscale" else cv2.IMREAD_COLOR
        )
        images.append(cv2.resize(image, (spec.width, spec.height)))
    array = np.array(images)
    np.save(file, array)
    return array


def plain_threads(root: Path, names: Sequence[str], spec: InputSpec) -> None:
    """The same reading and decoding, without the rest, on as many threads as cores."""
    flag = cv2.IMREAD_GRAYSCALE if spec.color_mode == "grayscale" else cv2.IMREAD_COLOR

    def some(start: int) -> None:
        for name in names[start::cores]:
            cv2.imread(str(root / name), flag)

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(some, range(cores)))


def difference(prepared: Prepared, sample: int = 400) -> tuple[float, float]:
    """Mean absolute difference to the area-resized full decode: of ours, and of the tutorials' cv2.resize."""
    ours, theirs = [], []
    spec, root = prepared.spec, prepared.split.root
    for name in SPLITS:
        images, paths = prepared.arrays(name).images, prepared.arrays(name).paths
        for number in range(0, len(paths), max(1, len(prepared.split.rows) // sample)):
            flag = cv2.IMREAD_GRAYSCALE if spec.color_mode == "grayscale" else cv2.IMREAD_COLOR_RGB
            whole = cv2.imread(str(root / paths[number]), flag)
            right = cv2.resize(whole, (spec.width, spec.height), interpolation=cv2.INTER_AREA).astype(float)
            ours.append(np.abs(images[number].reshape(right.shape) - right).mean())
            theirs.append(np.abs(cv2.resize(whole, (spec.width, spec.height)) - right).mean())
    return float(np.mean(ours)), float(np.mean(theirs))


def timed(function: Callable[[], object]) -> float:
    os.sync()  # what another part has left unwritten is not this one's to wait for
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def compare(title: str, manifest: SplitManifest, spec: InputSpec, *, repeats: int, scratch: Path) -> list[str]:
    names = [row.path for row in manifest.rows]
    seconds: dict[str, list[float]] = {"plain": [], "prepare": [], "decoding": [], "cv2 threads": []}
    prepared: Prepared | None = None
    for repeat in range(repeats + 1):  # the first warms the page cache and is not counted
        target = scratch / f"{title}-{spec.height}-{repeat}"

        def ours(target: Path = target) -> None:
            nonlocal prepared
            prepared = prepare(
                manifest, target, image_size=(spec.height, spec.width), color_mode=spec.color_mode, resize=spec.resize
            )

        def decoding() -> None:
            for _ in map_in_workers(Decoding(manifest.root, spec), names):
                pass

        took = {
            "plain": timed(lambda: plain(manifest.root, names, spec, scratch / "plain.npy")),
            "prepare": timed(ours),
            "decoding": timed(decoding),
            "cv2 threads": timed(lambda: plain_threads(manifest.root, names, spec)),
        }
        if repeat:
            for name, value in took.items():
                seconds[name].append(value)
            shutil.rmtree(target)
        elif prepared is not None:
            mine, theirs = difference(prepared)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    # Ratios of the same repeat: neighbors on a shared machine slow both.
    gain = statistics.median(a / b for a, b in zip(seconds["plain"], seconds["prepare"], strict=True))
    share = statistics.median(a / b for a, b in zip(seconds["decoding"], seconds["prepare"], strict=True))
    threads = statistics.median(a / b for a, b in zip(seconds["cv2 threads"], seconds["prepare"], strict=True))
    print(f"\n{title}: {len(names)} images, {spec.color_mode} {spec.height}x{spec.width}")
    words = {
        "plain": "plain loop: imread, resize, np.save, one thread",
        "prepare": "housetrain prepare, from a split to the finished folder",
        "decoding": "our decoding alone, all cores",
        "cv2 threads": "cv2.imread alone, full size, a thread per core",
    }
    for name, values in seconds.items():
        spread = f"{min(values):.2f} to {max(values):.2f} s"
        print(f"  {median[name]:7.2f} s  {len(names) / median[name]:8,.0f} images/s  ({spread})  {words[name]}")
    print(f"  prepare is {gain:.2f}x the plain loop, {share:.2f} of decoding alone, {threads:.2f} of cv2 threads")
    print(f"  mean absolute difference to an area-resized full decode: {mine:.2f} (plain loop: {theirs:.2f}) of 255")
    problems = []
    if gain < PLAIN_LEAST:
        problems.append(f"{title} {spec.color_mode}: {gain:.2f}x the plain loop, expected {PLAIN_LEAST}")
    if share < DECODING_LEAST:
        problems.append(f"{title} {spec.color_mode}: {share:.2f} of decoding alone, expected {DECODING_LEAST}")
    if mine > DIFFERENCE_MOST:
        problems.append(f"{title} {spec.color_mode}: images differ by {mine:.2f}, expected at most {DIFFERENCE_MOST}")
    return problems


def generate(folder: Path, count: int) -> None:
    """Write small different JPEGs in two classes."""
    random = np.random.default_rng(0)
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
    for number in range(count):
        image = cv2.resize(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64))
        path = folder / ("left", "right")[number % 2] / f"{number}.jpg"
        cv2.imwrite(str(path), image)
        os.utime(path, (1e9, 1e9))  # a file of this very second is read twice: it might still be being written


class Peak:
    """The largest memory while the block runs, in MB: resident of this process, and a child's own (not shared)."""

    def __init__(self) -> None:
        self.parent = self.worker = 0.0
        self._stop = threading.Event()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(0.05):
            self.parent = max(self.parent, me.memory_info().rss / 1e6)
            for child in me.children(recursive=True):
                try:
                    self.worker = max(self.worker, child.memory_full_info().uss / 1e6)
                except psutil.Error:
                    continue


def memory(counts: Sequence[int], scratch: Path) -> list[str]:
    """Measure each count in a process of its own, so that none inherits the other's memory."""
    peaks = {}
    for count in counts:
        folder = scratch / f"generated-{count}"
        generate(folder, count)
        command = [sys.executable, __file__, "--memory-child", str(folder), str(scratch / f"out-{count}")]
        words = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"{count:7,} images: {words.strip()}")
        peaks[count] = float(words.split("workers")[1].split()[0])
        shutil.rmtree(folder)
    if max(peaks.values()) > 1.15 * min(peaks.values()):
        return [f"the memory of a worker grows with the number of images: {peaks}"]
    return []


def memory_child(folder: Path, target: Path) -> None:
    import psutil

    catalog: Catalog = scan(folder)
    manifest = split(catalog)
    before = psutil.Process().memory_info().rss / 1e6
    with Peak() as peak:
        took = timed(lambda: prepare(manifest, target))
    again = timed(lambda: prepare(folder, target))
    print(
        f"workers {peak.worker:.0f} MB of their own each at most, "
        f"parent {before:.0f} MB before and {peak.parent:.0f} MB at most, "
        f"{len(manifest.rows) / took:,.0f} images/s, second call with the folder {again:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folders", type=Path, nargs="+", default=[SHARED / "photos", SHARED / "PetImages"])
    parser.add_argument("--scratch", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--memory", type=int, nargs="+", metavar="COUNT", help="measure memory instead")
    parser.add_argument("--memory-child", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if asked.memory_child:
        memory_child(*asked.memory_child)
        return
    here = Path(__file__).parent
    asked_git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(asked_git, cwd=here, capture_output=True, text=True, check=False).stdout
    print(
        f"$ python {shlex.join(sys.argv)}   (commit {commit.strip() or 'unknown'}, {os.cpu_count()} cores, cv2 ", end=""
    )
    print(f"{cv2.__version__}, {time.strftime('%Y-%m-%d')})")
    problems = []
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        os.environ.setdefault("HOUSETRAIN_CACHE", str(Path(scratch) / "cache"))
        if asked.memory:
            problems += memory(asked.memory, Path(scratch))
        else:
            for folder in asked.folders:
                manifest = split(scan(folder))
                for spec in SPECS:
                    problems += compare(folder.name, manifest, spec, repeats=asked.repeats, scratch=Path(scratch))
    if problems:
        sys.exit("\n" + "\n".join(problems))


if __name__ == "__main__":
    main()
