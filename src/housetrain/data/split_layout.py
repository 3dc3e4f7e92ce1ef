"""Which folders of a folder are ready-made splits or parts of one set, and no classes.

In: a folder and the names of the folders in it. Out: `Splits`, or an error with the way out where a classification of
them would tell "train" from "test", or one camera from another. It lists folders, and opens no file.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from housetrain.data.folder_layout import IMAGE_WORDS, MASK_WORDS, folders, images_in
from housetrain.data.label_proposals import no_class_folders, proposals
from housetrain.data.split_names import Named, album_kind, albums, parts_of, short_splits, split_and_rest, split_of
from housetrain.errors import FolderError
from housetrain.system.text import format_list, natural_key

_MOST_WRAPPERS = 3  # folders around others that hold nothing else
_WORDS = """
    left right top bottom side front back rear upper lower above below od os
    day night indoor outdoor gray depth ir cropped augmented male female misc
"""
_VIEWS = MASK_WORDS | IMAGE_WORDS | frozenset(_WORDS.split())
"""What divides the images of a class, and is rarely a class beside numbers."""
_SHOWN = 6  # names in one line


class Splits(NamedTuple):
    """Ready-made splits.

    Attributes:
        of: Top folder -> the split that it is.
        unlabeled: Top folders of images without a label.
        inside: Top folder -> the folder in it that holds the classes, where that is another one: ``train/images/cat``.
    """

    of: dict[str, Named]
    unlabeled: tuple[str, ...]
    inside: Mapping[str, str] = {}


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
    short = short_splits(tops)
    loose: dict[str, tuple[Named | None, str]]
    loose = {top: (short[top], "") for top in tops} if short else _loose(root, tops)
    holders = {top: name for top in loose if (name := _holder(root, top))}
    inside = {top: _lowered(folders(root / top / holders.get(top, ""))) for top in loose}
    named = _named(loose, inside)
    train = {label for top, split in named.items() if split == "train" for label in inside[top]}
    if not train:
        if named and len(named) == len(tops):
            raise (
                _no_train(root, tops)
                if any(inside.values())
                else _flat(root, tops, "splits")
                if short
                else no_class_folders(root, tops)
            )
        if "train" in named.values() and len(set(named.values())) > 1 and not any(inside.values()):
            raise no_class_folders(root, sorted(named))
        if not parts:
            nested = any(folders(root / top) for top in tops)
            if nested:
                _refuse_sets(root, tops)
                _refuse_initials(root, tops)
            _refuse_albums(root, tops)
            _refuse_parts(root, tops, nested=nested)
        return Splits({}, ())
    shares = any(inside[top] & train for top, split in named.items() if split != "train")
    several = len(train) > 1 and len(named) > 1
    if not shares and not several and len(named) < len(tops):
        return Splits({}, ())
    elsewhere = set[str]().union(*(inside[top] for top, split in named.items() if split != "train")) - train
    if len(train) == 1 and shares and elsewhere:
        raise _anomalies(root, named, sorted(train), sorted(elsewhere, key=natural_key))
    labeled: dict[str, Named] = {
        top: split for top, split in named.items() if split == "train" or (inside[top] & train and split != "unlabeled")
    }
    return Splits(labeled, tuple(top for top in named if top not in labeled), holders)


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


def _loose(root: Path, tops: Sequence[str]) -> dict[str, tuple[Named | None, str]]:
    """Return what the names of splits mean. ``rps`` beside ``rps-test-set`` is its training folder.

    That counts for folders of class folders, and for several: ``test drive`` beside ``drive`` is a class.
    """
    found = {top: both for top in tops if (both := split_and_rest(top))[0]}
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for split, rest in found.values():
        splits[rest].add(str(split))
    plain = {top: " ".join(re.findall(r"[^\W\d_]+", top.lower())) for top in tops if top not in found}
    bases = [top for top, rest in plain.items() if rest and splits[rest] and splits[rest] <= {"validation", "test"}]
    train = [top for top in bases if len(bases) > 1 or folders(root / top)]
    return {**found, **{top: ("train", plain[top]) for top in train}}


def _refuse_sets(root: Path, tops: Sequence[str]) -> None:
    """Refuse folders each of which is a set of its own: ``a/train/cat``, ``b/train/cat``."""
    classes = {top: _set_classes(root / top) for top in tops}
    sets = [top for top in tops if classes[top]]
    inside = set[str]().union(*classes.values())
    below = {top: _unwrapped(root / top) for top in tops}
    ways = {path.relative_to(root / top).as_posix() for top, path in below.items()}
    same = _lowered(folders(below[tops[0]])) if len(tops) > 1 and len(ways) > 1 else set()
    if len(same) > 1 and all(_lowered(folders(path)) == same for path in below.values()):
        raise FolderError(
            f"{format_list(tops)} hold the same folders ({format_list(_few(sorted(same)))}) at different depths: they "
            "look like copies of one set, not classes",
            expected="one folder of class folders",
            do=f"give one of them: {below[tops[-1]]}; where these folders are the classes: --class-level 1",
            folder=str(root),
        )
    # beside a set may lie the same classes without splits
    rest = all(len(_lowered(folders(below[top])) & inside) > 1 for top in tops if top not in sets)
    if sets and rest and len(tops) > 1:
        which = "each with its splits" if len(sets) == len(tops) else f"{format_list(sets)} with its splits"
        raise FolderError(
            f"{format_list(tops)} are sets of their own, {which}, and no classes",
            expected="one folder of class folders, or of splits",
            do=f"give one of them: {root / sets[0]}; to learn from one and test on another: --train-dir and --test-dir",
            folder=str(root),
        )


def _set_classes(folder: Path) -> set[str]:
    """Return the classes of a folder that holds splits, and at most masks beside them; none where it holds others."""
    folder = _unwrapped(folder)
    names = folders(folder)
    train = [name for name in names if split_of(name) == "train"]
    known = all(split_of(name) or name.lower() in MASK_WORDS for name in names)
    return _lowered(folders(folder / train[0])) if len(names) > 1 and train and known else set()


def _unwrapped(folder: Path) -> Path:
    """Return the folder itself, or the first one below it that holds more than one folder."""
    at = folder
    for _ in range(_MOST_WRAPPERS):
        below = folders(at)
        if len(below) != 1 or images_in(at):
            break
        at /= below[0]
    return at


def _refuse_initials(root: Path, tops: Sequence[str]) -> None:
    """Refuse folders that only divide others: by their first letter (``a/abbey``), or by digits (``0/3f``)."""
    inner = {top: folders(root / top) for top in tops}
    if len(tops) < 2 or not all(inner.values()):
        return
    every = [name for names in inner.values() for name in names]
    if all(len(top) == 1 and name.lower().startswith(top.lower()) for top, names in inner.items() for name in names):
        raise FolderError(
            f"{format_list(_few(tops))} hold folders by their first letter, such as {format_list(every[:3])}, and are "
            "no classes",
            expected="class folders",
            do="--class-level 2 makes the inner folders the classes; where these folders are the classes: "
            "--class-level 1",
            folder=str(root),
        )
    shards = all(re.fullmatch(r"[0-9a-f]{1,2}", name) for name in (*tops, *every))
    codes = all(re.search(r"\d", name) for name in (*tops, *every)) and proposals(root)
    if shards or codes:
        raise _flat(root, _few(tops), "parts of one set")


def _refuse_parts(root: Path, tops: Sequence[str], *, nested: bool) -> None:
    """Refuse numbered parts of one set, such as ``images_part_1`` and ``images_part_2``, or ``fold1`` and ``fold2``.

    Folders that are called by numbers or codes (``0``, ``A03``) are parts where all hold the same folders of names.
    """
    parts = parts_of(tops)
    codes = len(tops) > 1 and all(re.search(r"\d", top) for top in tops)
    grades = any(
        re.match(r"(class|grade|stage|level|type|category|label|score|kl)", top, re.IGNORECASE) for top in tops
    )
    if not parts and not (codes and nested and not grades):
        return
    inner = [_lowered(folders(root / top)) for top in tops]
    counts = Counter(name for one in inner for name in one)
    if not parts and any(one != inner[0] or re.search(r"\d", "".join(one)) or one <= _VIEWS for one in inner):
        return
    recur = all(inner) and all(count > 1 for count in counts.values())
    common = sorted(counts, key=natural_key) if recur else []
    names = format_list(sorted(tops, key=natural_key))
    if len(common) > 1:
        what = f"{names} hold the same folders ({format_list(common)}): they look like parts of one set, not classes"
        level = "2" if parts else "name"
        do = f"--class-level {level} makes the inner folders the classes; where these folders are the classes: "
        do += "--class-level 1"
    elif parts == "parts" and not any(len(one) > 1 for one in inner):
        raise _flat(root, tops, "parts of one set")
    else:
        return
    raise FolderError(what, expected="class folders", do=do, folder=str(root))


def _refuse_albums(root: Path, tops: Sequence[str]) -> None:
    """Refuse folders that are named by days or by a camera: ``2024-05-01``, ``100CANON``."""
    named = albums(tops)
    if not named:
        return
    kind = "dates" if any(album_kind(name) == "date" for name in named) else "folders of a camera"
    level, names = 1, [root / top for top in named]
    for level in range(2, _MOST_WRAPPERS + 2):
        names = [folder / name for folder in names for name in folders(folder)]
        inner = {folder.name for folder in names}
        if len(inner) > 1 and not albums(sorted(inner)) and not all(name.isdecimal() for name in inner):
            held = sorted(inner, key=natural_key)
            said = f"{format_list(_few(named))} look like {kind}, not classes; they hold {format_list(_few(held))}"
            do = f"--class-level {level} makes the inner folders the classes; where these folders are the classes: "
            raise FolderError(said, expected="class folders", do=f"{do}--class-level 1", folder=str(root))
    raise _flat(root, _few(named), kind)


def _few(names: Sequence[str]) -> Sequence[str]:
    """Return as many names as fit in one line."""
    return names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"]


def _flat(root: Path, tops: Sequence[str], kind: str) -> FolderError:
    """Return the error for folders that hold no class folders, with the way to use them as classes all the same."""
    error = no_class_folders(root, tops, kind=kind)
    do = f"{error.do}; where these folders are the classes: --class-level 1"
    return FolderError(error.what, expected=error.expected, do=do, **error.received)


def _no_train(root: Path, tops: Sequence[str]) -> FolderError:
    return FolderError(
        f"{format_list(tops)} look like splits, not classes, and none of them holds class folders to train on",
        expected="a training folder of class folders beside them",
        do="name it: --train-dir FOLDER, with --validation-dir or --test-dir; where these are classes: --class-level 1",
        folder=str(root),
    )


def _anomalies(root: Path, named: Mapping[str, Named], train: Sequence[str], others: Sequence[str]) -> FolderError:
    return FolderError(
        f"The training folder holds {train[0]} alone, {format_list(_few(others))} are in the others only: data to "
        "find anomalies with, not to train classes on",
        expected="images of each class in the training folder",
        do=f"to tell these classes apart, give the folder that holds them all: "
        f"{root / next(top for top, split in named.items() if split != 'train')}",
        folder=str(root),
    )


def _holder(root: Path, top: str) -> str:
    """Return the only folder of a split where it holds the class folders and repeats the split or says nothing.

    ``images`` of ``train/images/cat``, ``train`` of ``train/train/cat``; else ``""``.
    """
    names = folders(root / top)
    if len(names) != 1 or images_in(root / top) or len(folders(root / top / names[0])) < 2:
        return ""
    says_nothing = names[0].lower() in IMAGE_WORDS or names[0].lower() == top.lower()
    return names[0] if says_nothing or split_of(names[0]) == split_and_rest(top)[0] else ""


def _lowered(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}
