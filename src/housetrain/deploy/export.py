"""Run -> bundle: one folder with the model, its class names and everything needed to use and to check it.

In: a run with a model. Out: a folder that `housetrain.deploy.predictor.Predictor.load` opens on any machine::

    model.keras    the best epoch, for use: no augmentation, no optimizer
    bundle.json    class names, what the model eats, how and on what it was made, how good it was
    golden.npz     a dozen real validation pictures and the model's answers: still the same when it is loaded?
    seen.npz       which files it was made with (8 bytes of each sha256), so that a prediction can say so
    README.md      how to use it
    manifest.json  size and sha256 of each file; written last

The folder appears at once, or the old one stays as it was. Nothing in it is pickled, nothing names a path of this
machine, and the same run gives the same bytes. It does not know how the model was trained.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from housetrain.deploy import verify
from housetrain.deploy.engines import KerasEngine, Pictures
from housetrain.errors import DecodeError, HousetrainError, IncompleteError, ModelError
from housetrain.runs import store
from housetrain.runs.run import Run

if TYPE_CHECKING:
    from housetrain.data.decode import InputSpec

GOLDEN_PICTURES = 12
_METRICS = ("n", "accuracy", "accuracy_interval", "loss", "auc", "ece")


def export_bundle(run: Run | Path | str, folder: Path | str | None = None) -> Path:
    """Write the bundle of a run, checked before it counts.

    Args:
        run: A run, or its folder; it needs a model, not a finished training.
        folder: The folder to make, or to replace if it is a bundle; by default ``bundle`` inside the run.

    Returns:
        The bundle's folder.

    Raises:
        IncompleteError: The run has no model yet.
        ModelError: The model is refused, or ``folder`` holds something else than a bundle.
        DiskFull: There is no room or no permission; what was there before is intact.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    source = run.model_path
    target = Path(folder) if folder is not None else run.folder / "bundle"
    _refuse_to_replace_anything_else(target)
    store.ensure_room(target, source.stat().st_size + (4 << 20))

    spec, classes = run.spec, run.classes
    pictures, origin = _golden_pictures(run, spec)
    with store.commit_folder(target.absolute().parent, target.name) as inside:
        shutil.copyfile(source, inside / verify.MODEL)
        engine = KerasEngine.load(inside / verify.MODEL, classes=len(classes), input_shape=spec.shape)
        probabilities = engine.probabilities(pictures)
        if not np.isfinite(probabilities).all():
            raise ModelError("The model's answers are not numbers", do="train it anew", run=str(run.folder))
        about = _about(run, engine=engine, golden=origin)
        store.write_json_atomic(inside / verify.ABOUT, about)
        _save_arrays(inside / verify.GOLDEN, pictures=pictures, probabilities=probabilities)
        _save_arrays(inside / verify.SEEN, **verify.Seen.of(run.split).prefixes)
        (inside / "README.md").write_text(_readme(target.name, about, spec), encoding="utf-8")
    return target


def _refuse_to_replace_anything_else(target: Path) -> None:
    """A folder is replaced whole, so it must be one that export wrote: a slip must not cost a folder of photos."""
    if target.exists() and not ((target / store.MANIFEST).is_file() and (target / verify.ABOUT).is_file()):
        if target.is_dir() and not any(target.iterdir()):
            return
        raise ModelError(
            "There is something else where the bundle should go",
            expected="a new folder, or a bundle to replace",
            do="choose another folder",
            folder=str(target),
        )


def _about(run: Run, *, engine: KerasEngine, golden: str) -> dict[str, Any]:
    """Return the value of ``bundle.json``: what is true of the model, whatever the day."""
    result = run.result or {}
    model_sha256 = store.file_sha256(run.model_path)
    keras, when = _saved_by(run.model_path)
    return {
        "format": verify.FORMAT,
        "housetrain": version("housetrain"),
        "engine": "keras",
        "model": verify.MODEL,
        "keras": keras,
        "tolerance": engine.tolerance,
        "classes": list(run.classes),
        "spec": run.spec.to_json(),
        "recipe": run.recipe_json,
        "metrics": {
            "best_epoch": result.get("best_epoch"),
            "validation": {name: result.get(f"val_{name}") for name in ("loss", "accuracy")},
            "test": _test_metrics(run, model_sha256),
        },
        "trained": when,
        "data": run.input_json.get("data"),
        "counts": run.split.counts(),
        "golden": golden,
        "run": {"name": run.name, "complete": run.complete, "model_sha256": model_sha256},
    }


def _saved_by(model: Path) -> tuple[str, str | None]:
    """Return which Keras saved the model, and the local time when it did: the end of its best epoch, about."""
    with zipfile.ZipFile(model) as archive:
        facts = json.loads(archive.read("metadata.json"))
    when = facts.get("date_saved")
    return str(facts.get("keras_version", "unknown")), str(when).replace("@", "T") if when else None


def _test_metrics(run: Run, model_sha256: str) -> dict[str, Any] | None:
    """Return the test result kept in the run, if it is of these very weights."""
    try:
        kept = store.read_json(run.folder / "evaluation" / "evaluation.json")
    except IncompleteError:
        return None
    if not isinstance(kept, dict) or kept.get("weights") != model_sha256:
        return None
    return {name: kept[name] for name in _METRICS if name in kept}


def _golden_pictures(run: Run, spec: InputSpec) -> tuple[Pictures, str]:
    """Return validation pictures of every class in turn, and the word for where they come from.

    From the prepared arrays where these are still those of the run; else from the files; and where both are gone, from
    a seeded generator: noise says less of a model than photos, yet it tells a changed one.
    """
    rows = run.split.of("validation")
    wanted = _spread([row.label for row in rows])
    for find in (_prepared_pictures, _decoded_pictures):
        with contextlib.suppress(HousetrainError):
            return find(run, spec, wanted), "validation"
    return np.random.default_rng(0).integers(0, 256, (GOLDEN_PICTURES, *spec.shape), dtype=np.uint8), "noise"


def _prepared_pictures(run: Run, spec: InputSpec, wanted: list[int]) -> Pictures:
    from housetrain.data.prepare import Prepared

    prepared = Prepared.load(Path(run.input_json.get("prepared") or run.folder))
    rows = run.split.of("validation")
    same = prepared.spec == spec and prepared.sha256("validation") == tuple(row.sha256 for row in rows)
    if not (same and wanted):
        raise IncompleteError("The prepared pictures are no longer those of the run", folder=str(prepared.folder))
    pictures = prepared.pictures("validation")
    return np.stack([np.asarray(pictures[index]) for index in wanted])


def _decoded_pictures(run: Run, spec: InputSpec, wanted: list[int]) -> Pictures:
    from housetrain.data import decode

    rows, found = run.split.of("validation"), []
    for index in wanted:
        with contextlib.suppress(DecodeError):
            found.append(decode.load(run.split.root / rows[index].path, spec))
    if not found:
        raise IncompleteError("The validation pictures of the run are gone", folder=str(run.split.root))
    return np.stack(found)


def _spread(labels: list[str]) -> list[int]:
    """Return a dozen places in a list of labels, every class in turn."""
    places: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        places.setdefault(label, []).append(index)
    turns = [row[turn] for turn in range(GOLDEN_PICTURES) for _, row in sorted(places.items()) if turn < len(row)]
    return sorted(turns[:GOLDEN_PICTURES])


def _save_arrays(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """Write an ``.npz``. Compressed: golden pictures shrink; numpy stamps members with 1980, so bytes repeat."""
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _readme(name: str, about: dict[str, Any], spec: InputSpec) -> str:
    """Return the README that lies beside the model. Its Python block runs as it stands: a test does."""
    classes = ", ".join(about["classes"][:20]) + (", ..." if len(about["classes"]) > 20 else "")
    test = about["metrics"]["test"]
    if test and test.get("accuracy_interval"):
        low, high = test["accuracy_interval"]
        quality = (
            f"Right on {test['accuracy']:.1%} of {test['n']:,} test pictures (95 % interval {low:.1%} to {high:.1%})."
        )
    else:
        quality = "It was not tested yet: `housetrain evaluate` does that, then export again."
    return f"""\
# {name}: an image classifier

Tells apart: {classes}.
{quality}
It takes pictures of any size and format, and looks at them as {spec.height}x{spec.width} {spec.colour}.

## Use it

```sh
pip install 'housetrain[tensorflow]'
housetrain predict {shlex.quote(name)} photo.jpg
```

```python
from pathlib import Path

from housetrain import Predictor

predictor = Predictor.load(Path({name!r}))
prediction = predictor.predict(Path("photo.jpg"))
print(prediction.label, f"{{prediction.probability:.1%}}")
```

Both expect this folder, `{name}`, and `photo.jpg` in the folder where you are. Many pictures:
`housetrain predict {shlex.quote(name)} holiday/ --csv names.csv`, or `predictor.predict_many(paths)`.

## What is here

| file | what it is |
| --- | --- |
| `model.keras` | the model: uint8 pictures in, probabilities out, scaling inside; plain Keras loads it too |
| `bundle.json` | class names, input size and colour, how it was made, how good it was |
| `golden.npz` | pictures and the answers the model gave: checked each time it is loaded |
| `seen.npz` | fingerprints of the files it was made with: a prediction says if a picture was among them |
| `manifest.json` | size and sha256 of each file: a changed file is noticed |

Made with housetrain {about["housetrain"]} and Keras {about["keras"]}.
"""
