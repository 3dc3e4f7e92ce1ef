"""housetrain: from a folder of labeled images to an image classifier you can trust, on your own machine.

Every command is a function of the same name, and each returns what the next one takes::

    import housetrain as ht

    catalog = ht.scan("PetImages")                       # every image decoded once
    findings = ht.check(catalog)                         # broken, duplicated and mislabeled images
    manifest = ht.split(catalog)                         # train / validation / test; no file is moved
    prepared = ht.prepare(manifest, image_size=50)       # uint8 arrays on disk
    run = ht.train(prepared, ht.Recipe.of("cnn", conv=3, nodes=64))
    result = ht.evaluate(run)                            # the only step that reads the test images
    print(result.loss, result.accuracy)
    ht.Predictor.load(run).predict("photo.jpg")

``ht.run("PetImages")`` does all of it, and ``ht.Prepared.from_arrays`` starts from arrays instead of image files. Names
are imported on first use: importing the package is quick and never imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housetrain.cli.progress_bar import ProgressBar as ProgressBar
    from housetrain.data.catalog import Catalog as Catalog
    from housetrain.data.catalog import scan as scan
    from housetrain.data.checks import check as check
    from housetrain.data.contact_sheet import show as show
    from housetrain.data.findings import Finding as Finding
    from housetrain.data.prepare import prepare as prepare
    from housetrain.data.prepared import Prepared as Prepared
    from housetrain.data.prepared import SplitArrays as SplitArrays
    from housetrain.data.samples import sample as sample
    from housetrain.data.split import split as split
    from housetrain.data.split_manifest import SplitManifest as SplitManifest
    from housetrain.diagnosis import Diagnosis as Diagnosis
    from housetrain.diagnosis import doctor as doctor
    from housetrain.errors import HousetrainError as HousetrainError
    from housetrain.evaluation.evaluate import evaluate as evaluate
    from housetrain.evaluation.evaluation import Evaluation as Evaluation
    from housetrain.evaluation.label_issues import LabelIssues as LabelIssues
    from housetrain.evaluation.label_issues import labels as labels
    from housetrain.exports.bundle import Benchmark as Benchmark
    from housetrain.exports.bundle import Exported as Exported
    from housetrain.exports.bundle import benchmark as benchmark
    from housetrain.exports.bundle import export as export
    from housetrain.images.decode import load_image as load_image
    from housetrain.images.input_spec import InputSpec as InputSpec
    from housetrain.inference.batch_predict import BatchResult as BatchResult
    from housetrain.inference.batch_predict import predict_into as predict_into
    from housetrain.inference.classify import classify as classify
    from housetrain.inference.embed import Embedded as Embedded
    from housetrain.inference.embed import embed as embed
    from housetrain.inference.prediction import Prediction as Prediction
    from housetrain.inference.predictor import Predictor as Predictor
    from housetrain.inference.predictor import predict as predict
    from housetrain.models.recipe import Recipe as Recipe
    from housetrain.report.explain import Explained as Explained
    from housetrain.report.explain import explain as explain
    from housetrain.report.report import write_report as write_report
    from housetrain.reproduction import Reproduction as Reproduction
    from housetrain.reproduction import reproduce as reproduce
    from housetrain.sweeps.compare import Comparison as Comparison
    from housetrain.sweeps.compare import compare as compare
    from housetrain.sweeps.driver import sweep as sweep
    from housetrain.sweeps.grid import Grid as Grid
    from housetrain.sweeps.leaderboard import Leaderboard as Leaderboard
    from housetrain.sweeps.leaderboard import leaderboard as leaderboard
    from housetrain.sweeps.runs import RunRow as RunRow
    from housetrain.sweeps.runs import runs as runs
    from housetrain.system.events import Callback as Callback
    from housetrain.training.board import board as board
    from housetrain.training.finetune import finetune as finetune
    from housetrain.training.folds import cross_validate as cross_validate
    from housetrain.training.lr_find import LrCurve as LrCurve
    from housetrain.training.lr_find import lr_find as lr_find
    from housetrain.training.run import History as History
    from housetrain.training.run import Run as Run
    from housetrain.training.train import train as train
    from housetrain.workflow import Outcome as Outcome
    from housetrain.workflow import run as run

_HOME = {
    "cli.progress_bar": ("ProgressBar",),
    "data.catalog": ("Catalog", "scan"),
    "data.checks": ("check",),
    "data.contact_sheet": ("show",),
    "data.findings": ("Finding",),
    "data.prepare": ("prepare",),
    "data.prepared": ("Prepared", "SplitArrays"),
    "data.samples": ("sample",),
    "data.split": ("split",),
    "data.split_manifest": ("SplitManifest",),
    "diagnosis": ("Diagnosis", "doctor"),
    "errors": ("HousetrainError",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.evaluation": ("Evaluation",),
    "evaluation.label_issues": ("LabelIssues", "labels"),
    "exports.bundle": ("Benchmark", "Exported", "benchmark", "export"),
    "images.decode": ("load_image",),
    "images.input_spec": ("InputSpec",),
    "inference.batch_predict": ("BatchResult", "predict_into"),
    "inference.classify": ("classify",),
    "inference.embed": ("Embedded", "embed"),
    "inference.prediction": ("Prediction",),
    "inference.predictor": ("Predictor", "predict"),
    "models.recipe": ("Recipe",),
    "report.explain": ("Explained", "explain"),
    "report.report": ("write_report",),
    "reproduction": ("Reproduction", "reproduce"),
    "sweeps.compare": ("Comparison", "compare"),
    "sweeps.driver": ("sweep",),
    "sweeps.grid": ("Grid",),
    "sweeps.leaderboard": ("Leaderboard", "leaderboard"),
    "sweeps.runs": ("RunRow", "runs"),
    "system.events": ("Callback",),
    "training.run": ("History", "Run"),
    "training.board": ("board",),
    "training.finetune": ("finetune",),
    "training.folds": ("cross_validate",),
    "training.lr_find": ("LrCurve", "lr_find"),
    "training.train": ("train",),
    "workflow": ("Outcome", "run"),
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
