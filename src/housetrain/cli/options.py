"""The options that several verbs of the command line share, and what their words mean.

In: words a person typed. Out: checked values: a `Recipe`, seconds, one of a few names. Knows nothing of what the verbs
do with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe
    from housetrain.sweeps.driver import Plan

COLOR_MODES = ("grayscale", "rgb")
RESIZES = ("stretch", "pad", "crop")
BALANCES = ("weights", "trim", "none")
SEARCHES = ("grid", "optuna")

Folder = Annotated[
    Path, typer.Argument(help="A folder with one folder of images per class. It is only read.", metavar="FOLDER")
]
RunArg = Annotated[Path, typer.Argument(help="A run folder or a bundle.", metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes that read images; all cores by default.", min=1, show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No news, no progress bars.")]
Output = Annotated[
    Path | None, typer.Option(help="Where the run is kept; by default a folder in runs/.", show_default=False)
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Another number sets other images aside.")]
ValidationSplit = Annotated[float, typer.Option(help="Share of the images for validation.", min=0.0, max=0.9)]
TestSplit = Annotated[float, typer.Option(help="Share of the images set aside for the one test.", min=0.0, max=0.9)]
TestPerClass = Annotated[
    int | None,
    typer.Option(help="Set aside exactly this many test images per class instead.", min=1, show_default=False),
]
Balance = Annotated[
    str | None,
    typer.Option(
        help="weights: rare classes count more; trim: leave out surplus; none.",
        metavar="weights|trim|none",
        show_default=False,
    ),
]
ColorMode = Annotated[
    str | None, typer.Option("--color-mode", "--color", help="gray or rgb.", metavar="gray|rgb", show_default=False)
]
Resize = Annotated[
    str | None, typer.Option(help="How an image is made square.", metavar="stretch|pad|crop", show_default=False)
]
ImageSize = Annotated[
    int | None, typer.Option(help="Side of the prepared images in pixels.", min=8, max=2048, show_default=False)
]
Model = Annotated[
    str,
    typer.Option(
        help="Preset: best, cnn, mlp, deep; pretrained: efficientnet-lite0, xception, efficientnetv2-b0, "
        "mobilenetv3-large, resnet50, convnext-tiny. `run` also takes auto, which chooses by the images."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Pretrained models: imagenet (downloaded), a weights file, or none to train from nothing.",
        metavar="imagenet|none|PATH",
        show_default=False,
    ),
]
Augment = Annotated[
    int | None,
    typer.Option(
        "--augment",
        help="Pretrained models: learn from this many augmented views of each image as well.",
        min=0,
        show_default=False,
    ),
]
Conv = Annotated[int | None, typer.Option(help="cnn: convolution layers.", min=1, show_default=False)]
Nodes = Annotated[int | None, typer.Option(help="cnn: filters and dense units per layer.", min=1, show_default=False)]
Dense = Annotated[int | None, typer.Option(help="cnn: dense layers before the output.", min=0, show_default=False)]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training images.", min=1, show_default=False)]
BatchSize = Annotated[int | None, typer.Option(help="Images per step.", min=1, show_default=False)]
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
Halving = Annotated[
    bool, typer.Option("--halving", help="Stop the weaker trials early: nearly the same answer, far fewer epochs.")
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="Start from a recipe file (JSON), such as RUN/recipe.json.", show_default=False),
]


def overrides_from(*, settings: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Return the recipe fields that flags and ``--set`` give."""
    return {name: value for name, value in flags.items() if value is not None} | _settings(settings)


def recipe_from(file: Path | None, model: str, *, settings: list[str] | None, **flags: Any) -> Recipe:
    """Return the recipe that a file, a preset and the flags that were given ask for.

    Raises:
        RecipeError: Naming every problem at once.
    """
    from housetrain.models.recipe import Recipe

    overrides = overrides_from(settings=settings, **flags)
    if file is None:
        return Recipe.of(model, **overrides)
    return Recipe.from_json({**_read_json(file), **overrides})


def plan_from(
    model: str,
    *,
    axes: Mapping[str, str | None],
    settings: list[str] | None,
    seeds: int = 1,
    search: str = "grid",
    trials: int = 30,
    halving: bool = False,
    **flags: Any,
) -> Plan:
    """Return the sweep that the words ask for: ``2,3`` is an axis of a grid, ``1e-4..1e-2`` a range to search in.

    Raises:
        RecipeError: Naming every problem at once.
    """
    from housetrain.errors import RecipeError
    from housetrain.sweeps.driver import plan
    from housetrain.sweeps.grid import Grid
    from housetrain.sweeps.optuna_search import Range, default_space

    words = {name: text for name, text in axes.items() if text is not None}
    for word in settings or []:
        name, equals, text = word.partition("=")
        if not equals:
            raise RecipeError("A setting has no value", expected="--set NAME=VALUE or NAME=VALUE,VALUE", setting=word)
        words[name.strip().replace("-", "_")] = text
    values = {name: _choice(text) for name, text in words.items()}
    fixed = {name: value for name, value in flags.items() if value is not None}
    several: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, list | Range)}
    fixed |= {name: value for name, value in values.items() if name not in several}
    if one_of("search", search, SEARCHES) == "optuna":
        space = {name: choice for name, choice in default_space(model).items() if name not in fixed} | several
        seed = int(fixed.get("seed") or 0)
        return plan(space=space, fixed={"model": model, **fixed}, trials=trials, seed=seed, halving=halving)
    if ranges := [name for name, value in several.items() if isinstance(value, Range)]:
        raise RecipeError(
            f"A range can be searched, not swept: {', '.join(ranges)}", do="add --search optuna, or list the values"
        )
    for name in ("conv", "nodes", "dense"):  # one value is an axis of one
        if name in fixed:
            several[name] = [fixed.pop(name)]
    return plan(Grid(model=model, seeds=seeds, **fixed, **several), halving=halving)


def _choice(text: str) -> Any:
    """Return the value, the list of values or the range that a word stands for."""
    from housetrain.sweeps.optuna_search import Range

    low, dots, high = text.partition("..")
    if dots:
        ends = [_value(low), _value(high)]
        if all(isinstance(end, int | float) for end in ends) and ends[0] < ends[1]:
            return Range(*ends)
    values = [_value(part) for part in text.split(",")]
    return values if len(values) > 1 else values[0]


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word.strip()  # a bare word is text; the recipe says if that is wrong


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
        received: dict[str, Any] = {name: value}
        raise RecipeError(f"{name} is not known", expected=", ".join(choices), **received)
    return value
