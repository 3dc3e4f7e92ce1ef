"""Usage errors in words that help: an unknown option or command, a value of the wrong kind, a path with blanks.

In: what was typed, and Typer's error about it. Out: the same error with another message. It does not know what the
verbs do.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from housetrain.cli.wrapping import fitted

_ELSEWHERE = {
    "output": "o out output_dir out_dir outdir outfile save save_dir dest project log_dir",
    "quiet": "s silent no_progress no_verbose",
    "verbose": "debug loud",
    "log_file": "log logfile log_path",
    "workers": "j w jobs threads num_workers processes n_jobs",
    "validation_split": "val_split valid_split val_size validation_size val split",
    "test_split": "test_size test",
    "validation_dir": "val_dir valid_dir val_data valid validation",
    "train_dir": "train_data train",
    "test_dir": "test_data",
    "folds": "k kfold k_fold cv cross_validate",
    "top": "topk top_k",
    "format": "fmt type to",
    "set": "config override param",
    "recipe": "cfg config_file hyp",
    "labels": "csv_labels annotations label_file",
    "help": "? usage man",
    "model": "m",
    "epochs": "e",
    "batch_size": "b",
    "learning_rate": "l",
}
_OTHER_OPTIONS = {
    other: f"--{ours.replace('_', '-')}" for ours, others in _ELSEWHERE.items() for other in others.split()
}
_NO_OPTION = {
    "gpu gpus device cuda cpu": "A GPU is used if there is one; housetrain doctor tells",
    "data dataset data_dir data_path input input_dir folder source images dir path i d": (
        "The folder is given without an option, as FOLDER"
    ),
    "f force overwrite resume": "Rerun the same command to resume; another --output starts a new run",
}
_WORDS = {"help": "--help", "version": "--version"}


def explain(error: Any, typed: Sequence[str], options: Iterable[str], settings: Mapping[str, str]) -> None:
    """Give an error of the options of a verb the words that help.

    Args:
        error: Typer's `UsageError`.
        typed: What was typed after the verb.
        options: All options of the verb.
        settings: What may be set by ``--set`` -> its name there; empty for a verb without ``--set``.
    """
    text = error.message
    if hasattr(error, "possibilities"):
        error.possibilities = None
        text = f"{text}. {_instead(error.option_name, list(options), settings)}".strip()
    elif (param := getattr(error, "param", None)) is not None and text:
        from housetrain.models.setting_names import problem_text

        text = problem_text(text, _value_of(param.opts, typed))
    elif "unexpected extra argument" in text:
        extra = text.partition("(")[2].partition("(")[2].rstrip(")")
        text = f"These words are too many: {extra}" if " " in extra else f"This word is too many: {extra}"
        if path := next(_with_blanks(typed), None):
            text += f". Put a path with blanks in quotes: {shlex.quote(path)}"
    else:
        return
    shown = fitted(f"Error: {text}", sys.stderr)
    error.message = shown.removeprefix("Error: ")


def unknown_command(typed: Sequence[str], commands: Sequence[str]) -> str:
    """Return the message for a first word that is no command."""
    word = typed[0]
    text = f"No such command: {word}"
    if plain := _WORDS.get(word.lower().lstrip("-")):
        return f"{text}. It is: {shlex.join(['housetrain', *(one for one in typed[1:2] if one in commands), plain])}"
    if near := difflib.get_close_matches(word.lower(), commands, n=2):
        return f"{text}. Did you mean {' or '.join(near)}?"
    if os.path.lexists(word):
        verb = "run" if Path(word).is_dir() or Path(word).suffix == ".zip" else "show"
        return f"{text}. It is a path; for it there is: {shlex.join(['housetrain', verb, *typed])}"
    return f"{text}. All commands: housetrain --help"


def _instead(option: str, options: list[str], settings: Mapping[str, str]) -> str:
    """Return what to type instead of an option that the verb does not have, as a sentence."""
    name = option.lstrip("-").replace("-", "_")
    ours = _OTHER_OPTIONS.get(name, "")
    if not ours and (setting := settings.get(name, "")):
        ours = f"--{setting.removesuffix('_s').replace('_', '-')}"
        ours = ours if ours in options else f"--set {setting}=VALUE"
    if ours.partition(" ")[0] in options:
        return f"It is {ours} here"
    for others, sentence in _NO_OPTION.items():
        if name in others.split() and not ("FOLDER" in sentence and "--labels" not in options):
            return sentence
    near = difflib.get_close_matches(option, [one for one in options if one.startswith("--")], n=2, cutoff=0.7)
    return f"Did you mean {' or '.join(near)}?" if near else "The list of options: --help"


def _value_of(options: Sequence[str], typed: Sequence[str]) -> str | None:
    """Return the text that was given for an option, or ``None``."""
    for number, word in enumerate(typed):
        name, equals, value = word.partition("=")
        if name in options:
            return value if equals else next(iter(typed[number + 1 :]), None)
    return None


def _with_blanks(typed: Sequence[str]) -> Iterator[str]:
    """Yield the paths that exist where several words are joined by blanks."""
    for start in range(len(typed)):
        for end in range(start + 2, len(typed) + 1):
            if os.path.exists(path := " ".join(typed[start:end])):  # noqa: PTH110 - never raises
                yield path
