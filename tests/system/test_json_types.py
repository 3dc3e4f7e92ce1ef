"""Which values of a JSON file are of the kind that its reader expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

from housetrain.errors import CorruptError
from housetrain.system.json_types import Scalar, fits, must_fit


class Facts(TypedDict, total=False):
    count: int
    share: float | None


class Named(Facts):
    name: str


@dataclass
class Point:
    x: float
    label: str = ""


class Counted(NamedTuple):
    n: int
    note: str = ""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"n": 3, "more": 1}, Counted), ({"n": 3, "note": "a"}, Counted | None),
        (3, int), (3, float), (0.5, float), ("a", str), (True, bool), (None, None), ([], list[int]),
        ([1, 2], list[int]),
        ([1, "a"], tuple[int, str]), ([1, 2, 3], tuple[int, ...]), ([], tuple[()]), ({"a": 1}, dict[str, int]),
        ({"5": 0.5}, dict[int, float]), ("b", Literal["a", "b"]), (None, float | None), ({"name": "x"}, Named),
        ({"name": "x", "count": 1, "more": []}, Named), ({"x": 1}, Point), ([{"x": 1, "label": "a"}], list[Point]),
        ({"a": [1]}, Any), ({"a": "x", "b": None}, dict[str, Scalar]),
    ],
)  # fmt: skip
def test_what_fits(value: Any, kind: Any) -> None:
    assert fits(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"note": "a"}, Counted), ([3], Counted),
        (True, int), (1.5, int), (2**63, int), (10**400, float), (float("nan"), float), (float("inf"), float),
        ("3", int), (None, str), ({}, list[int]), ([1, None], list[int]), ([1], tuple[int, str]), ([1], tuple[()]),
        ({"a": "b"}, dict[str, int]), ({"x": 0.5}, dict[int, float]), ("c", Literal["a", "b"]), ([], Literal["a"]),
        ({}, Named), ({"name": "x", "count": "1"}, Named), ([], Named), ({"x": None}, Point),
        ({"a": [1]}, dict[str, Scalar]),
    ],
)  # fmt: skip
def test_what_does_not(value: Any, kind: Any) -> None:
    assert not fits(value, kind)


def test_an_error_names_the_file_and_the_keys() -> None:
    assert must_fit({"name": "x"}, Named, "a.json") == {"name": "x"}
    with pytest.raises(CorruptError, match=r"a\.json is not what housetrain writes.*wrong='count, name'"):
        must_fit({"count": []}, Named, "folder/a.json")
