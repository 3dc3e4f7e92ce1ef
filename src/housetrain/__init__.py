"""housetrain: from a folder of labeled images to an image classifier you can trust, on your own machine.

The verbs of the command line are functions here, and each gives what the next one takes::

    import housetrain as ht

    catalog  = ht.scan("PetImages")                  # every image decoded once
    findings = ht.check(catalog)                     # what is wrong with them
    manifest = ht.split(catalog)                     # train / validation / test, as a list; no file is moved
    prepared = ht.prepare(manifest, image_size=50)         # uint8 arrays on disk
    run      = ht.train(prepared, ht.Recipe.of("cnn", conv=3, nodes=64))
    result   = ht.evaluate(run)                      # the only step that opens the test images
    ht.Predictor.load(run).predict("photo.jpg")

or all of it at once: ``ht.run("PetImages")``. Names are resolved when first used, so that importing the package
stays quick and never imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housetrain.cli.progress_bar import ProgressBar as ProgressBar
    from housetrain.data.catalog import Catalog as Catalog
    from housetrain.data.catalog import scan as scan
    from housetrain.data.checks import Finding as Finding
    from housetrain.data.checks import check as check
    from housetrain.data.contact_sheet import contact_sheet as contact_sheet
    from housetrain.data.prepare import Prepared as Prepared
    from housetrain.data.prepare import prepare as prepare
    from housetrain.data.samples import sample as sample
    from housetrain.data.split import split as split
    from housetrain.data.split_manifest import SplitManifest as SplitManifest
    from housetrain.errors import HousetrainError as HousetrainError
    from housetrain.evaluation.evaluate import Evaluation as Evaluation
    from housetrain.evaluation.evaluate import evaluate as evaluate
    from housetrain.exports.bundle import export as export
    from housetrain.exports.bundle import export_bundle as export_bundle
    from housetrain.images.decode import load_image as load_image
    from housetrain.images.input_spec import InputSpec as InputSpec
    from housetrain.inference.batch_predict import predict_into as predict_into
    from housetrain.inference.prediction import Prediction as Prediction
    from housetrain.inference.predictor import Predictor as Predictor
    from housetrain.models.recipe import Recipe as Recipe
    from housetrain.report.report import write_report as write_report
    from housetrain.sweeps.compare import compare as compare
    from housetrain.sweeps.driver import sweep as sweep
    from housetrain.sweeps.grid import Grid as Grid
    from housetrain.sweeps.leaderboard import Leaderboard as Leaderboard
    from housetrain.system.events import Callback as Callback
    from housetrain.training.run import Run as Run
    from housetrain.training.train import train as train
    from housetrain.workflow import run as run

_HOME = {
    "cli.progress_bar": ("ProgressBar",),
    "system.events": ("Callback",),
    "data.catalog": ("Catalog", "scan"),
    "data.checks": ("Finding", "check"),
    "images.decode": ("load_image",),
    "images.input_spec": ("InputSpec",),
    "data.prepare": ("Prepared", "prepare"),
    "data.samples": ("sample",),
    "data.contact_sheet": ("contact_sheet",),
    "data.split_manifest": ("SplitManifest",),
    "data.split": ("split",),
    "inference.batch_predict": ("predict_into",),
    "exports.bundle": ("export", "export_bundle"),
    "inference.prediction": ("Prediction",),
    "inference.predictor": ("Predictor",),
    "errors": ("HousetrainError",),
    "workflow": ("run",),
    "sweeps.compare": ("compare",),
    "evaluation.evaluate": ("Evaluation", "evaluate"),
    "report.report": ("write_report",),
    "sweeps.leaderboard": ("Leaderboard",),
    "training.run": ("Run",),
    "sweeps.grid": ("Grid",),
    "training.train": ("train",),
    "models.recipe": ("Recipe",),
    "sweeps.driver": ("sweep",),
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
