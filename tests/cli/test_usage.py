"""Usage errors: what was typed leads to what is meant, in words without a library's jargon."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from housetrain.cli import usage
from housetrain.cli.app import app

Call = Callable[..., tuple[int, str, str]]


def _last(call: Call, *words: str) -> str:
    code, out, err = call(*words)
    assert (code, out) == (2, ""), err
    return err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--lr", "It is --learning-rate here"),
        ("--imgsz=64", "It is --image-size here"),
        ("--num-epochs", "It is --epochs here"),
        ("--random_state", "It is --seed here"),
        ("--optimizer", "It is --set optimizer=VALUE here"),
        ("--dropout-rate", "It is --set dropout=VALUE here"),
        ("--timeout", "It is --time-limit here"),
        ("--output-dir", "It is --output here"),
        ("-o", "It is --output here"),
        ("-e", "It is --epochs here"),
        ("--num-workers", "It is --workers here"),
        ("--colour", "Did you mean --color"),
        ("--epoch", "It is --epochs here"),
        ("--data", "as FOLDER"),
        ("--debug", "It is --verbose here"),
        ("--logfile", "It is --log-file here"),
        ("--device", "housetrain doctor"),
        ("--xyzzy", "--help"),
    ],
)
def test_an_unknown_option_leads_to_ours(typed: str, said: str, call: Call) -> None:
    line = _last(call, "run", "photos", typed, "3")
    assert line.startswith(f"Error: No such option: {typed.partition('=')[0]}. ") and said in line
    assert "Possible options" not in line  # by letters alone, --lr is near --color


def test_no_verb_is_given_an_option_that_it_does_not_have(call: Call) -> None:
    line = _last(call, "check", "photos", "--lr", "3")
    assert "--learning-rate" not in line and "--set" not in line and "--help" in line
    assert "--set" not in _last(call, "predict", "run", "photo.jpg", "--dropout", "3")
    assert "FOLDER" not in _last(call, "predict", "run", "photo.jpg", "--data", "3")


def test_every_option_that_is_named_instead_exists() -> None:
    from typer.main import get_command

    commands = getattr(get_command(app), "commands", {})
    ours = {name for command in commands.values() for param in command.params for name in param.opts}
    assert set(usage._OTHER_OPTIONS.values()) - {"--help"} <= ours
    assert not {"--" + name.replace("_", "-") for name in usage._OTHER_OPTIONS} & ours - {"--name", "--train"}
    assert len(usage._OTHER_OPTIONS) == sum(len(others.split()) for others in usage._ELSEWHERE.values())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--epochs", "-1", "must be at least 1, not '-1'"),
        ("--epochs=abc", "", "must be a whole number, not 'abc'"),
        ("--image-size", "4", "must be at least 8, not '4'"),
        ("--image-size", "4000", "must be at most 2048, not '4000'"),
        ("--learning-rate", "fast", "must be a number, not 'fast'"),
        ("--validation-split", "2", "must be at most 0.9, not '2'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(option: str, value: str, said: str, call: Call) -> None:
    line = _last(call, "run", "photos", option, *([value] if value else []))
    assert said in line and option.partition("=")[0] in line
    assert not re.search(r"[Ii]nput should|parse|integer", line)


def test_a_wrong_setting_is_named_in_the_same_words(call: Call) -> None:
    line = _last(call, "run", "photos", "--set", "epochs=many", "--set", "dropout=7", "--balance", "no")
    assert "epochs: must be a whole number, not 'many'" in line
    assert "dropout: must be less than 1, not 7" in line
    assert "balance: must be 'weights', 'trim' or 'none', not 'no'" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("help",), "It is: housetrain --help"),
        (("help", "run"), "It is: housetrain run --help"),
        (("version",), "It is: housetrain --version"),
        (("predit", "x"), "Did you mean predict?"),
        (("TRAIN",), "Did you mean train"),
        (("xyzzy",), "housetrain --help"),
    ],
)
def test_an_unknown_command_leads_to_the_one_that_is_meant(words: tuple[str, ...], said: str, call: Call) -> None:
    line = _last(call, *words)
    assert line.startswith(f"Error: No such command: {words[0]}. ") and said in line


def test_a_path_without_a_command_is_answered_with_one(call: Call) -> None:
    Path("my pets").mkdir()
    Path("cat.jpg").touch()
    assert _last(call, "my pets").endswith("housetrain run 'my pets'")
    assert _last(call, "cat.jpg").endswith("housetrain show cat.jpg")


def test_a_path_with_blanks_that_was_not_quoted_is_seen(call: Call) -> None:
    Path("my pets of 2027").mkdir()
    line = _last(call, "check", "my", "pets", "of", "2027", "--quiet")
    assert "These words are too many: pets of 2027" in line and line.endswith("in quotes: 'my pets of 2027'")
    assert _last(call, "check", "a", "b").endswith("This word is too many: b")


def test_a_verb_without_its_folder_says_what_is_missing(call: Call) -> None:
    assert "No folder of images is given" in _last(call, "run")
    assert "--train-dir are both given" in _last(call, "run", "photos", "--train-dir", "other")
    assert "`housetrain course s1-1 PetImages`" in _last(call, "course", "s1-1")
