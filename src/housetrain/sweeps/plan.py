"""Plan: what a sweep is asked to do, and whether a folder holds that sweep.

In: a `Grid`, recipes, or a space to search. Out: a checked `Plan`; with prepared images, its trials and the request
that the sweep folder keeps. It does not know how trials are trained or which one is next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.errors import RecipeError, StoreError
from housetrain.models.recipe import Recipe
from housetrain.sweeps.folder import SweepFolder
from housetrain.sweeps.grid import Grid
from housetrain.sweeps.optuna_search import check_space, space_to_json
from housetrain.sweeps.preparations import spec_for
from housetrain.sweeps.trial import Trial
from housetrain.system import json_text

if TYPE_CHECKING:
    from housetrain.data.prepare import Prepared


class Plan(NamedTuple):
    """What a sweep is asked to do.

    Attributes:
        recipes: Trial name -> recipe, in order; empty where a search proposes them.
        groups: Trial name -> group, where several seeds of a recipe share one.
        search: ``kind`` (grid, halving or optuna) and its settings, JSON-plain.
        space: Of a search: setting -> `Range` or values.
        fixed: Of a search: settings that all trials share.
    """

    recipes: dict[str, Recipe]
    groups: dict[str, str]
    search: dict[str, Any]
    space: dict[str, Any]
    fixed: dict[str, Any]


def plan(
    recipes: Grid | Mapping[str, Recipe] | Sequence[Recipe] | None = None,
    *,
    halving: bool = False,
    first: int = 1,
    space: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    trials: int = 30,
    seed: int = 0,
) -> Plan:
    """Return a checked plan of a sweep.

    Args:
        recipes: A grid, or recipes (by name, or a list); the tutorials' 27 by default.
        halving: Stop weaker trials early, by successive halving.
        first: With ``halving``: epochs before the first decision.
        space: Search here with Optuna instead of training all of ``recipes``: setting -> list of values or
            `housetrain.sweeps.optuna_search.Range`.
        fixed: With ``space``: recipe fields that all trials share, ``model`` among them.
        trials: With ``space``: how many to propose.
        seed: With ``space``: of the sampler.

    Raises:
        RecipeError: A recipe is invalid, or there is none.
    """
    if space is not None:
        fixed = {"model": "cnn", **(fixed or {})}
        check_space(space, fixed)
        kind = {"kind": "optuna", "count": trials, "seed": seed, "halving": halving, "first": first}
        asked = {**kind, "space": space_to_json(space), "fixed": json_text.plain(fixed)}
        return Plan({}, {}, asked, dict(space), fixed)
    named = _named(Grid() if recipes is None else recipes)
    if not named:
        raise RecipeError("There is nothing to train", expected="at least one recipe")
    groups = {}
    if isinstance(recipes, Grid) and len(recipes.seeds) > 1:
        groups = {name: name.removesuffix(f"-seed-{recipe.seed}") for name, recipe in named.items()}
    return Plan(named, groups, {"kind": "halving", "first": first} if halving else {"kind": "grid"}, {}, {})


class Request(NamedTuple):
    """A plan for given images.

    Attributes:
        trials: Its trials in order, infeasible ones included; empty where a search proposes them.
        value: What ``sweep.json`` keeps of it, JSON-plain.
    """

    trials: list[Trial]
    value: dict[str, Any]


def request(asked: Plan, prepared: Prepared) -> Request:
    """Return the trials of a plan for these images, and what the sweep folder keeps.

    Raises:
        RecipeError: No recipe fits the images.
    """
    import numpy as np

    spec, classes, labels = prepared.spec, prepared.classes, prepared.validation.labels
    trials = [
        Trial.of(name, recipe, spec=spec_for(recipe, spec), classes=len(classes), group=asked.groups.get(name, name))
        for name, recipe in asked.recipes.items()
    ]
    if trials and all(trial.infeasible for trial in trials):
        raise RecipeError(
            f"None of the {len(trials)} models fits the images; {trials[0].name}: {trials[0].infeasible}",
            do="prepare larger images",
        )
    majority = int(np.bincount(labels, minlength=len(classes)).argmax())
    value = {
        "format": 1,
        "data": prepared.fingerprint,
        "classes": list(classes),
        "spec": spec.to_json(),
        "images": len(prepared.train.labels),
        "validation": {
            "images": len(labels),
            "majority": classes[majority],
            "share": float((labels == majority).mean()) if len(labels) else 0.0,
        },
        "search": json_text.plain(asked.search),
        "trials": [trial.to_json() for trial in trials],
    }
    return Request(trials, value)


def differences(folder: Path, asked: Mapping[str, Any]) -> list[str]:
    """Return what differs between the sweep in a folder and a request, a phrase each; empty for the same sweep.

    The only decision of this kind: choosing a folder and refusing another sweep's folder both use it. A setting that a
    kept recipe lacks, because an earlier version wrote it, has its default.
    """
    kept = SweepFolder(folder).request
    found = [f"the {name} differ" for name in ("data", "search") if kept.get(name) != asked[name]]
    here, there = (_settings(request["trials"]) for request in (asked, kept))
    if here.keys() != there.keys():
        return [*found, "the names of the trials differ"]
    return found + [f"the recipe of {name} differs" for name in here if here[name] != there[name]][:3]


def _settings(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for trial in trials:
        try:
            found[str(trial["name"])] = json_text.plain(Recipe.from_json(trial["recipe"]).to_json())
        except RecipeError:  # of a version that has other settings
            found[str(trial["name"])] = trial["recipe"]
    return found


def free_folder(prepared: Prepared, asked: Mapping[str, Any]) -> Path:
    """Return the folder of this sweep if there is one, else the first free ``sweeps/<name>[-N]``."""
    number = 1
    while True:
        name = prepared.folder.name
        folder = Path("sweeps") / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or not any(folder.iterdir()):
            return folder
        if (folder / "sweep.json").is_file() and not differences(folder, asked):
            return folder
        number += 1


def refuse_other(folder: Path, asked: Mapping[str, Any]) -> None:
    """Check that a sweep may be written to a folder: it is empty, or holds the same sweep.

    Raises:
        StoreError: The folder holds another sweep, or something else.
    """
    if (folder / "sweep.json").is_file():
        if differing := differences(folder, asked):
            raise StoreError(
                f"The folder holds another sweep: {'; '.join(differing)}",
                do="choose another folder, or remove that sweep",
                folder=str(folder),
            )
    elif folder.is_dir() and (others := sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))):
        raise StoreError(
            "The folder is not empty and not a sweep",
            expected="a new folder, or one of an earlier sweep",
            do="choose another folder",
            folder=str(folder),
            holds=", ".join(others[:3]),
        )


def _named(recipes: Grid | Mapping[str, Recipe] | Sequence[Recipe]) -> dict[str, Recipe]:
    """Return trial name -> recipe."""
    if isinstance(recipes, Grid):
        return recipes.recipes()
    if isinstance(recipes, Mapping):
        return dict(recipes)
    found: dict[str, Recipe] = {}
    for recipe in dict.fromkeys(recipes):
        found[recipe.name if recipe.name not in found else f"{recipe.name}-{recipe.fingerprint[:6]}"] = recipe
    return found
