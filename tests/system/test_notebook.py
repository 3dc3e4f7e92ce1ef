"""Tables for notebooks are escaped, short and readable."""

from __future__ import annotations

from xml.etree import ElementTree

from housetrain.system.notebook import MOST_ROWS, html_table


def cells(html: str) -> list[list[str]]:
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def test_values_are_shown_for_people() -> None:
    html = html_table("Two <b>", ["name", "n", "loss"], [["<i>cat</i>", 12345, 0.123456], ["dog", 1, None]])
    assert cells(html) == [["name", "n", "loss"], ["<i>cat</i>", "12,345", "0.1235"], ["dog", "1", ""]]
    assert "&lt;i&gt;" in html and "<b>" not in html


def test_a_long_table_says_how_long_it_is() -> None:
    html = html_table("many", ["n"], [[number] for number in range(1000)])
    assert len(cells(html)) == 1 + MOST_ROWS and f"and {1000 - MOST_ROWS} more" in html
