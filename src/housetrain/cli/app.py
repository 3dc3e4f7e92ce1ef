"""The verbs of all modules of the command line, as one Typer app. See `housetrain.cli`."""

from __future__ import annotations

import copy
import functools
from typing import Annotated, Any

import typer
import typer.core

from housetrain.cli import course, data, labels, machine, run, train, usage, use
from housetrain.cli.options import SET, setting_names

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # what Typer raises; it exports only this subclass


class _Group(typer.core.TyperGroup):
    """All verbs; a word that is none of them is answered with what was probably meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            error.message = usage.unknown_command(args, self.list_commands(ctx))  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Group,
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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            params = self.get_params(ctx)
            options = [name for param in params for name in (*param.opts, *param.secondary_opts)]
            with_settings = any("--set" in one.opts and one.metavar == SET["metavar"] for one in params)
            usage.explain(error, typed, options, setting_names() if with_settings else {})
            raise

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole first sentence for the list of verbs, which wraps it: the end says what a verb is for."""
        return super().get_short_help_str(max(limit, 1_000))


for module in (run, data, labels, train, use, machine, course):
    for verb in module.app.registered_commands:
        verb.cls = _Command
        app.registered_commands.append(verb)


def only(verb: list[str]) -> typer.Typer:
    """Return the app with this verb alone: Typer builds every option of every verb, which takes 0.1 s."""
    named = [one for one in app.registered_commands if [str(one.name or one.callback.__name__)] == verb]  # type: ignore[union-attr]
    if not named:
        return app
    small = copy.copy(app)
    small.registered_commands = named
    return small
