"""The command line: one thin function per verb.

In: arguments. Out: calls of the functions of the same names in `housetrain`, results on standard output, messages and
errors on standard error, and an exit code. Decisions live in the package; heavy imports live inside the verbs, so that
``housetrain --help`` is quick. The verbs are put together in `housetrain.cli.app`.
"""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from typing import NoReturn

from housetrain.cli import streams


def main() -> NoReturn:
    """Run the command line: an error becomes one line and an exit code."""
    from housetrain.errors import DecodeError, HousetrainError
    from housetrain.training import interrupt

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's start-up messages
    _warnings_stay_warnings()
    streams.prepare()
    code = 0
    try:
        with interrupt.answered(), streams.guarded(), interrupt.on_sigterm():
            _run([os.path.expanduser(one) for one in sys.argv[1:]])  # noqa: PTH111 - never raises
    except SystemExit as left:  # how Typer ends
        code = 0 if isinstance(left.__context__, BrokenPipeError) else int(left.code or 0)
        code = 128 + interrupt.number_of(left) if code == 130 else code
    except HousetrainError as error:
        text = f"An image cannot be read: {error}" if isinstance(error, DecodeError) else str(error)
        code = _fail(text, error.exit_code)
    except BrokenPipeError:
        code = 0
    except KeyboardInterrupt as stopped:
        code = 128 + interrupt.number_of(stopped)
    except Exception as error:
        if not interrupt.received():
            raise
        code = 128 + interrupt.number_of(error)  # a library made an error of its own of it
    if code in (130, 143):
        interrupt.received()  # its answer comes first, and takes the ^C of the terminal away
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
    if arguments[:1] == ["predict"] and len(arguments) > 2 and not any(one[:1] == "-" != one for one in arguments):
        # No option to convert: skip Typer. It and the options of all verbs take longer to import than a prediction.
        from housetrain.cli import predicting

        if predicting.predict(arguments[1], arguments[2:]):
            sys.exit(1)
        return
    from housetrain.cli.app import only

    only(arguments[:1])(arguments, standalone_mode=True)
