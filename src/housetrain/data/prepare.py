"""From a split to arrays: every image decoded once, at the model's input size, uint8, on disk.

In: a ``SplitManifest`` (or a folder, which is scanned and split first) and an `InputSpec`. Out: ``Prepared``: one
memory-mapped ``.npy`` with train, validation and test in a row, and its split. It does not know models or training. The
memory it needs does not depend on the number of images.

`housetrain.data.prepared_folder` writes the folder. Rows whose image (sha256) and spec are those of its previous
content are copied from there instead of being decoded again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Unpack, overload

from housetrain.data import npy_writer
from housetrain.data.earlier_split import earlier_split
from housetrain.data.output import refuse_inside
from housetrain.data.prepared import Prepared as Prepared
from housetrain.data.prepared_folder import Filled, cached, digest, read_manifest, write_prepared
from housetrain.data.split import SplitOptions, complete_options
from housetrain.data.split import split as divide
from housetrain.data.split_manifest import Row, SplitManifest
from housetrain.errors import CorruptError, HousetrainError, IncompleteError, RecipeError, SourceChanged
from housetrain.images import decode
from housetrain.images.input_spec import WHITE, ColorMode, InputSpec, Resize
from housetrain.system.events import Callback, Callbacks
from housetrain.system.text import file_name

_NAMED = 5  # file names that fit a one-line message
_log = logging.getLogger(__name__)


def prepare(
    source: SplitManifest | Path | str,
    folder: Path | str | None = None,
    *,
    spec: InputSpec | None = None,
    image_size: int | tuple[int, int] = 50,
    color_mode: ColorMode = "grayscale",
    resize: Resize = "stretch",
    background: tuple[int, int, int] = (255, 255, 255),
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Unpack[SplitOptions],
) -> Prepared:
    """Decode the images of a split into arrays on disk, on all cores.

    A second call with the same input returns at once; after a change only what changed is decoded.

    Args:
        source: A split, or the folder of images, which is then scanned, checked and split first.
        folder: Where to write; `default_prepared_folder` by default.
        spec: The model input, instead of the next four arguments. A ``white`` not given is that of the folder.
        image_size: Height and width in pixels, or one number for both.
        color_mode: ``"grayscale"`` (1 channel) or ``"rgb"`` (3).
        resize: ``"stretch"`` to the size, ``"pad"`` with the background, or ``"crop"`` the center.
        background: RGB, 0 to 255, under transparent images and around padded ones.
        workers: Processes; by default one per core.
        callbacks: Receive the progress of the stages ``scan`` and ``prepare``, in numbers of images.
        **options: The options of `split`, where ``source`` is a folder.

    Returns:
        The prepared images. ``split.left_out`` also names those that failed here.

    Raises:
        FolderError: The folder or the output cannot be used as asked. Nothing was written.
        SourceChanged: Images changed after they were scanned; they are named. The previous content is intact.
        DiskFull: No room or no permission; names the path and the bytes needed. The previous content is intact.
    """
    folder = None if folder is None else Path(folder)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    given = InputSpec(height=height, width=width, color_mode=color_mode, resize=resize, background=background)
    if spec is not None and given != InputSpec():
        raise RecipeError("Both an input spec and its parts are given", do="give only one of them", **given.to_json())
    spec = spec or given
    if isinstance(source, SplitManifest):
        if options:
            raise RecipeError("Options of the split are given with a split", do="give them to split()", **options)
        return _prepare_split(source, folder, spec=spec, workers=workers, callbacks=callbacks)
    return _prepare_folder(Path(source), folder, spec=spec, workers=workers, callbacks=callbacks, options=options)


def _prepare_folder(
    root: Path,
    folder: Path | None,
    *,
    spec: InputSpec,
    workers: int | None,
    callbacks: Sequence[Callback],
    options: SplitOptions,
) -> Prepared:
    from housetrain.data.catalog import scan

    if folder is not None:
        refuse_inside(root, folder)
    catalog = scan(root, workers=workers, callbacks=callbacks)
    spec = _with_white(spec, catalog.white)
    asked = complete_options(**options)
    target = folder or _default_folder(root, spec, options=asked)
    key = _request_key(catalog.fingerprint, root=root, spec=spec, options=asked)
    if not asked.get("group_by") and (manifest := cached(target, "catalog", key)) is not None:
        return Prepared.of_manifest(target, manifest)
    manifest_of_split = divide(catalog, earlier=earlier_split(catalog, options, folder), **options)
    return _prepare_split(manifest_of_split, target, spec=spec, workers=workers, callbacks=callbacks)


def _with_white(spec: InputSpec, white: int) -> InputSpec:
    return replace(spec, white=white) if spec.white == WHITE else spec


def default_prepared_folder(root: Path, spec: InputSpec, split: SplitManifest) -> Path:
    """Return where `prepare` writes by default: ``prepared/<name>-50x50-grayscale``.

    Settings other than the defaults are appended to the name, so that different settings use different folders. A
    folder of the same name elsewhere gets a few digits of its hash.
    """
    return _default_folder(root, spec, options=split.options)


def _default_folder(root: Path, spec: InputSpec, *, options: dict[str, Any]) -> Path:
    details = [f"{spec.height}x{spec.width}", spec.color_mode]
    if spec.resize != "stretch":
        details.append(spec.resize)
    if tuple(spec.background) != (255, 255, 255):
        details.append("".join(f"{value:02x}" for value in spec.background))
    for name, value in complete_options().items():
        if options.get(name, value) != value:
            text = f"{options[name]:g}" if isinstance(options[name], float) else str(options[name])
            text = digest(options[name])[:6] if name == "classes" else text
            details.append(text if name == "balance" else f"{name.replace('_', '-')}-{text}")
    if rule := options.get("group_by"):
        details.append(f"group-by-{rule if re.fullmatch('[A-Za-z0-9-]{1,20}', rule) else digest(rule)[:6]}")
    if labels := options.get("labels"):
        details.append(f"labels-{digest(labels)[:6]}")
    absolute = root.resolve()
    name, ending = file_name(absolute.name) or "images", "-".join(details)
    plain = Path("prepared") / f"{name}-{ending}"
    with contextlib.suppress(HousetrainError):
        if read_manifest(plain)["root"] != str(absolute):
            digits = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:6]
            return Path("prepared") / f"{name}-{digits}-{ending}"
    return plain


def _prepare_split(
    split: SplitManifest,
    folder: Path | None,
    *,
    spec: InputSpec,
    workers: int | None,
    callbacks: Sequence[Callback],
) -> Prepared:
    spec = _with_white(spec, split.options.get("white", WHITE))
    target = default_prepared_folder(split.root, spec, split) if folder is None else Path(folder)
    for images in split.source_folders:
        refuse_inside(images, target)

    events = Callbacks(callbacks)

    def fill(part: Path) -> Filled:
        copied = _copy_known(target, part, split, spec=spec)
        failed = _decode(split, part, spec=spec, copied=copied, workers=workers, events=events)
        return Filled(failed, len(split.rows) - len(copied))

    given = {name: value for name, value in split.options.items() if name in SplitOptions.__annotations__}
    options = complete_options(**given, group_by=split.options.get("group_by"))
    catalog = split.options.get("catalog")
    request = {
        "split": _request_key(split.fingerprint, root=split.root, spec=spec),
        "catalog": _request_key(catalog, root=split.root, spec=spec, options=options) if catalog else "",
    }
    with events.stage("prepare", total=len(split.rows)):
        manifest = write_prepared(target, split, spec, fill=fill, request=request, decoder=decoder())
    return Prepared.of_manifest(target, manifest)


def _decode(
    split: SplitManifest,
    part: Path,
    *,
    spec: InputSpec,
    copied: set[int],
    workers: int | None,
    events: Callbacks,
) -> dict[int, str]:
    """Decode every row that was not copied; return row number -> reason of those that failed.

    Raises:
        SourceChanged: Files that are not those that were scanned.
        OSError: A row could not be written.
    """
    from housetrain.system.process_pool import Failed, map_in_workers

    todo = _Todo(split.rows, [number for number in range(len(split.rows)) if number not in copied])
    total, done = len(split.rows), len(copied)
    events.count("prepare", done, total)
    failed: dict[int, str] = {}
    changed: dict[int, str] = {}
    writer = npy_writer.RowWriter(split.root.absolute(), part.absolute(), spec)
    with contextlib.closing(map_in_workers(writer, todo, workers=workers, fork=True)) as outcomes:
        for place, outcome in outcomes:
            done += 1
            events.count("prepare", done, total)
            if outcome is None:
                continue
            number = todo.numbers[place]
            if isinstance(outcome, Failed):
                failed[number] = outcome.reason
            elif outcome.kind == "disk":
                raise OSError(int(outcome.reason), os.strerror(int(outcome.reason)), str(part))
            else:
                (changed if outcome.kind == "changed" else failed)[number] = outcome.reason
    if changed:
        raise _changed(split, changed)
    for number, reason in failed.items():
        _log.warning("left out: %r: %s", split.rows[number].path, reason)
    return failed


class _Todo(Sequence[tuple[int, str, str]]):
    """The work list, created item by item: a list of 100,000 tuples would take most of the memory."""

    def __init__(self, rows: Sequence[Row], numbers: list[int]) -> None:
        self.rows, self.numbers = rows, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> tuple[int, str, str]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, str, str]]: ...
    def __getitem__(self, place: int | slice) -> tuple[int, str, str] | list[tuple[int, str, str]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        number = self.numbers[place]
        row = self.rows[number]
        return number, row.path, row.sha256


def _changed(split: SplitManifest, changed: dict[int, str]) -> SourceChanged:
    named = [f"{split.rows[number].path!r} ({changed[number]})" for number in sorted(changed)]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return SourceChanged(
        f"{len(named)} {'image' if len(named) == 1 else 'images'} changed since the folder was scanned: "
        + ", ".join(named[:_NAMED])
        + more,
        do="scan and split again",
        folder=split.root,
    )


def _copy_known(folder: Path, part: Path, split: SplitManifest, *, spec: InputSpec) -> set[int]:
    """Copy the rows that the folder's present content already has; return their numbers."""
    try:
        manifest = read_manifest(folder)
        if InputSpec.from_json(manifest["spec"]) != spec or manifest["decoder"] != decoder():
            return set()
        old = Prepared.of_manifest(folder, manifest)
    except (IncompleteError, CorruptError, KeyError):
        return set()  # nothing usable: decode everything
    place = {row.sha256: number for number, row in enumerate(old.split.rows)}
    pairs = [(place[row.sha256], number) for number, row in enumerate(split.rows) if row.sha256 in place]
    npy_writer.copy_rows(old.file, part, pairs, spec=spec)
    return {number for _, number in pairs}


def _request_key(of: str, *, root: Path, spec: InputSpec, options: dict[str, Any] | None = None) -> str:
    """Return what a manifest remembers of the request it answered: equal keys, equal content."""
    return digest("request", of, str(root.resolve()), spec.to_json(), options, decoder())


def decoder() -> dict[str, str]:
    """Return the versions that pixels depend on, our own among them: after an upgrade everything is decoded again."""
    return {"housetrain": str(decode.PIXELS), **_libraries()}


@functools.cache
def _libraries() -> dict[str, str]:

    def one(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    found = {name: one(name) for name in ("opencv-python-headless", "pillow", "simplejpeg", "pillow-heif")}
    return {name: number for name, number in found.items() if number or name != "pillow-heif"}  # it is optional
