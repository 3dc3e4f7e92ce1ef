"""The options that several verbs of the command line share, and what their words mean.

In: words a person typed. Out: checked values: a `Recipe`, seconds, one of a few names. Knows nothing of what the verbs
do with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from housetrain.training.recipe import Recipe

COLOURS = ("gray", "rgb")
RESIZES = ("stretch", "pad", "crop")
BALANCES = ("weights", "trim", "none")

Folder = Annotated[
    Path, typer.Argument(help="A folder with one folder of pictures per class. It is only read.", metavar="FOLDER")
]
RunArg = Annotated[Path, typer.Argument(help="A run folder or a bundle.", metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes that read pictures; all cores by default.", min=1, show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No news, no progress bars.")]
Out = Annotated[
    Path | None, typer.Option(help="Where the run is kept; by default a folder in runs/.", show_default=False)
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Another number sets other pictures aside.")]
Validation = Annotated[float, typer.Option(help="Share of the pictures for validation.", min=0.0, max=0.9)]
Test = Annotated[float, typer.Option(help="Share of the pictures set aside for the one test.", min=0.0, max=0.9)]
TestPerClass = Annotated[
    int | None,
    typer.Option(help="Set aside exactly this many test pictures per class instead.", min=1, show_default=False),
]
Balance = Annotated[
    str | None,
    typer.Option(
        help="weights: rare classes count more; trim: leave out surplus; none.",
        metavar="weights|trim|none",
        show_default=False,
    ),
]
Colour = Annotated[
    str | None, typer.Option("--colour", "--color", help="gray or rgb.", metavar="gray|rgb", show_default=False)
]
Resize = Annotated[
    str | None, typer.Option(help="How a picture is made square.", metavar="stretch|pad|crop", show_default=False)
]
Size = Annotated[
    int | None, typer.Option(help="Side of the prepared pictures in pixels.", min=8, max=2048, show_default=False)
]
Model = Annotated[str, typer.Option(help="Preset: best, cnn, mlp or deep.")]
Conv = Annotated[int | None, typer.Option(help="cnn: convolution layers.", min=1, show_default=False)]
Nodes = Annotated[int | None, typer.Option(help="cnn: filters and dense units per layer.", min=1, show_default=False)]
Dense = Annotated[int | None, typer.Option(help="cnn: dense layers before the output.", min=0, show_default=False)]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training pictures.", min=1, show_default=False)]
BatchSize = Annotated[int | None, typer.Option(help="Pictures per step.", min=1, show_default=False)]
LearningRate = Annotated[float | None, typer.Option(help="Step size of the optimizer.", show_default=False)]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many epochs without a better validation loss; 0 never.", min=0, show_default=False
    ),
]
TimeLimit = Annotated[str | None, typer.Option(help="Stop training after this long: 90s, 10m, 1h.", show_default=False)]
Seed = Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.", show_default=False)]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="The same bits every time, a little slower.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other setting of the recipe: NAME=VALUE, repeatable.", show_default=False),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="Start from a recipe file (JSON), such as RUN/recipe.json.", show_default=False),
]


def recipe_from(file: Path | None, model: str, *, settings: list[str] | None, **flags: Any) -> Recipe:
    """Return the recipe that a file, a preset and the flags that were given ask for.

    Raises:
        RecipeError: Naming every problem at once.
    """
    from housetrain.training.recipe import Recipe

    overrides = {name: value for name, value in flags.items() if value is not None}
    overrides |= _settings(settings)
    if file is None:
        return Recipe.of(model, **overrides)
    return Recipe.from_json({**_read_json(file), **overrides})


def _settings(words: list[str] | None) -> dict[str, Any]:
    from housetrain.errors import RecipeError

    found: dict[str, Any] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise RecipeError("A setting has no value", expected="--set NAME=VALUE", setting=word)
        try:
            found[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.strip().replace("-", "_")] = value  # a bare word is text; the recipe says if that is wrong
    return found


def _read_json(file: Path) -> dict[str, Any]:
    from housetrain.errors import RecipeError

    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RecipeError(
            "The recipe file cannot be read", expected="JSON such as RUN/recipe.json", file=str(file), error=error
        ) from None
    if not isinstance(value, dict):
        raise RecipeError("The recipe file holds no settings", expected='JSON such as {"model": "cnn"}', file=str(file))
    return value


def seconds(text: str | None) -> float | None:
    """Return a length of time such as ``90s``, ``10m`` or ``1h`` in seconds.

    Raises:
        RecipeError: It is not a length of time.
    """
    from housetrain.errors import RecipeError

    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise RecipeError("The time limit is not a length of time", expected="such as 90s, 10m or 1h", time_limit=text)
    return seconds


def one_of(name: str, value: str | None, choices: tuple[str, ...]) -> Any:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        RecipeError: It is not.
    """
    from housetrain.errors import RecipeError

    if value not in choices:
        raise RecipeError(f"{name} is not known", expected=", ".join(choices), **{name: value})
    return value
