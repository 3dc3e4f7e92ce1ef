"""`ModelFormat`: everything the package knows about one file format of models.

In: a Keras model to write, or a model file to open. Out: the files of the format, or an engine. Does not know: runs,
bundles, images. Asking whether a library is installed imports nothing.

Each file in `housetrain.inference.formats` defines one format as ``FORMAT``; that file is all a new format needs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from housetrain.errors import HousetrainError, MissingExtra, ModelError
from housetrain.inference.engine import Images, LoadedModel, Precision, Shape
from housetrain.system.held_signals import signals_held

TOLERANCES: dict[Precision, float] = {"fp32": 2e-3, "bf16": 3e-2, "fp16": 2e-3, "int8": 5e-2}
"""Largest difference of a probability between machines that run the same file: processors sum in another order
(float32, and TF32 on GPUs), keep 8 significant bits (bfloat16), or saturate (8-bit products without VNNI)."""


@dataclass(frozen=True)
class ModelFormat:
    """A file format of models: how to write, check, open and describe it.

    Attributes:
        name: As in ``--format`` and ``bundle.json``.
        title: For people.
        file: The file, or for a SavedModel the folder, that a model is opened from.
        library: The Python module that runs it.
        extra: The extra of housetrain that installs the library.
        precisions: What a model can be written in. bf16: computes in bfloat16 where the processor can. fp16: weights
            kept in 16 bits, computed in float32. int8: 8-bit weights and activations, calibrated on training images.
        convert: Writes a Keras model (uint8 images in) to a path, in a precision, with calibration images for int8.
            What it writes depends on the model alone, so the same run gives the same bytes.
        load: Opens a checked file in a precision. If the third argument is true, the model also returns the input of
            its last layer; formats that cannot do that ignore it.
        check: Refuses a file that could run code or is damaged, before a library reads it; its second argument says
            whether the bytes already matched a sha256. ``None`` where loading any file can run code:
            such models are exported for other programs and never opened from a bundle.
        contents: File -> what it is, for the bundle's README.
        snippet: Imports, and lines of Python that run the model without housetrain, from ``{path}`` and ``pixels`` to
            ``probabilities``.
        needs: Further modules that writing a precision needs.
    """

    name: str
    title: str
    file: str
    library: str
    extra: str
    precisions: tuple[Precision, ...]
    convert: Callable[[Any, Path, Precision, Images | None], None]
    load: Callable[[Path, Precision, bool], LoadedModel]
    check: Callable[[Path, bool], None] | None
    contents: Mapping[str, str]
    snippet: tuple[str, str]
    needs: Callable[[Precision], tuple[str, ...]] = lambda _: ()

    @property
    def installed(self) -> bool:
        """Whether the library that runs the format is installed."""
        names = [self.library]
        if self.library == "keras":
            names.append(os.environ.get("KERAS_BACKEND", "tensorflow"))
        return all(map(_is_installed, names))

    def must_be_writable(self, precision: Precision) -> None:
        """Refuse a precision that cannot be written here, before any work is done.

        Raises:
            ModelError: The format does not have the precision.
            MissingExtra: A library is not installed.
        """
        if precision not in self.precisions:
            raise ModelError(
                f"{self.name} does not support {precision}",
                expected=", ".join(self.precisions),
                do="choose another precision or another --format",
                precision=precision,
            )
        needed = [*((name, "export") for name in self.needs(precision)), (self.library, self.extra)]
        for library, extra in needed:
            if not _is_installed(library):
                raise MissingExtra(extra, need=f"exporting to {self.name} {precision} ({library} is missing)")

    def write(
        self, model: Any, folder: Path, precision: Precision = "fp32", *, calibration: Images | None = None
    ) -> tuple[str, ...]:
        """Write a Keras model in this format.

        Args:
            model: The `keras.Model`: uint8 (N, H, W, C) in, float32 (N, 1) or (N, classes) out.
            folder: An existing folder.
            precision: One of `precisions`.
            calibration: uint8 (N, H, W, C), a few hundred training images, for ``"int8"``.

        Returns:
            The names of the files written, relative to the folder.

        Raises:
            ModelError: The conversion failed, or the format does not have the precision.
            MissingExtra: A library is not installed.
        """
        self.must_be_writable(precision)
        if precision == "int8" and (calibration is None or not len(calibration)):
            raise ModelError(
                "Converting to int8 needs training images to calibrate value ranges",
                do="keep the prepared arrays or the images where the run found them, or choose another precision",
            )
        before = set(_files(folder))
        try:
            with signals_held(), _quietly():
                self.convert(model, folder / self.file, precision, calibration)
        except HousetrainError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model cannot be converted to {self.name} {precision}: {type(error).__name__}: {_line(error)}",
                do="choose another format or precision",
            ) from error
        return tuple(sorted(set(_files(folder)) - before))

    def open(
        self,
        path: Path,
        precision: Precision = "fp32",
        *,
        classes: int,
        input_shape: Shape,
        trusted: bool = False,
        just_written: bool = False,
        features: bool = False,
    ) -> LoadedModel:
        """Check a model file, load it, and compare its input and output with what is expected.

        Args:
            path: The file.
            precision: What it was written in.
            classes: Number of classes it must distinguish.
            input_shape: (height, width, channels) it must take.
            trusted: Its bytes already matched a sha256, so checksums inside the file need not be read.
            just_written: This process wrote the file, so a format without a check may be opened.
            features: The model also returns the input of its last layer, if the format can do that.

        Raises:
            ModelError: The file is refused, does not load, or does not fit.
            MissingExtra: The library is not installed.
        """
        if self.check is not None:
            self.check(path, trusted)
        elif not just_written:
            raise ModelError(
                f"A {self.name} bundle is for other programs: loading it can run code",
                do="use it as its README.md says, or export the run in another format",
                path=str(path),
            )
        try:
            with signals_held():
                engine = self.load(path, precision, features)
        except HousetrainError:
            raise
        except ModuleNotFoundError as error:
            if error.name not in (self.library, self.library.partition(".")[0]):
                raise
            raise MissingExtra(self.extra, need=f"predicting with this bundle ({error.name} is missing)") from error
        except Exception as error:
            raise ModelError(
                f"{self.title} cannot load the model: {type(error).__name__}: {_line(error)}",
                do=f"export it again, or install the version of {self.title} that wrote it",
                path=str(path),
            ) from error
        return engine.must_fit(classes, input_shape)


def refused(path: Path, reason: str) -> ModelError:
    """Return the error for a model file that holds something else than arithmetic on tensors."""
    return ModelError(
        f"The model is refused: {reason}",
        expected="only arithmetic on tensors, which cannot reach files or run code",
        do="export the run again",
        path=str(path),
    )


def must_be_file(path: Path, limit: int) -> None:
    """Refuse a path that is no file, or a file of more than ``limit`` bytes.

    Raises:
        ModelError: It is one of these.
    """
    if not path.is_file():
        raise ModelError("There is no such model file", do="export the run again", path=str(path))
    if path.stat().st_size > limit:
        raise ModelError(
            "The model file is too large", expected=f"at most {limit} bytes", path=str(path), bytes=path.stat().st_size
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _files(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "no message"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Discard what converters print and log; their failures are raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    null, kept = os.open(os.devnull, os.O_WRONLY), [os.dup(1), os.dup(2)]
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)  # TensorFlow's converter writes to the file descriptors
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for target, old in zip((1, 2), kept, strict=True):
            os.dup2(old, target)
            os.close(old)
        os.close(null)
        logging.disable(before)
