"""``bundle.json``: what is known of an exported model, independent of when it was exported.

In: a run, its exported models. Out: plain values. Does not know: how the models were converted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from housetrain.data.split_manifest import describe_corrections
from housetrain.errors import CorruptError, IncompleteError
from housetrain.exports.parity import Parity
from housetrain.inference import verify
from housetrain.inference.formats import FORMATS
from housetrain.inference.model_folder import decision_of, own_format
from housetrain.system import json_text, store
from housetrain.training.run import Run

_METRICS = ("n", "accuracy", "accuracy_interval", "loss", "auc", "ece")


def about_run(
    run: Run,
    *,
    models: Sequence[verify.ModelEntry],
    parity: Mapping[str, Parity],
    left_out: Mapping[str, str],
    golden: str,
    novelty: bool,
) -> dict[str, Any]:
    """Return the value of ``bundle.json``.

    Args:
        run: The run.
        models: The models of the bundle, the preferred one first.
        parity: Format -> its comparison with the Keras model.
        left_out: Format -> why it is missing.
        golden: Where the golden images come from.
        novelty: Whether the model comes with what tells novel images.
    """
    result = run.result or {}
    keras, when = _saved_by(run.model_path)
    return {
        "layout_version": verify.LAYOUT_VERSION,
        "housetrain": version("housetrain"),
        "models": [entry.to_json() for entry in models],
        "keras": keras,
        "classes": list(run.classes),
        "spec": run.input_json["spec"],
        "recipe": _without_folders(run.recipe_json),
        "metrics": {
            **{name: result[name] for name in ("best_epoch", "best_step", "l2") if name in result},
            "validation": {name: result.get(f"val_{name}") for name in ("loss", "accuracy")},
            "test": _test_metrics(run),
        },
        "trained": when,
        "data": run.input_json.get("data"),
        "decoder": run.input_json.get("decoder"),
        "counts": run.split.counts(),
        "corrections": describe_corrections(*run.split.corrections),
        "golden": golden,
        "novelty": novelty,
        "decision": decision_of(run.folder, run.classes, run.split).to_json(),
        "run": {"name": run.name, "complete": run.complete, "model_sha256": run.model_sha256},
        "parity": {name: _reproducible(row) for name, row in parity.items()},
        "left_out": dict(left_out),
    }


def is_current(bundle: Path, run: Run) -> bool:
    """Return whether a whole, undamaged bundle is what this version would export from a run now.

    It holds the run's current model and test result, and every model that can be written here or why one is missing.
    """
    try:
        store.verify_folder(bundle)
        about = store.read_object(
            bundle / verify.ABOUT, "housetrain", "run", "metrics", "models", "left_out", "decision"
        )
        named = {entry["format"] for entry in about["models"]} | about["left_out"].keys()
        return bool(
            about["housetrain"] == version("housetrain")
            and about["run"]["model_sha256"] == run.model_sha256
            and about["metrics"]["test"] == _test_metrics(run)
            and {own_format(run.folder).name, *(["openvino"] if FORMATS["openvino"].installed else [])} <= named
        )
    except (IncompleteError, CorruptError, KeyError, TypeError, AttributeError):
        return False


def _without_folders(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the name alone of a weights file: its folder is of this machine."""
    weights = recipe.get("weights")
    return {**recipe, **({"weights": Path(weights).name} if isinstance(weights, str) else {})}


def _reproducible(row: Parity) -> dict[str, Any]:
    """Return the values of a comparison that do not depend on the day."""
    return {
        "precision": row.precision,
        "images": row.images,
        "kind": row.kind,
        "difference": round(row.difference, 3),
        "agreement": round(row.agreement, 4),
        "accuracy": row.accuracy,
        "keras_accuracy": row.keras_accuracy,
    }


def _saved_by(model: Path) -> tuple[str | None, str | None]:
    """Return the version of Keras that saved the model, and when: at the end of its best epoch.

    Both are ``None`` where the backbone is an encoder of the user's own.
    """
    if model.suffix != ".keras":
        return None, None
    with zipfile.ZipFile(model) as archive:
        facts = json_text.parse_json(archive.read("metadata.json"), model)
    when = facts.get("date_saved")
    return str(facts.get("keras_version", "unknown")), str(when).replace("@", "T") if when else None


def _test_metrics(run: Run) -> dict[str, Any] | None:
    """Return the test result kept in the run, if it belongs to the current weights."""
    try:
        kept = store.read_json(run.folder / "evaluation" / "evaluation.json")
    except IncompleteError:
        return None
    if not isinstance(kept, dict) or (kept.get("opening") or {}).get("model_sha256") != run.model_sha256:
        return None
    return {name: kept[name] for name in _METRICS if name in kept}
