"""The options that several verbs share, each declared once.

In: what was typed. Out: checked values: recipe fields, a `Recipe`, a sweep `Plan`, seconds. It does not know what the
verbs do with them.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from housetrain.models.recipe import Recipe
    from housetrain.sweeps.plan import Plan

COLOR_MODES = ("grayscale", "rgb")
RESIZES = ("stretch", "pad", "crop")
BALANCES = ("weights", "trim", "none")
SEARCHES = ("grid", "optuna")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Workers = Annotated[int | None, typer.Option(help="Processes that read images; by default one per core.", min=1)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no messages and no progress bars.")]
PreparedOption = Annotated[
    Path | None, typer.Option("--prepared", help="Folder of the run's arrays; by default where they are found.")
]
Output = Annotated[Path | None, typer.Option(help="Run folder; by default a new folder in runs/.")]
Balance = Annotated[
    str | None,
    typer.Option(
        help="Class imbalance: weights (class weights in the loss), trim (undersample larger classes), or none.",
        metavar="weights|trim|none",
    ),
]
ColorMode = Annotated[
    str | None,
    typer.Option("--color-mode", "--color", help="Color mode.", metavar="grayscale|rgb"),
]
Resize = Annotated[
    str | None,
    typer.Option(help="How images are made square.", metavar="stretch|pad|crop"),
]
ImageSize = Annotated[
    int | None,
    typer.Option(help="Height and width of the model input, in pixels.", min=8, max=2048),
]


def _models(incomplete: str) -> list[str]:
    """Return the preset names for shell completion."""
    from housetrain.models.nets import PRESETS

    return [name for name in ("auto", *PRESETS) if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        help="A preset (best, cnn, mlp, deep) or a pretrained model, such as efficientnet-lite0 or xception. "
        "`run` also accepts auto: chosen by the images.",
        autocompletion=_models,
    ),
]


def _settings(incomplete: str) -> list[str]:
    """Return the settings, or the choices of one, for shell completion."""
    from housetrain.models.setting_names import choices, settings

    name, equals, _ = incomplete.partition("=")
    words = [f"{name}={word}" for word in choices(name)] if equals else [f"{one.name}=" for one in settings()]
    return [word for word in words if word.startswith(incomplete)]


def _list_settings(words: list[str] | None) -> list[str] | None:
    """Print all settings for ``--set help``."""
    if words and "help" in words:
        from housetrain.cli import terminal
        from housetrain.models.setting_names import settings

        terminal.settings(settings())
        raise typer.Exit
    return words


SET: dict[str, Any] = {
    "metavar": "NAME=VALUE",
    "autocompletion": _settings,
    "callback": _list_settings,
    "is_eager": True,
}
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Any other recipe setting; repeatable. `--set help` lists all.", **SET)
]
Halving = Annotated[
    bool, typer.Option("--halving", help="Successive halving: stop weaker trials early, for far fewer epochs in total.")
]
Folds = Annotated[
    int | None,
    typer.Option(help="Cross-validate: train the recipe once more for each of so many folds of the images.", min=2),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="Start from a recipe file (JSON), such as RUN/recipe.json."),
]


def seconds(text: str) -> float:
    """Return a duration such as ``90s``, ``10m`` or ``1h`` in seconds.

    Raises:
        RecipeError: It is not a duration.
    """
    from housetrain.errors import RecipeError

    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        duration = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        duration = 0.0
    if not 0 < duration < float("inf"):
        raise RecipeError("The time limit is not a duration", expected="such as 90s, 10m or 1h", time_limit=text)
    return duration


TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        help="Stop after this long and keep the best so far: 90s, 10m, 1h.",
        parser=seconds,
        metavar="DURATION",
    ),
]

RECIPE_OPTIONS: dict[str, Any] = {
    "weights": Annotated[
        str | None,
        typer.Option(
            help="Pretrained models: imagenet (installed or downloaded), a weights file, or none (random weights).",
            metavar="imagenet|none|PATH",
        ),
    ],
    "views": Annotated[
        int | None,
        typer.Option(
            "--augment", help="Pretrained models: also train on this many augmented views of each image.", min=0
        ),
    ],
    "epochs": Annotated[int | None, typer.Option(help="Passes over the training images.", min=1)],
    "batch_size": Annotated[int | None, typer.Option(help="Images per step.", min=1)],
    "learning_rate": Annotated[float | None, typer.Option(help="Step size of the optimizer.")],
    "conv": Annotated[int | None, typer.Option(help="cnn: convolution layers.", min=1)],
    "nodes": Annotated[
        int | None,
        typer.Option(help="cnn: filters per convolution and units per dense layer.", min=1),
    ],
    "dense": Annotated[int | None, typer.Option(help="cnn: dense layers before the output.", min=0)],
    "image_size": ImageSize,
    "color_mode": ColorMode,
    "resize": Resize,
    "balance": Balance,
    "patience": Annotated[
        int | None,
        typer.Option(help="Early stopping: epochs without a lower validation loss; 0 disables it.", min=0),
    ],
    "time_limit_s": TimeLimit,
    "seed": Annotated[
        int | None,
        typer.Option(help="Random seed of initial weights, batch order and augmentation."),
    ],
    "deterministic": Annotated[
        bool | None,
        typer.Option("--deterministic", help="Bit-identical results on the same machine; slightly slower."),
    ],
}
"""Recipe field -> its option. Every verb that accepts a recipe takes its options from here."""


def with_options(parameter: str, options: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace one parameter of a verb by options; the verb receives those that were given as one dict.

    Args:
        parameter: Name of the verb's keyword-only parameter.
        options: Key of the dict -> its option.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def called(**values: Any) -> None:
            given = {name: values.pop(name) for name in options}
            verb(**{parameter: {name: value for name, value in given.items() if value is not None}}, **values)

        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(verb, eval_str=True).parameters.values():
            if own.name != parameter:
                parameters.append(own)
                continue
            parameters += [
                inspect.Parameter(name, own.kind, default=None, annotation=option) for name, option in options.items()
            ]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def recipe_options(*leave_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a verb's parameter ``flags`` by the options of `RECIPE_OPTIONS`, except those of some fields."""
    return with_options("flags", {name: option for name, option in RECIPE_OPTIONS.items() if name not in leave_out})


def settings_from(words: list[str] | None) -> dict[str, Any]:
    """Return the recipe fields that ``--set NAME=VALUE`` options give."""
    return {name: _value(text) for name, text in _pairs(words)}


def recipe_from(file: Path | None, model: str, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a file or a preset with these fields replaced.

    Raises:
        RecipeError: Naming every problem at once.
    """
    from housetrain.models.recipe import Recipe

    if file is None:
        return Recipe.of(model, **overrides)
    return Recipe.from_json({**_read_json(file), **overrides})


def plan_from(
    model: str,
    flags: Mapping[str, Any],
    words: list[str] | None = None,
    *,
    axes: Mapping[str, str | None],
    seeds: int = 1,
    search: str = "grid",
    trials: int = 30,
    halving: bool = False,
) -> Plan:
    """Return the sweep that the options describe: ``2,3`` is a grid axis, ``1e-4..1e-2`` a range to search.

    Args:
        model: Preset of every trial.
        flags: Recipe fields that are the same in every trial.
        words: The ``--set`` options: ``NAME=VALUE``, ``NAME=V1,V2`` or ``NAME=LOW..HIGH``.
        axes: ``conv``, ``nodes`` and ``dense`` as they were typed.
        seeds: Seeds per recipe of a grid.
        search: ``grid`` or ``optuna``.
        trials: Trials of an Optuna search.
        halving: Whether weaker trials stop early.

    Raises:
        RecipeError: Naming every problem at once.
    """
    from housetrain.errors import RecipeError
    from housetrain.sweeps.grid import Grid
    from housetrain.sweeps.optuna_search import Range, default_space
    from housetrain.sweeps.plan import plan

    typed = {name: text for name, text in axes.items() if text is not None} | dict(_pairs(words))
    values = {name: _choice(text) for name, text in typed.items()}
    several: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, list | Range)}
    fixed = {**flags, **{name: value for name, value in values.items() if name not in several}}
    if one_of("search", search, SEARCHES) == "optuna":
        space = {name: choice for name, choice in default_space(model).items() if name not in fixed} | several
        seed = int(fixed.get("seed") or 0)
        return plan(space=space, fixed={"model": model, **fixed}, trials=trials, seed=seed, halving=halving)
    if ranges := [name for name, value in several.items() if isinstance(value, Range)]:
        raise RecipeError(
            f"A range needs a search, a grid needs values: {', '.join(ranges)}",
            do="add --search optuna, or list the values",
        )
    for name in ("conv", "nodes", "dense"):
        if name in fixed:
            several[name] = [fixed.pop(name)]
    return plan(Grid(model=model, seeds=seeds, **fixed, **several), halving=halving)


def setting_names() -> dict[str, str]:
    """Return what a setting is called here or by another tool -> its name here."""
    from housetrain.models.recipe import Recipe
    from housetrain.models.setting_names import OTHER_NAMES

    return {name: name for name in Recipe.model_fields} | OTHER_NAMES


def _pairs(words: list[str] | None) -> Iterator[tuple[str, str]]:
    from housetrain.errors import RecipeError

    for word in words or []:
        name, equals, text = word.partition("=")
        if not equals:
            raise RecipeError("A setting has no value", expected="--set NAME=VALUE", setting=word)
        yield name.strip().replace("-", "_"), text


def _choice(text: str) -> Any:
    """Return the value, list of values or range that a text stands for."""
    from housetrain.sweeps.optuna_search import Range

    low, dots, high = text.partition("..")
    if dots:
        ends = [_value(low), _value(high)]
        if all(isinstance(end, int | float) for end in ends) and ends[0] < ends[1]:
            return Range(*ends)
    values = [_value(part) for part in text.split(",")]
    return values if len(values) > 1 else values[0]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()  # not JSON: a plain string, which the recipe validates


def _read_json(file: Path) -> dict[str, Any]:
    from housetrain.errors import RecipeError

    try:
        value = json.loads(file.read_text(encoding="utf-8"))  # the user's own choice, which may be a pipe
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(
            "The recipe file cannot be read", expected="JSON such as RUN/recipe.json", file=str(file), error=error
        ) from None
    if not isinstance(value, dict):
        raise RecipeError("The recipe file holds no settings", expected='JSON such as {"model": "cnn"}', file=str(file))
    return value


def one_of(name: str, value: str | None, choices: tuple[str, ...]) -> Any:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        RecipeError: It is not.
    """
    from housetrain.errors import RecipeError

    if value not in choices:
        received: dict[str, Any] = {name: value}
        raise RecipeError(f"Unknown {name}", expected=", ".join(choices), **received)
    return value
