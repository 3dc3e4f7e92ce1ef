"""The confusion matrix: the table, its description, its drawing."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import of_class, parsed, texts

from housetrain.report.plots import confusion


def test_confusion_by_hand() -> None:
    table = confusion.confusion_table(("a", "b", "c"), ((8, 2, 0), (1, 3, 0), (0, 0, 0)))
    assert table.shares[0] == (0.8, 0.2, 0.0)
    assert table.shares[2] == (0.0, 0.0, 0.0), "a class without images has no shares"
    assert table.pairs == (("a", "b", 2, 0.2), ("b", "a", 1, 0.25))
    assert texts(confusion.draw_confusion(table)).count("8") == 1


def test_with_too_many_classes_those_with_mistakes_are_kept() -> None:
    counts = np.eye(30, dtype=int) * 5
    counts[7, 9] = counts[20, 3] = 2
    table = confusion.confusion_table([f"c{index}" for index in range(30)], counts.tolist(), limit=4)
    assert table.classes == ("c3", "c7", "c9", "c20")
    assert (table.left_out, table.counts[1]) == (26, (0, 5, 2, 0))


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 15, 30, 50, 100])
def test_confusion_is_legible_at_every_size(classes: int) -> None:
    random = np.random.default_rng(classes)
    counts = random.poisson(0.3, (classes, classes)) + np.eye(classes, dtype=int) * (900 if classes <= 12 else 12_000)
    names = [f"class number {index}" for index in range(classes)]
    table = confusion.confusion_table(names, counts.tolist())
    drawing = confusion.draw_confusion(table)
    root = parsed(drawing)
    assert float(root.get("width", 0)) < 1150, "fits a desktop"
    sizes = [float(text.get("font-size", 12)) for text in root.iter("text")]
    assert min(sizes) >= 7
    cells = of_class(drawing, "correct") + of_class(drawing, "wrong")
    assert len(cells) == int((counts > 0).sum())
    assert len(str(drawing)) < 2_000_000
    if classes <= 12:
        assert sum(text == "900" or text == "901" or text == "902" for text in texts(drawing)) >= 1


def test_each_cell_carries_its_key() -> None:
    drawing = confusion.draw_confusion(confusion.confusion_table(("a", "b"), ((8, 2), (0, 3))))
    keys = {element.get("data-key"): element[0].text for element in parsed(drawing).iter("rect") if len(element)}
    assert keys == {
        "0,0": "a, predicted as a: 8 (80.0 %)",
        "0,1": "a, predicted as b: 2 (20.0 %)",
        "1,1": "b, predicted as b: 3 (100.0 %)",
    }


def test_the_description_names_the_most_frequent_mistake() -> None:
    def describe(names: tuple[str, str], counts: tuple[tuple[int, int], tuple[int, int]]) -> str:
        return confusion.describe_confusion(confusion.confusion_table(names, counts))

    assert describe(("a", "b"), ((3, 0), (0, 3))) == "Every test image is classified correctly."
    assert "“a\\n” predicted as “b”, once" in describe(("a\n", "b"), ((3, 1), (0, 3)))
    assert describe(("a", "b"), ((3, 1), (1, 3))) == "2 mistakes, each between a different pair of classes."
