"""What the verb `predict` does with predictions: print, write and sort them. See `housetrain.cli.use`.

In: checked options. Out: lines, a file, a folder of class folders. It does not know how options are typed. Modules that
one photo does not need are imported where they are used: importing them takes a tenth of its time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from housetrain.cli import terminal
from housetrain.cli.progress_bar import callbacks_for, logs
from housetrain.cli.waiting import waiting
from housetrain.data.class_map import ClassMap
from housetrain.errors import RecipeError
from housetrain.inference.decision import thresholds_of
from housetrain.inference.inputs import Listing
from housetrain.inference.predictor import Predictor
from housetrain.inference.standard_input import NAME, StandardInput, refuse_options
from housetrain.system.events import Callbacks

if TYPE_CHECKING:
    from housetrain.inference.prediction import Prediction
    from housetrain.inference.ray_predictor import RayPredictor
    from housetrain.inference.sort_into import How, Sorter
    from housetrain.inference.tables import Table
    from housetrain.serve.client import RemotePredictor


def predict(
    run: str,
    images: list[str],
    table: Table | None = None,
    *,
    engine: str | None = None,
    class_map: Path | None = None,
    ray: Ray | None = None,
    vote_by: str | None = None,
    set_level: float | None = None,
    accept: list[str] | None = None,
    sort_into: Path | None = None,
    how: How = "auto",
    json_: bool = False,
    quiet: bool = False,
    top: int = 1,
    **options: Any,
) -> int:
    """Classify images; print the predictions or write them to ``table``; return how many could not be read."""
    refuse_options(images, {"output": table, "vote_by": vote_by, "sort_into": sort_into, "executor": ray})
    listing = _listed(images)
    if vote_by is not None:
        from housetrain.inference.vote import predict_sequences, sequence_key

        sequence_key(vote_by)  # before the model is loaded
    if sort_into is not None:
        _must_lie_outside(sort_into, listing.paths)
    predictor = _predictor(run, engine, class_map, ray, quiet=quiet)
    predictor = predictor.with_rules(set_level=set_level, accept=thresholds_of(accept))
    sorter = _sorter(sort_into, predictor.classes, how)
    if table is None:
        with predictor:
            options["top"] = None if json_ else top
            results = (
                predictor.predict_many(listing, **options)
                if vote_by is None
                else predict_sequences(predictor, listing, vote_by=vote_by, **options)
            )
            if isinstance(listing, StandardInput):
                results = (replace(one, image=NAME) for one in results)
            failed = _print(_sorted(results, sorter), top=top, json_=json_, quiet=quiet)
            _explain_unsure(predictor, quiet=json_ or quiet)
    else:
        from housetrain.inference.batch_predict import predict_into

        callbacks = callbacks_for(quiet=quiet or not listing.at_least(200))
        with predictor:
            result = predict_into(
                table.rows, predictor, listing, kind=table.kind, top=top, each=_each(sorter, json_),
                callbacks=callbacks, vote_by=vote_by, **options,
            )  # fmt: skip
            table.finish()
        result = replace(result, path=table.name)
        failed = result.failed
        if not json_:
            terminal.out(result.summary())
    if sorter is not None and not (json_ or quiet):
        terminal.out(sorter.summary())
    return failed


def _must_lie_outside(target: Path, given: Iterable[Path]) -> None:
    """Refuse to sort into a folder of images that is read. Beside a single image, a folder of its own is right."""
    from housetrain.data.output import refuse_inside

    for path in given:
        if path.is_dir():
            refuse_inside(path, target)
        elif os.path.realpath(path.parent) == os.path.realpath(target):
            refuse_inside(path.parent, target)


def _sorter(folder: Path | None, classes: tuple[str, ...], how: How) -> Sorter | None:
    if folder is None:
        return None
    from housetrain.inference.sort_into import Sorter

    return Sorter(folder, classes, how=how)


def is_address(run: str) -> bool:
    """Return whether a model is named by the address of a server, not by its folder."""
    return run.startswith(("http://", "https://"))


class Ray(NamedTuple):
    """A cluster, by its address; ``None`` is one that is started on this machine."""

    address: str | None


def table_of(csv: Path | None, jsonl: Path | None, output: str | None) -> Table | None:
    """Return the table that one of the options names, or ``None``."""
    if csv is None and jsonl is None and output is None:
        return None
    from housetrain.inference.tables import Table

    if csv is not None:
        return Table(str(csv), csv, "csv")
    return Table(str(jsonl), jsonl, "jsonl") if jsonl is not None else Table.of(str(output))


def _listed(images: list[str]) -> Listing:
    """Return the listing of paths, of addresses where there are any, or of standard input."""
    if images == [NAME]:
        return StandardInput(sys.stdin)
    if not any("://" in one for one in images):
        return Listing(images)
    from housetrain.inference.addresses import AddressListing

    return AddressListing(images)


def _predictor(
    run: str, engine: str | None, class_map: Path | None, ray: Ray | None, *, quiet: bool
) -> Predictor | RemotePredictor | RayPredictor:
    """Return the model of a folder, here or on a cluster, or that of a server."""
    names = ClassMap.of(class_map)
    if ray is not None and not is_address(run):
        from housetrain.inference.ray_predictor import RayPredictor

        note = Callbacks(callbacks_for(quiet=quiet)).note
        return RayPredictor(run, address=ray.address, engine=engine, class_map=names, note=note)
    if not is_address(run):
        with waiting("Loading the model", quiet=quiet):
            return Predictor.load(Path(run), engine=engine).mapped(names)
    from housetrain.serve.client import RemotePredictor

    if engine is not None or class_map is not None or ray is not None:
        raise RecipeError("A server chooses its engine and classes itself", do="omit --engine, --map and --executor")
    return RemotePredictor(run)


def _print(results: Iterable[Prediction], *, top: int, json_: bool, quiet: bool) -> int:
    """Print predictions as they arrive, and the counts of several on standard error."""
    from housetrain.inference.counts import Counts

    counts, log = Counts(), Callbacks(logs)

    def counted() -> Iterator[Prediction]:
        for one in results:
            counts.add(one.label, unsure=one.unsure, novel=bool(one.novel))
            if one.error is not None:
                log.note(f"{one.image} could not be read: {one.error}")
            yield one

    with log.stage("predict") as facts:
        failed = terminal.predictions(counted(), top=top, as_json=json_)
        facts.update(images=counts.labels.total(), failed=failed)
    if counts.labels.total() > 1 and not (json_ or quiet):
        sys.stdout.flush()
        terminal.note(counts.text())
    return failed


def _explain_unsure(predictor: Predictor | RemotePredictor | RayPredictor, *, quiet: bool) -> None:
    """Say why every prediction is unsure, where that is so: a person sees 100 % and "unsure" on one line."""
    told: Any = getattr(predictor, "decision", predictor)  # a server tells it in place of the decision
    if told.why_unsure and not quiet:
        sys.stdout.flush()
        terminal.note(f"Unsure: {told.why_unsure}")


def _sorted(results: Iterable[Prediction], sorter: Sorter | None) -> Iterator[Prediction]:
    for one in results:
        if sorter is not None:
            sorter.add(one)
        yield one


def _each(sorter: Sorter | None, json_: bool) -> Callable[[Prediction], None] | None:
    def each(one: Prediction) -> None:
        if sorter is not None:
            sorter.add(one)
        if json_:
            terminal.print_prediction(one)

    return each if sorter is not None or json_ else None
