"""Grid: the recipes of a sweep, by name and in a stable order.

In: the values of each axis. Out: one named recipe a trial.
Does not know: Keras, images, executors, results.

    Grid().recipes()                                        # the tutorials' 27
    Grid(conv=(2, 3), learning_rate=(1e-3, 3e-4), seeds=3)  # 3 x 3 x 2 x 2 x 3 = 108
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from housetrain.errors import RecipeError
from housetrain.models.recipe import Recipe

_TUTORIALS = {"dense": (0, 1, 2), "nodes": (32, 64, 128), "conv": (1, 2, 3)}


class Grid:
    """All combinations of the given values.

    The order is stable: ``dense`` outermost, then ``nodes``, then ``conv`` as in the tutorials' three loops, then the
    other axes in the order given, the seeds innermost.

    Args:
        model: The preset; the axes ``dense``, ``nodes`` and ``conv`` belong to the cnn.
        dense: Numbers of dense layers.
        nodes: Numbers of filters and units.
        conv: Numbers of convolutions.
        seeds: How many seeds to train each recipe with, counted from ``seed``, or the seeds themselves.
        **settings: Further recipe fields: a list or tuple is one more axis, any other value applies to all recipes.

    Raises:
        RecipeError: A recipe is invalid; names the problems of all recipes at once.
    """

    def __init__(
        self,
        *,
        model: str = "cnn",
        dense: Sequence[int] | None = None,
        nodes: Sequence[int] | None = None,
        conv: Sequence[int] | None = None,
        seeds: int | Sequence[int] = 1,
        **settings: Any,
    ) -> None:
        axes: dict[str, tuple[Any, ...]] = {}
        for name, values in (("dense", dense), ("nodes", nodes), ("conv", conv)):
            if values is not None or model == "cnn":
                axes[name] = tuple(_TUTORIALS[name] if values is None else values)
        fixed: dict[str, Any] = {}
        for name, value in settings.items():
            if isinstance(value, list | tuple):
                axes[name] = tuple(value)
            else:
                fixed[name] = value
        first = int(fixed.pop("seed", 0))
        self.model, self.axes, self.fixed = model, axes, fixed
        self.seeds = tuple(range(first, first + seeds)) if isinstance(seeds, int) else tuple(seeds)
        self._recipes = self._make_recipes()

    def __len__(self) -> int:
        return len(self._recipes)

    def __repr__(self) -> str:
        return f"Grid({self.to_json()})"

    def recipes(self) -> dict[str, Recipe]:
        """Return trial name -> recipe, in order. A name is unique within the grid and valid as a folder name."""
        return dict(self._recipes)

    def to_json(self) -> dict[str, Any]:
        """Return the grid as a JSON-plain dict."""
        axes = {name: list(values) for name, values in self.axes.items()}
        return {"model": self.model, "axes": axes, "fixed": dict(self.fixed), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Grid:
        """Return the grid that `to_json` wrote."""
        return cls(model=value["model"], seeds=tuple(value["seeds"]), **value["axes"], **value["fixed"])

    def _make_recipes(self) -> dict[str, Recipe]:
        problems = [f"{name}: an axis without values" for name, values in self.axes.items() if not values]
        if not self.seeds:
            problems.append("seeds: at least one is needed")
        found: dict[str, Recipe] = {}
        doubled: set[str] = set()
        for values in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, values, strict=True))
            for seed in self.seeds:
                try:
                    recipe = Recipe.of(self.model, **self.fixed, **point, seed=seed)
                except RecipeError as error:
                    problems.extend(error.__notes__)
                    continue
                name = self._name(recipe, point)
                doubled |= {name} & found.keys()
                found[name] = recipe
        if doubled:
            problems.append(f"the same trial twice: {', '.join(sorted(doubled))}")
        if problems:
            raise RecipeError(f"The grid cannot be trained: {'; '.join(dict.fromkeys(problems))}")
        return found

    def _name(self, recipe: Recipe, point: Mapping[str, Any]) -> str:
        own = _TUTORIALS if self.model == "cnn" else ()
        extra = [f"{axis}-{_word(value)}" for axis, value in point.items() if axis not in own]
        extra += [f"seed-{recipe.seed}"] if len(self.seeds) > 1 else []
        return "-".join([recipe.name, *extra])


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
