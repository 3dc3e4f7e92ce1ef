"""The exception tree: one line each, what happened first, the received values last."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from housetrain import errors
from housetrain.errors import DecodeError, HousetrainError, MissingExtra, TrainingError, one_line


def all_errors() -> list[type[HousetrainError]]:
    return [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, HousetrainError)]


def test_a_message_states_what_happened_what_was_expected_and_what_to_do() -> None:
    error = HousetrainError("The size is wrong.", expected="8 or more", do="choose a larger one", size=0, name="a b")
    assert str(error) == (
        "The size is wrong. Expected: 8 or more. Do: choose a larger one. Received: size=0, name='a b'"
    )
    assert (error.what, error.expected, error.do) == ("The size is wrong.", "8 or more", "choose a larger one")
    assert error.received == {"size": 0, "name": "a b"}


def test_a_question_is_no_sentence_and_a_path_is_quoted_like_a_text() -> None:
    error = HousetrainError("No folder", do="did you mean a b?", folder=Path("a b"), file="a b")
    assert str(error) == "No folder. Do: did you mean a b? Received: folder='a b', file='a b'"


def test_every_command_in_a_text_quotes_its_paths() -> None:
    """A path with blanks would be several words of the command."""
    command = re.compile(r"housetrain [a-z-]+ [^\"`]*\{(\w+(?:\.\w+)*(?: / \w+)?)\}")
    sources = Path(errors.__file__).parent.rglob("*.py")
    found = {name for path in sources for name in command.findall(path.read_text(encoding="utf-8"))}
    assert found <= {
        "chosen",
        "run.name",
        "rate",
        "proposal.flag",
        "above",
        "images",
        "names",
    }  # no paths, or quoted before


def test_a_message_is_one_line() -> None:
    assert "\n" not in str(HousetrainError("A file\nname", path="a\nb"))
    assert one_line("a\tb\x1b[0m\n猫") == "a\\tb\\x1b[0m\\n猫"


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_of_the_docstring(kind: type[HousetrainError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__
    assert kind.exit_code == (1 if issubclass(kind, TrainingError) else 2)


def test_a_decode_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(DecodeError("truncated")))
    assert isinstance(error, DecodeError) and error.reason == "truncated"


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtra("openvino", need="Exporting to OpenVINO")
    assert 'pip install "openvino>=' in str(error)
    assert str(error).startswith("Exporting to OpenVINO requires")


def test_a_python_that_is_too_new_is_named_instead_of_a_command_that_fails() -> None:
    lines = ["keras>=3", "tensorflow-cpu>=2.21; python_version < '3.14' and extra == 'tensorflow-cpu'"]
    assert errors.too_new(lines, 14) == "use Python 3.13 or older, as tensorflow-cpu requires; this is Python 3.14"
    assert errors.too_new(['tensorflow[and-cuda]>=2; python_version < "3.14" and extra == "gpu"'], 15).startswith(
        "use Python 3.13 or older, as tensorflow requires"
    )
    assert errors.too_new(lines, 13) == errors.too_new(lines[:1], 99) == errors.too_new([], 99) == ""


def test_no_line_installs_a_name_that_a_stranger_could_register() -> None:
    """Until the package is on the public index, no text tells anyone to install it from there."""
    root = Path(__file__).resolve().parents[1]
    texts = [*(root / "src").rglob("*.py"), *(root / "docs").rglob("*.md"), *root.glob("*.md")]
    found = [
        f"{path.name}: {line}"
        for path in texts
        for line in path.read_text().splitlines()
        if re.search(r"(pip3?|uv|pipx) .*\binstall\b.*[ '\"]housetrain\b", line)
    ]
    assert not found
