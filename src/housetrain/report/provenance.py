"""How to use a run's model, and how to reproduce the run.

In: a run and its evaluation. Out: plain values for the report. No host name is among them: reports are passed around.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from housetrain.errors import one_line
from housetrain.system.text import format_bytes, format_count, format_duration
from housetrain.training.environment import read_environment

if TYPE_CHECKING:
    from housetrain.evaluation.evaluation import Evaluation
    from housetrain.training.run import Run


def usage(run: Run, evaluation: Evaluation | None) -> dict[str, str]:
    """Return the folders and the example that the commands and the Python code of the report show."""
    folder = _relative(run.folder)
    bundle = folder / "bundle" if (run.folder / "bundle").is_dir() else folder
    example = evaluation.rows[0] if evaluation and evaluation.rows else None
    return {
        "run": shlex.quote(one_line(str(folder))),
        "bundle": shlex.quote(one_line(str(bundle))),
        "bundle_text": repr(str(bundle)),
        "label": repr(example.predicted if example else run.classes[0]),
        "probability": f"{example.probability:.2f}" if example else "0.97",
    }


def _relative(folder: Path) -> Path:
    """Return the folder relative to the current one, if it lies below it."""
    absolute = folder.resolve()
    here = Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def provenance(run: Run, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    """Return what is needed to reproduce the run, as (name, value)."""
    split, opening = run.split, evaluation.opening if evaluation else None
    env = read_environment(run.folder)
    versions = {"Python": env.get("python"), **dict(env.get("versions") or {})}
    machine = [env.get("cpu"), env.get("cores") and f"{env['cores']} cores"]
    memory = env.get("memory_bytes")
    machine += [f"{format_bytes(memory)} of memory" if memory else None]
    rows: list[tuple[str, Any]] = [
        ("Command", env.get("command")),
        ("Working folder", env.get("working_folder")),
        ("Images", split.root),
        ("Split", _options_text(split.options)),
        ("Training seed", run.recipe_json.get("seed")),
        ("Started", env.get("started")),
        ("Training time", _training_time(run.result or {})),
        ("Test split opened", opening and f"{_times(opening.count)}; last on {opening.when.replace('T', ' ')}"),
        ("Runs that opened this test", opening and opening.runs),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Backend", " in ".join(str(env[key]) for key in ("backend", "precision") if env.get(key))),
        ("Machine", ", ".join(str(one) for one in machine if one)),
        ("Fingerprint of the images", run.input_json.get("data")),
        ("Fingerprint of the split", split.fingerprint),
        ("SHA-256 of the model", opening and opening.model_sha256),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _training_time(result: Mapping[str, Any]) -> str:
    if not result:
        return ""
    work = format_count(int(result.get("epochs_run", 0)), "epoch")
    if "steps_run" in result:
        work = format_count(int(result["steps_run"]), "regularization strength")
    text = f"{format_duration(result.get('seconds'))}, {work}"
    reason = result.get("reason")
    return text if reason in (None, "all epochs") else f"{text}, ended by {reason}"


def _options_text(options: Mapping[str, Any]) -> str:
    """Return the options of the split that are set; a seed of 0 is."""
    named = [
        (name.replace("_", " "), value)
        for name, value in options.items()
        if value is not None and value is not False and name not in ("catalog", "corrections")
    ]
    return ", ".join(name if value is True else f"{name} {value}" for name, value in named)
