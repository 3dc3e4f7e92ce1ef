"""The command line: one thin function per verb.

In: arguments. Out: calls of the functions of the same names in `housetrain`, results on standard output, messages and
errors on standard error, and an exit code. Decisions live in the package; heavy imports live inside the verbs, so that
``housetrain --help`` is quick.
"""

from __future__ import annotations

import copy
import functools
import os
import shlex
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from housetrain.cli import course, data, labels, machine, run, streams, train, use
from housetrain.cli.options import our_option

app = typer.Typer(
    name="housetrain",
    help="From a folder of labeled images to an image classifier you can trust, on your own machine.",
    epilog="Start here:  housetrain run PetImages   (class folders inside: PetImages/Cat, PetImages/Dog).  "
    "Exit codes:  0 success; 1 findings, unreadable images or a failed training; 2 a usage or input error; "
    "130 interrupted by Ctrl-C; 143 by SIGTERM.",
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


class _Command(typer.core.TyperCommand):
    """A verb whose usage line names what it needs as every other program does: RUN IMAGE..., not {RUN} {IMAGE...}..."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        changes = {"{": "", "}": "", "......": "...", "[[": "[", "]]": "]"}
        return [functools.reduce(lambda text, old: text.replace(old, changes[old]), changes, piece) for piece in pieces]


for module in (run, data, labels, train, use, machine, course):
    for verb in module.app.registered_commands:
        verb.cls = _Command
        app.registered_commands.append(verb)


def _only(verb: list[str]) -> typer.Typer:
    """Return the app with this verb alone: Typer builds every option of every verb, which takes 0.1 s."""
    named = [one for one in app.registered_commands if [str(one.name or one.callback.__name__)] == verb]  # type: ignore[union-attr]
    if not named:
        return app
    small = copy.copy(app)
    small.registered_commands = named
    return small


def main() -> NoReturn:
    """Run the command line: an error becomes one line and an exit code."""
    from housetrain.errors import HousetrainError
    from housetrain.training import interrupt

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's start-up messages
    _warnings_stay_warnings()
    streams.prepare()
    code = 0
    try:
        with interrupt.answered(), streams.guarded(), interrupt.on_sigterm():
            _run([os.path.expanduser(one) for one in sys.argv[1:]])  # noqa: PTH111 - never raises
    except typer.Exit as left:
        code = left.exit_code
    except SystemExit as left:  # how Typer ends
        code = 0 if isinstance(left.__context__, BrokenPipeError) else int(left.code or 0)
        code = 128 + interrupt.number_of(left) if code == 130 else code
        if code == 2 and (hint := our_option(sys.argv[1:])):
            sys.stderr.write(f"{hint}.\n")
    except HousetrainError as error:
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:
        code = 0
    except KeyboardInterrupt as stopped:
        code = 128 + interrupt.number_of(stopped)
    if code in (130, 143):
        again = shlex.join(["housetrain", *sys.argv[1:]])
        _fail(f"Interrupted. Completed work is kept; rerun the same command to resume: {again}", code)
        interrupt.exit_now(code)
    sys.exit(code)


def _warnings_stay_warnings() -> None:
    """Undo ``PYTHONWARNINGS=error``, here and in children: it is meant for the user's code, and libraries warn."""
    if any(option.startswith("error") for option in sys.warnoptions):
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)  # as Python does without the variable


def _fail(text: str, code: int) -> int:
    from housetrain.cli.terminal import fail

    fail(text)
    return code


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["predict"] and len(arguments) > 2 and not any(one.startswith("-") for one in arguments):
        # No option to convert: skip Typer, whose import of pydantic takes longer than a prediction.
        use.predict(arguments[1], arguments[2:])
    else:
        _only(arguments[:1])(arguments, standalone_mode=True)
