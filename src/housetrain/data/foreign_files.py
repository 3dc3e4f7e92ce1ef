"""Files that are no images, by their names: what they are called where there is nothing else, and what to do with them.

In: names of files. Out: which are passed over, and a sentence about what a folder holds instead of images. It opens no
file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from housetrain.images.unsupported import conversion_of
from housetrain.system.text import format_count, format_list

FOREIGN = frozenset(
    f".{suffix}"
    for suffix in (
        *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "html", "htm", "css", "js", "yaml", "yml", "toml"),
        *("ini", "cfg", "log", "lst", "py", "ipynb", "sh", "bat", "lnk", "url", "tmp", "bak", "part", "crdownload"),
        *("zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar", "md5", "sha256", "db", "sqlite"),
        *("xmp", "aae", "pp3", "dop", "on1", "cos", "nksc"),  # what programs for photos write beside them
        *("npy", "npz", "h5", "hdf5", "mat", "pkl", "pt", "pth", "onnx", "keras", "tfrecord", "parquet", "arrow"),
        *("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "mp4", "avi", "mov", "mkv", "mp3", "wav"),
        *("m4v", "webm", "wmv", "mts"),
    )
)
"""Endings of files that are not images: these are ignored and counted, unless their content is an image."""

_NAMES = {"README", "LICENSE", "LICENCE", "COPYING", "MAKEFILE"}
_KINDS = {
    **dict.fromkeys(("mp4", "avi", "mov", "mkv", "m4v", "webm", "wmv", "mts"), "video"),
    **dict.fromkeys(("npy", "npz"), "NumPy array"),
    **dict.fromkeys(("h5", "hdf5"), "HDF5"),
    **dict.fromkeys(("doc", "docx", "ppt", "pptx", "odt"), "Office document"),
    **dict.fromkeys(("zip", "tar", "gz", "tgz", "7z", "rar"), "ZIP"),
    **dict.fromkeys(("parquet", "arrow", "tfrecord"), "table of images"),
    **dict.fromkeys(("idx3-ubyte", "idx1-ubyte"), "IDX"),
    "pdf": "PDF",
}


def foreign_name(path: str) -> str:
    """Return the pattern of a file that was never meant to be an image, or ``""``."""
    name = PurePosixPath(path)
    suffix = name.suffix.lower()
    return f"*{suffix}" if suffix in FOREIGN else name.name if name.name.upper() in _NAMES else ""


def instead_of_images(names: Iterable[str]) -> tuple[str, str]:
    """Return what a folder without images holds, in words, and what to do with most of it; ``""`` where unknown."""
    counts = Counter(_ending(name) for name in names)
    common = [(ending, count) for ending, count in counts.most_common(3) if ending]
    said = format_list([f"{format_count(count, 'file')} of type .{ending}" for ending, count in common])
    return said, next((do for ending, _ in common if (do := conversion_of(_KINDS.get(ending, "")))), "")


def _ending(name: str) -> str:
    lowered = name.lower()
    if ".tfrecord" in lowered:
        return "tfrecord"
    unpacked = lowered.removesuffix(".gz")
    return next(
        (end for end in ("idx3-ubyte", "idx1-ubyte") if unpacked.endswith(end)), PurePosixPath(lowered).suffix[1:]
    )
