"""Counts of images in few words, at any width of the terminal and for any number of classes."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

import housetrain as ht
from housetrain import workflow
from housetrain.cli import terminal
from housetrain.data.prepared import Prepared
from housetrain.data.split_counts import class_sizes, sizes_of_each, split_sizes
from housetrain.data.split_manifest import SPLITS, Row, SplitManifest


def manifest_of(sizes: dict[str, tuple[int, int, int]]) -> SplitManifest:
    """Return a split with these numbers of train, validation and test images."""
    rows = [
        Row(f"{label}/{split}{number}.png", f"{label}{split}{number}", label, split, f"{label}{split}{number}")
        for label, counts in sizes.items()
        for split, count in zip(SPLITS, counts, strict=True)
        for number in range(count)
    ]
    return SplitManifest.of_rows(Path("/nowhere"), list(sizes), rows=rows, options={"balance": "weights"})


def of_classes(count: int) -> SplitManifest:
    return manifest_of({f"class {number}": (70 + number, 15, 15) for number in range(count)})


def test_few_classes_are_named_and_many_are_summed_up() -> None:
    assert split_sizes(of_classes(2)) == "141 train, 30 validation, 30 test"
    assert class_sizes(of_classes(2)) == "class 0 100, class 1 101"
    assert sizes_of_each(of_classes(2)) == (
        "141 train (class 0 70, class 1 71), 30 validation (class 0 15, class 1 15), 30 test (class 0 15, class 1 15)"
    )
    assert split_sizes(of_classes(81)) == "8,910 train, 1,215 validation, 1,215 test"
    assert class_sizes(of_classes(81)) == "81, from 100 images (class 0) to 180 (class 80)"
    assert class_sizes(of_classes(4)).startswith("4, from ") and sizes_of_each(of_classes(4)) == ""
    assert class_sizes(manifest_of(dict.fromkeys("abcd", (5, 1, 0)))) == "4 of 6 images each"


def printed(found: Prepared, width: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what `housetrain prepare` prints on a terminal of this width, or into a pipe."""
    other, end = pty.openpty() if width else os.pipe()
    monkeypatch.setenv("COLUMNS", str(width or 40))
    with os.fdopen(end, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        terminal.prepared(found)
        stream.flush()
        text = ""
        while "--model cnn" not in text:  # the end of the last line; a terminal is read in parts
            text += os.read(other, 100_000).decode()
    os.close(other)
    return text.splitlines()


@pytest.mark.parametrize("classes", [2, 10, 81])
@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_the_counts_fit_the_terminal(
    classes: int, width: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = of_classes(classes)
    found = Prepared(tmp_path, ht.InputSpec(height=8, width=8), split.classes, split, "x", tmp_path / "images.npy")
    lines = printed(found, width, monkeypatch)
    labels = [line.split(" ", 1)[0] for line in lines if not line.startswith(" ")]
    whole = classes == 2 and width in (120, None)
    assert labels == ["Images", *([] if whole else ["Classes"]), "Balance", "Arrays", "Next"]
    counts = lines[: 1 if whole else 2]
    assert max(map(len, counts)) <= (width or 200) and not lines[len(counts)].startswith(" "), "one line each"
    assert ("(class 0 70, class 1 71)" in lines[0]) == whole
    assert lines[0].startswith(f"Images   {split_sizes(split) if not whole else '141 train (class 0 70,'}")


def test_run_says_the_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from events_of import Listener
    from noise_folders import folder_of

    monkeypatch.chdir(tmp_path)
    images, notes = folder_of(tmp_path / "images", **{f"kind{number}": 8 for number in range(10)}), []
    listener = Listener(lambda event: notes.append(str(event["text"])) if event["event"] == "note" else None)
    workflow.run(images, recipe=ht.Recipe.of("mlp", epochs=1, nodes=4, image_size=12), callbacks=[listener])
    said = [note for note in notes if note.startswith(("Classes", "Prepared"))]
    assert said == [
        "Classes: 10 of 8 images each",
        "Prepared 60 train, 10 validation, 10 test as 12x12 grayscale in prepared/images-12x12-grayscale",
    ]
