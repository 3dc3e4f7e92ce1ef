"""Which folders of a folder are ready-made splits or parts of one set, and no classes.

In: a folder and the names of the folders in it. Out: `Splits`, or an error with the way out where a classification of
them would tell "train" from "test", or one camera from another. It lists folders, and opens no file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from housetrain.data.folder_layout import IMAGE_WORDS, folders, images_in, no_class_folders
from housetrain.data.split_names import Named, parts_of, split_and_rest, split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_list, natural_key


class Splits(NamedTuple):
    """Top folders that are splits, those of images without a label, and the folder that holds the classes of each."""

    of: dict[str, Named]
    unlabeled: tuple[str, ...]
    inside: str = ""


def ready_made(root: Path, tops: Sequence[str], *, parts: bool = False) -> Splits:
    """Return which top folders are ready-made splits; none where they are classes.

    They are splits when their names mean so (see `split_of`) and either all of them do, or one shares class folders
    with train, or train holds several folders: ``train`` may also be a class, beside ``car`` and ``bus``. Where names
    hold other words, too (``cats_train``, ``public_test``), what they share decides. A split without a class folder
    of train holds images without a label.

    Args:
        root: The folder.
        tops: The names of the folders in it.
        parts: Whether numbered parts of one set are meant, because a level of the classes is given.

    Raises:
        FolderError: All of them are named as splits, but hold no class folders; each class has splits of its own; or
            the folders are numbered parts of one set.
    """
    loose = {top: both for top in tops if (both := split_and_rest(top))[0]}
    word = _holder(root, loose)
    inside = {top: _lowered(folders(root / top / word)) for top in loose}
    named = _named(loose, inside)
    train = {label for top, split in named.items() if split == "train" for label in inside[top]}
    if not train:
        if named and len(named) == len(tops):
            raise _no_train(root, tops) if any(inside.values()) else no_class_folders(root, tops)
        if "train" in named.values() and len(set(named.values())) > 1 and not any(inside.values()):
            raise no_class_folders(root, sorted(named))
        if not parts:
            _refuse_sets(root, tops)
            _refuse_parts(root, tops)
        return Splits({}, ())
    shares = any(inside[top] & train for top, split in named.items() if split != "train")
    several = len(train) > 1 and len(named) > 1
    if not shares and not several and len(named) < len(tops):
        return Splits({}, ())
    labeled: dict[str, Named] = {
        top: split for top, split in named.items() if split == "train" or (inside[top] & train and split != "unlabeled")
    }
    return Splits(labeled, tuple(top for top in named if top not in labeled), word)


def splits_inside(root: Path, tops: Sequence[str]) -> bool:
    """Return whether every class folder holds splits of its own: ``cat/train``, ``cat/test``, ``dog/train``, ..."""
    for top in tops:
        names = folders(root / top)
        splits = {split_of(name) for name in names}
        flat = all(images_in(root / top / name) for name in names)
        if len(splits) < 2 or "train" not in splits or None in splits or not flat or images_in(root / top):
            return False
    return len(tops) > 1


def _named(loose: Mapping[str, tuple[Named | None, str]], inside: Mapping[str, set[str]]) -> dict[str, Named]:
    """Return the splits that the folders mean: by their names alone, or by names and what they share."""
    named: dict[str, Named] = {top: split for top, (split, rest) in loose.items() if split and not rest}
    by_rest: defaultdict[str, dict[str, Named]] = defaultdict(dict)
    for top, (split, rest) in loose.items():
        if split and rest:
            by_rest[rest][top] = split
    pairs = [group for group in by_rest.values() if "train" in group.values() and len(set(group.values())) > 1]
    if len(pairs) > 1 and not any(inside.values()):
        one, other = (next(iter(group)) for group in pairs[:2])
        raise FolderError(
            f"{format_list(sorted(top for group in pairs for top in group))} hold the splits of several classes",
            expected="train/<class>/image and test/<class>/image, or one folder a class",
            do="make folders train and test with a folder for each class in them; to split all images again, give "
            f"folders one class: --map FILE with rows such as {one},CLASS and {other},CLASS",
        )
    for group in pairs if len(pairs) == 1 else ():
        named |= group
    train = [top for top, (split, _) in loose.items() if split == "train" and len(inside[top]) > 1]
    for top, (split, _) in loose.items():
        if split and any(len(inside[top] & inside[other]) > 1 for other in train if other != top):
            named[top] = split
            named |= {other: "train" for other in train if len(inside[top] & inside[other]) > 1}
    return named


def _refuse_sets(root: Path, tops: Sequence[str]) -> None:
    """Refuse folders each of which is a set of its own: ``a/train/cat``, ``b/train/cat``."""
    for top in tops:
        names = folders(root / top)
        train = [name for name in names if split_of(name) == "train"]
        if len(names) < 2 or not train or not all(map(split_of, names)) or not folders(root / top / train[0]):
            return
    if len(tops) > 1:
        raise FolderError(
            f"{format_list(tops)} are sets of their own, each with its splits, and no classes",
            expected="one folder of class folders, or of splits",
            do=f"give one of them: {root / tops[0]}; to learn from one and test on another: --train-dir and --test-dir",
            folder=str(root),
        )


def _refuse_parts(root: Path, tops: Sequence[str]) -> None:
    """Refuse numbered parts of one set, such as ``images_part_1`` and ``images_part_2``, or ``fold1`` and ``fold2``."""
    parts = parts_of(tops)
    if not parts:
        return
    inner = [_lowered(folders(root / top)) for top in tops]
    counts = Counter(name for one in inner for name in one)
    recur = all(inner) and all(count > 1 for count in counts.values())
    common = sorted(counts, key=natural_key) if recur else []
    names = format_list(sorted(tops, key=natural_key))
    if len(common) > 1:
        what = f"{names} hold the same folders ({format_list(common)}): they look like parts of one set, not classes"
        do = "--class-level 2 makes the inner folders the classes; where these folders are the classes: --class-level 1"
    elif parts == "parts" and not any(len(one) > 1 for one in inner):
        error = no_class_folders(root, tops, kind="parts of one set")
        raise FolderError(
            error.what, expected=error.expected,
            do=f"{error.do}; where these folders are the classes: --class-level 1", **error.received,
        )  # fmt: skip
    else:
        return
    raise FolderError(what, expected="class folders", do=do, folder=str(root))


def _no_train(root: Path, tops: Sequence[str]) -> FolderError:
    return FolderError(
        f"{format_list(tops)} look like splits, not classes, and none of them holds class folders to train on",
        expected="a training folder of class folders beside them",
        do="name it: --train-dir FOLDER, with --validation-dir or --test-dir; where these are classes: --class-level 1",
        folder=str(root),
    )


def _holder(root: Path, loose: Mapping[str, object]) -> str:
    """Return ``images`` where that is the only folder of every split and holds the class folders, else ``""``."""
    names = {tuple(folders(root / top)) for top in loose}
    one = next(iter(names)) if len(names) == 1 else ()
    if len(one) != 1 or one[0].lower() not in IMAGE_WORDS:
        return ""
    return one[0] if all(len(folders(root / top / one[0])) > 1 for top in loose) else ""


def _lowered(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}
