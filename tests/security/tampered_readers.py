"""Every function of the package that reads files of a folder somebody else may have sent, by kind of folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Reader = Callable[[Path], object]


# ------------------------------------------------------------------------------------------------- a run
def read_run(folder: Path) -> None:
    from housetrain.training.run import Run

    run = Run.open(folder)
    names = (
        "name", "recipe_json", "input_json", "classes", "spec", "split", "history", "progress", "result", "complete",
        "failure", "state", "model_sha256",
    )  # fmt: skip
    for name in names:
        repr(getattr(run, name))
    repr(run)
    run.validation_probabilities(8)


def read_recipe(folder: Path) -> None:
    from housetrain.models.recipe import Recipe
    from housetrain.training.run import Run

    Recipe.from_json(Run.open(folder).recipe_json)


def read_arrays_of_run(folder: Path) -> None:
    from housetrain.training.run import Run
    from housetrain.training.run_data import prepared_of

    prepared_of(Run.open(folder))


def read_model(folder: Path) -> None:
    from housetrain.inference.formats import FORMATS
    from housetrain.models.saved_layers import read_layers

    FORMATS["keras"].check(folder / "model.keras", False)  # type: ignore[misc]
    read_layers(folder / "model.keras")


def read_evaluation(folder: Path) -> None:
    from housetrain.evaluation.evaluation import Evaluation

    found = Evaluation.load(folder / "evaluation")
    repr((found, found.summary(), found.to_json(), found._repr_html_(), found.mistakes))


def report(folder: Path) -> None:
    from housetrain.report.report import write_report

    write_report(folder)


def compare(folder: Path) -> None:
    from housetrain.sweeps.compare import compare as compare_runs

    found = compare_runs(folder, folder.with_name(f"{folder.name}-whole"))
    repr((found.rows(), found.curves(), found))


def predict(folder: Path) -> None:
    from housetrain.inference.predictor import Predictor

    with Predictor.load(folder) as predictor:
        repr(predictor.predict(np.zeros((12, 12), np.uint8)))


def read_bundle(folder: Path) -> None:
    from housetrain.inference.verify import read_bundle as read

    repr(read(folder))


def check_models(folder: Path) -> None:
    from housetrain.inference.formats import FORMATS

    for one in FORMATS.values():
        if one.check is not None and (folder / one.file).exists():
            one.check(folder / one.file, False)


# ------------------------------------------------------------------------------------------------- a sweep
def leaderboard(folder: Path) -> None:
    from housetrain.sweeps.leaderboard import leaderboard as rank

    found = rank(folder)
    repr((found, found.summary(), found.to_json(), found.to_csv(), found._repr_html_(), found.best_run))


def status(folder: Path) -> None:
    from housetrain.sweeps.status import look

    repr(look(folder))


def sweep_report(folder: Path) -> None:
    from housetrain.report.sweep_report import write_leaderboard
    from housetrain.sweeps.leaderboard import leaderboard as rank

    write_leaderboard(rank(folder))


def compare_trials(folder: Path) -> None:
    from housetrain.sweeps.compare import compare as compare_runs

    first, second = sorted(path for path in (folder / "trials").iterdir() if path.is_dir())[:2]
    repr(compare_runs(first, second).rows())


def finish_sweep(folder: Path) -> None:
    from housetrain.sweeps import driver
    from housetrain.sweeps.folder import SweepFolder

    driver._finish(SweepFolder(folder))


# ------------------------------------------------------------------------------------------------- prepared images
def read_prepared(folder: Path) -> None:
    from housetrain.data.prepared import Prepared

    found = Prepared.open(folder)
    repr((found, found.counts(), found._repr_html_(), found.balance))
    for name in ("train", "validation", "test"):
        arrays = found.arrays(name)  # type: ignore[arg-type]
        repr((arrays, arrays.labels, arrays.paths, arrays.sha256, int(np.sum(arrays.images))))


def read_prepared_in_the_studio(folder: Path) -> None:
    from housetrain.studio.shelf import Arrays

    found = Arrays.open(folder)
    repr((found.name, [found.total(name) for name in ("train", "validation", "test")]))


def read_labels(folder: Path) -> None:
    from housetrain.evaluation.label_issues import LabelIssues

    found = LabelIssues.load(folder)
    repr((found, found.summary(), found.to_json(), found.to_csv(), [one.reason for one in found.issues]))


def label_page(folder: Path) -> None:
    from housetrain.data.prepared import Prepared
    from housetrain.evaluation.label_issues import LabelIssues
    from housetrain.report.labels_page import write_labels_page

    write_labels_page(LabelIssues.load(folder), Prepared.open(folder))


def prepare_again(folder: Path) -> None:
    from housetrain.data.prepared_folder import cached

    cached(folder, "split", "0")


# ------------------------------------------------------------------------------------------------- the studio's notes
def read_jobs(folder: Path) -> None:
    from housetrain.studio import jobs

    for job in jobs.all_of(folder):
        repr((job, job.state, job.active, job.progress, job.output, job.error, job.pid))


READERS: dict[str, dict[str, Reader]] = {
    "run": {
        "run": read_run, "recipe": read_recipe, "arrays": read_arrays_of_run, "model": read_model,
        "evaluation": read_evaluation, "report": report, "compare": compare, "predict": predict,
    },
    "bundle": {"read": read_bundle, "check": check_models, "predict": predict},
    "sweep": {
        "leaderboard": leaderboard, "status": status, "report": sweep_report, "compare": compare_trials,
        "finish": finish_sweep,
    },
    "prepared": {
        "prepared": read_prepared, "studio": read_prepared_in_the_studio, "again": prepare_again,
        "labels": read_labels, "label page": label_page,
    },
    "jobs": {"jobs": read_jobs},
}  # fmt: skip
"""Kind of folder -> the readers of its files by name."""


def make(work: Path, *, run: Path, prepared: Path) -> None:
    """Write a whole folder of each kind below ``work``, and a secret beside them."""
    import shutil

    from sweep_by_hand import answers, labels, write_sweep

    from housetrain.images.encode import encode

    (work / "outside").mkdir(parents=True)
    (work / "outside" / "secret.png").write_bytes(
        encode(np.random.default_rng(9).integers(0, 256, (9, 9, 3), np.uint8))
    )
    shutil.copytree(run, work / "run")
    shutil.copytree(run / "bundle", work / "bundle")
    shutil.copytree(prepared, work / "prepared")
    _make_explanations(work / "run")
    _make_labels(work / "prepared")
    truth = labels(40)
    cells: dict[str, dict[str, Any]] = {
        "a": {"outputs": [answers(truth, right=0.9, seed=1), answers(truth, right=0.9, seed=2)]},
        "b": {"outputs": [answers(truth, right=0.8, seed=3)], "recipe": {"dense": 1}},
        "c": {"failed": "a loss that is not a number", "recipe": {"dense": 2}},
        "d": {"outputs": [answers(truth, right=0.6, seed=4)], "dropped": "others were better", "recipe": {"conv": 1}},
    }
    write_sweep(work / "sweep", cells, truth=truth, infeasible={"e": "too deep"})
    _make_job(work / "jobs" / "1-train-ab")


def _make_labels(prepared: Path) -> None:
    """Add a list of labels that are probably wrong, as `labels` writes it."""
    from housetrain.data.prepared import Prepared
    from housetrain.evaluation.label_issues import FILE, FOLDER, LabelIssue, LabelIssues, Neighbor
    from housetrain.system import store

    found = Prepared.open(prepared)
    one, other = found.train.rows[:2]
    near = Neighbor(other.path, other.sha256, other.label, 0.9)
    issue = LabelIssue(one.path, one.sha256, one.label, other.label, 0.9, 0.1, "train", 7, 10, (near,))
    issues = LabelIssues((issue,), found.split.root, prepared, found.classes, 40, 0, "pixels", 0.9)
    (prepared / FOLDER).mkdir(exist_ok=True)
    store.write_json_atomic(prepared / FOLDER / FILE, issues.to_json())


def _make_explanations(run: Path) -> None:
    """Add the explanations of one image, as `explain` writes them."""
    from housetrain.images.encode import encode
    from housetrain.report import explain_page
    from housetrain.system import store

    folder = run / "explained" / "cat-01234567"
    folder.mkdir(parents=True)
    for name in ("image", "grad-cam", "occlusion", "layer"):
        (folder / f"{name}.png").write_bytes(encode(np.zeros((4, 4, 3), np.uint8)))
    entry = {
        "folder": folder.name,
        "model_sha256": "0",
        "layers": [{"file": "layer.png", "name": "a"}],
        "path": "a.png",
    }
    store.write_json_atomic(run / "explained" / explain_page.INDEX, {"images": [entry]})


def _make_job(folder: Path) -> None:
    from housetrain.system import store

    files = {
        "job": {"verb": "train", "words": ["train", "x"], "target": "x", "started": 1.0},
        "process": {"pid": 1, "born": 1.0, "boot": "0"},
        "progress": {"title": "Training", "done": 1, "total": 2, "seconds": 1.0},
        "asked": {"time": 1.0},
        "ended": {"code": 2, "time": 2.0},
    }
    for name, value in files.items():
        store.write_json_atomic(folder / f"{name}.json", value)
    for name in ("out", "err"):
        (folder / name).write_text("Error: a loss that is not a number\n")
