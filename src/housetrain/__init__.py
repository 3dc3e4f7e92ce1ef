"""housetrain: from a folder of labelled pictures to an image classifier you can trust, on your own machine.

The verbs of the command line are functions here, and each gives what the next one takes::

    import housetrain as ht

    catalog  = ht.scan("PetImages")                  # every picture decoded once
    findings = ht.check(catalog)                     # what is wrong with them
    division = ht.split(catalog)                     # train / validation / test, as a list; no file is moved
    prepared = ht.prepare(division, size=50)         # uint8 arrays on disk
    run      = ht.train(prepared, ht.Recipe.of("cnn", conv=3, nodes=64))
    result   = ht.evaluate(run)                      # the only step that opens the test pictures
    ht.Predictor.load(run).predict("photo.jpg")

or all of it at once: ``ht.run("PetImages")``. Names are resolved when first used, so that importing the package
stays quick and never imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housetrain.data.catalog import Catalog as Catalog
    from housetrain.data.catalog import scan as scan
    from housetrain.data.checks import Finding as Finding
    from housetrain.data.checks import check as check
    from housetrain.data.decode import InputSpec as InputSpec
    from housetrain.data.decode import load as load
    from housetrain.data.prepare import Prepared as Prepared
    from housetrain.data.prepare import prepare as prepare
    from housetrain.data.samples import sample as sample
    from housetrain.data.sheets import contact_sheet as contact_sheet
    from housetrain.data.split import Split as Split
    from housetrain.data.splitting import split as split
    from housetrain.deploy.bulk import predict_into as predict_into
    from housetrain.deploy.export import export as export
    from housetrain.deploy.export import export_bundle as export_bundle
    from housetrain.deploy.predictor import Prediction as Prediction
    from housetrain.deploy.predictor import Predictor as Predictor
    from housetrain.errors import HousetrainError as HousetrainError
    from housetrain.pipeline import run as run
    from housetrain.results.compare import compare as compare
    from housetrain.results.evaluate import Evaluation as Evaluation
    from housetrain.results.evaluate import evaluate as evaluate
    from housetrain.results.report import write_report as write_report
    from housetrain.runs.leaderboard import Leaderboard as Leaderboard
    from housetrain.runs.run import Run as Run
    from housetrain.training.grid import Grid as Grid
    from housetrain.training.loop import train as train
    from housetrain.training.recipe import Recipe as Recipe
    from housetrain.training.sweep import sweep as sweep

_HOME = {
    "data.catalog": ("Catalog", "scan"),
    "data.checks": ("Finding", "check"),
    "data.decode": ("InputSpec", "load"),
    "data.prepare": ("Prepared", "prepare"),
    "data.samples": ("sample",),
    "data.sheets": ("contact_sheet",),
    "data.split": ("Split",),
    "data.splitting": ("split",),
    "deploy.bulk": ("predict_into",),
    "deploy.export": ("export", "export_bundle"),
    "deploy.predictor": ("Prediction", "Predictor"),
    "errors": ("HousetrainError",),
    "pipeline": ("run",),
    "results.compare": ("compare",),
    "results.evaluate": ("Evaluation", "evaluate"),
    "results.report": ("write_report",),
    "runs.leaderboard": ("Leaderboard",),
    "runs.run": ("Run",),
    "training.grid": ("Grid",),
    "training.loop": ("train",),
    "training.recipe": ("Recipe",),
    "training.sweep": ("sweep",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - derived from the table above, the one place that lists the names


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("housetrain")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'housetrain' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"housetrain.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
