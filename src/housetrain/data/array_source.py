"""Arrays -> a prepared folder, without image files.

In: pairs of images and labels, as ``keras.datasets`` loads them. Out: the folder that `housetrain.data.prepared` opens,
like one made from image files. It knows nothing of models.

The rules are those for image files: copies of one image are used once, an image with two labels is left out, and an
image that is in two splits stays in the test split. The validation images are chosen by content hash and seed.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from housetrain.data import npy_writer
from housetrain.data.assign import position
from housetrain.data.prepared_folder import Filled, digest, write_prepared
from housetrain.data.split_manifest import SPLITS, LeftOut, Row, SplitManifest, SplitName
from housetrain.errors import DataError
from housetrain.images.input_spec import InputSpec

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class _Pair(NamedTuple):
    images: NDArray[np.uint8]  # (N, height, width, channels)
    labels: NDArray[np.int64]  # (N,)


class _Item(NamedTuple):
    split: SplitName
    number: int
    label: str
    sha256: str

    @property
    def path(self) -> str:
        return f"{self.split}/{self.number}"


def write_arrays(
    given: Mapping[SplitName, tuple[ArrayLike, ArrayLike]],
    *,
    classes: Sequence[str] | None,
    folder: Path | None,
    validation_split: float,
    test_split: float,
    seed: int,
) -> tuple[Path, dict[str, Any]]:
    """Write arrays as a prepared folder; see `housetrain.data.prepared.Prepared.from_arrays` for the arguments.

    Returns:
        The folder and its manifest.
    """
    pairs = {name: _checked(name, *given[name]) for name in SPLITS if name in given}
    shape = _one_shape(pairs)
    shares: dict[SplitName, float] = {"validation": validation_split, "test": test_split}
    shares = {name: share for name, share in shares.items() if name not in pairs}
    _check_shares(shares)
    names = _class_names(pairs, classes)
    items, left_out = _unique(
        [
            _Item(name, number, names[label], hashlib.sha256(image).hexdigest())
            for name, pair in pairs.items()
            for number, (image, label) in enumerate(zip(pair.images, pair.labels.tolist(), strict=True))
        ]
    )
    chosen = _carve(items, shares, seed)
    rows = [Row(item.path, item.sha256, item.label, chosen.get(item, item.split), item.sha256) for item in items]
    _check_rows(rows, names, has_test=shares.get("test") != 0)
    spec = InputSpec(height=shape[0], width=shape[1], color_mode="grayscale" if shape[2] == 1 else "rgb")
    options: dict[str, Any] = {"arrays": True, "balance": "weights"}
    if shares:
        options |= {"seed": seed, **{f"{name}_split": share for name, share in shares.items()}}
    split = SplitManifest.of_rows("", names, rows=rows, left_out=left_out, options=options)
    if folder is None:
        folder = Path("prepared") / f"arrays-{shape[0]}x{shape[1]}-{spec.color_mode}-{split.fingerprint[:6]}"
    split = replace(split, root=folder.absolute())  # where the images are; the fingerprint does not depend on it
    request = {"split": digest("arrays", split.fingerprint, spec.to_json()), "catalog": ""}
    fill = partial(_fill, split=split, pairs=pairs)
    return folder, write_prepared(folder, split, spec, fill=fill, request=request, decoder={})


def _fill(part: Path, *, split: SplitManifest, pairs: Mapping[SplitName, _Pair]) -> Filled:
    """Write each row's image into the array file."""
    images = {f"{name}/{number}": image for name, pair in pairs.items() for number, image in enumerate(pair.images)}
    descriptor = os.open(part, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        for number, row in enumerate(split.rows):
            npy_writer.write_row(descriptor, number, images[row.path])
    finally:
        os.close(descriptor)
    return Filled({}, len(split.rows))


# ------------------------------------------------------------------------------------------------- checks
def _checked(name: str, images: ArrayLike, labels: ArrayLike) -> _Pair:
    """Return one pair in its canonical shape, or name everything that is wrong with it."""
    pixels, numbers = np.asarray(images), np.asarray(labels)
    problems = [*_image_problems(pixels), *_label_problems(numbers)]
    if not problems and len(pixels) != len(numbers):
        problems.append(f"there are {len(pixels)} images and {len(numbers)} labels")
    if problems:
        raise DataError(
            f"The {name} arrays cannot be used: {'; '.join(problems)}",
            expected="uint8 images (N, height, width) or (N, height, width, 1 or 3), and integer labels (N,) or (N, 1)",
            images=f"{pixels.dtype}{pixels.shape}",
            labels=f"{numbers.dtype}{numbers.shape}",
        )
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return _Pair(np.ascontiguousarray(pixels), numbers.reshape(-1).astype(np.int64))


def _one_shape(pairs: Mapping[SplitName, _Pair]) -> tuple[int, ...]:
    """Return the height, width and channels that the images of all splits share."""
    shapes: dict[str, tuple[int, ...]] = {name: pair.images.shape[1:] for name, pair in pairs.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(
            "The images of the splits differ in shape",
            expected="one height, width and number of channels",
            **{name: str(shape) for name, shape in shapes.items()},
        )
    return shapes["train"]


def _check_shares(shares: Mapping[SplitName, float]) -> None:
    validation, test = shares.get("validation", 0.5), shares.get("test", 0.0)
    if not (0 < validation < 1 and 0 <= test < 1 and sum(shares.values()) < 1):
        raise DataError(
            "No images are left for training or validation",
            expected="shares between 0 and 1 with a sum below 1; a test_split of 0 for no test",
            **{f"{name}_split": f"{share:g}" for name, share in shares.items()},
        )


def _image_problems(images: NDArray[Any]) -> list[str]:
    shape, problems = images.shape, []
    if not images.size:
        problems.append("there is no image")
    elif images.ndim == 2:
        problems.append("the images are flat (restore their shape: x.reshape(-1, 28, 28) for 28x28)")
    elif images.ndim == 4 and shape[-1] == 4:
        problems.append("the images have 4 channels (drop the transparency: x[..., :3])")
    elif images.ndim == 4 and shape[-1] not in (1, 3) and shape[1] in (1, 3):
        problems.append("the channels come first (move them: np.moveaxis(x, 1, -1))")
    elif images.ndim not in (3, 4) or (images.ndim == 4 and shape[-1] not in (1, 3)):
        problems.append("the images have the wrong shape")
    if images.size and images.dtype != np.uint8:
        problems.append(f"the pixels are {images.dtype}, not uint8 ({_to_uint8(images)})")
    return problems


def _to_uint8(images: NDArray[Any]) -> str:
    """Return how to make these pixels uint8."""
    if images.dtype == np.bool_:
        return "convert them: x.astype('uint8') * 255"
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        return "give all images one size and a numeric type"
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "some are NaN or infinite"
    if low < 0 or high > 255:
        return f"bring them to 0 to 255 first, they range from {low:g} to {high:g}"
    if np.issubdtype(images.dtype, np.floating):
        scaled = "(x * 255).round()" if high <= 1 else "x.round()"
        return f"convert them: {scaled}.astype('uint8'); models scale pixels themselves"
    return "convert them: x.astype('uint8')"


def _label_problems(labels: NDArray[Any]) -> list[str]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        return ["the labels are one-hot (convert them: y.argmax(axis=1))"]
    if labels.ndim not in (1, 2):
        return ["the labels have the wrong shape"]
    if not np.issubdtype(labels.dtype, np.integer):
        return [f"the labels are {labels.dtype}, not integers (name the classes with classes=, label them 0, 1, ...)"]
    return ["some labels are negative"] if labels.size and labels.min() < 0 else []


def _class_names(pairs: Mapping[SplitName, _Pair], classes: Sequence[str] | None) -> tuple[str, ...]:
    highest = max(int(pair.labels.max()) for pair in pairs.values())
    if classes is None:
        return tuple(map(str, range(highest + 1)))
    names = tuple(classes)
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if isinstance(classes, str) or wrong or len(set(names)) != len(names) or len(names) <= highest:
        raise DataError(
            "The class names do not fit the labels",
            expected=f"{highest + 1} or more different names, in the order of the labels",
            classes=list(names),
        )
    return names


def _check_rows(rows: Sequence[Row], names: Sequence[str], *, has_test: bool) -> None:
    counts = Counter((row.label, row.split) for row in rows)
    problems = ["there is one class"] if len(names) < 2 else []
    problems += [
        f"class {label!r} has no {name} image" for label in names for name in SPLITS[:2] if not counts[label, name]
    ]
    if has_test and not any(row.split == "test" for row in rows):
        problems.append("no test image is left")
    if problems:
        raise DataError(
            f"The arrays cannot be used: {'; '.join(problems[:5])}",
            expected="two or more classes, each with different images for train and validation",
            do="label the classes 0, 1, 2, ... without a gap, or add images",
        )


# ------------------------------------------------------------------------------------------------- rules
def _unique(items: Sequence[_Item]) -> tuple[list[_Item], list[LeftOut]]:
    """Return the items to use and those left out: copies, copies in another split, images with two labels."""
    groups: defaultdict[str, list[_Item]] = defaultdict(list)
    for item in items:
        groups[item.sha256].append(item)
    kept, left_out = [], []
    for group in groups.values():
        # The test split keeps its images; then validation does.
        first, *copies = sorted(group, key=lambda item: (-SPLITS.index(item.split), item.number))
        if len({item.label for item in group}) > 1:
            labels = " and ".join(sorted({item.label for item in group}))
            left_out += [LeftOut(item.path, item.label, f"two-labels: it is labeled {labels}") for item in group]
            continue
        kept.append(first)
        for item in copies:
            kind = "exact-duplicate" if item.split == first.split else "split-leak"
            left_out.append(LeftOut(item.path, item.label, f"{kind}: the same image as {first.path}"))
    return kept, left_out


def _carve(items: Sequence[_Item], shares: Mapping[SplitName, float], seed: int) -> dict[_Item, SplitName]:
    """Return the training items to validate and to test with: those highest and lowest in the hash order.

    Each class has at least one of either, and one is left to train with.
    """
    by_class: defaultdict[str, list[tuple[float, _Item]]] = defaultdict(list)
    for item in items:
        if item.split == "train":
            by_class[item.label].append((position(seed, item.sha256), item))
    chosen: dict[_Item, SplitName] = {}
    for members in by_class.values():
        members.sort(reverse=True)
        for name, share in shares.items():
            if not share:
                continue
            ordered = members if name == "validation" else members[::-1]
            count = sum((place >= 1.0 - share) if name == "validation" else (place < share) for place, _ in members)
            free = [item for _, item in ordered if item not in chosen]
            chosen.update(dict.fromkeys(free[: min(max(1, count), len(free) - 1)], name))
    return chosen
