"""The command line: one thin function per verb, in a module per room.

In: words. Out: calls of the functions of the same names in `housetrain`, their results on standard output, news and
errors on standard error, and an exit code. Holds no decisions; everything heavy is imported inside the verbs, so
that ``housetrain --help`` is quick.
"""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from housetrain.cli import data, machine, run, train, use

app = typer.Typer(
    name="housetrain",
    help="From a folder of labeled images to an image classifier you can trust, on your own machine.",
    epilog="Start here:  housetrain run PetImages   (class folders inside: PetImages/Cat, PetImages/Dog)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich help takes 0.15 s of imports more; plain help prints at once
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import housetrain

        typer.echo(f"housetrain {housetrain.__version__}")
        raise typer.Exit


for room in (run, data, train, use, machine):
    app.registered_commands += room.app.registered_commands


def _asked_for(verb: list[str]) -> typer.Typer:
    """Return the app with no other verb than the one asked for: Typer builds every option of every verb, 0.1 s."""
    named = [one for one in app.registered_commands if [str(one.name or one.callback.__name__)] == verb]  # type: ignore[union-attr]
    if not named:
        return app
    small = copy.copy(app)
    small.registered_commands = named
    return small


def main() -> NoReturn:
    """Run the command line: errors become one line and an exit code, Ctrl-C becomes 130."""
    from housetrain.errors import HousetrainError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are not for the user
    try:
        words = sys.argv[1:]
        if words[:1] == ["predict"] and len(words) > 2 and not any(word.startswith("-") for word in words):
            # Nothing to convert: Typer would import pydantic for it, which takes longer than the model to answer.
            use.predict(Path(words[1]), words[2:])
        else:
            _asked_for(words[:1])(standalone_mode=True)
    except typer.Exit as left:
        sys.exit(left.exit_code)
    except HousetrainError as error:
        from housetrain.cli.terminal import fail

        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        from housetrain.cli.terminal import fail

        fail("Interrupted. Everything finished so far is kept: the same command goes on from there.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) left; not an error
        sys.exit(0)
    sys.exit(0)
