"""Numbers and names as text."""

from __future__ import annotations

import pytest

from housetrain.system import text


@pytest.mark.parametrize(
    ("seconds", "formatted"),
    [
        (None, "–"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (45.2, "45 s"),
        (59.6, "1 min 00 s"),
        (372, "6 min 12 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float | None, formatted: str) -> None:
    assert text.format_duration(seconds) == formatted


def test_numbers_and_names() -> None:
    assert (text.format_percent(0.9012), text.format_percent(None)) == ("90.1 %", "–")
    assert (text.format_interval((0.883, 0.917)), text.format_interval(None)) == ("88.3–91.7 %", "")
    assert (text.format_number(1180), text.format_number(0.12345), text.format_number(None)) == ("1,180", "0.123", "–")
    assert text.format_count(1, "class", "classes") == "1 class" and text.format_count(1180, "image") == "1,180 images"
    assert (text.format_bytes(512), text.format_bytes(12_345_678)) == ("512 bytes", "12.3 MB")
    assert text.format_bytes(2_500_000_000_000) == "2,500.0 GB"
    assert text.format_list(["a"]) == "a" and text.format_list([]) == ""
    assert text.format_list(["a", "b", "c"], last="or") == "a, b or c"
    assert text.format_list(list("abcdefgh"), limit=3, quote=True) == "“a”, “b” and 6 more"
    assert text.format_sentence("it is.") == "It is."


def test_a_name_without_controls_is_one_that_every_file_can_hold() -> None:
    for name, shown in (
        ("caf\udce9", r"caf\xe9"),
        ("a\nb\x1b", r"a\nb\x1b"),
        ("\ud800", r"\ud800"),
        ("Größe 猫", "Größe 猫"),
    ):
        assert text.without_controls(name) == shown
        shown.encode()


def test_a_name_of_an_output_has_no_control_characters() -> None:
    assert text.file_name("my\npets\x1b \u2028猫") == "my-pets- -猫"


def test_the_width_of_a_text_in_a_terminal() -> None:
    assert [text.cell_width(one) for one in ("", "cat", "猫", "Größe", "e\u0301", "ｗ")] == [0, 3, 2, 5, 1, 2]
