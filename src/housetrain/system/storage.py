"""Storage at an address, such as ``s3://bucket/path``, through fsspec.

In: an address. Out: the file system that holds it, and the path there. It does not know what the files are.
fsspec is imported when an address is used, and needs the library for its kind (s3fs for ``s3://``).
"""

from __future__ import annotations

import importlib.util
from typing import Any

from housetrain.errors import HousetrainError, MissingExtra


def open_storage(address: str, *, need: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path in it, without a slash at its end.

    Args:
        address: Any address that fsspec knows, or a path.
        need: What it is for, in the message when fsspec is missing: ``"Reading s3:// addresses"``.

    Raises:
        MissingExtra: fsspec is not installed.
        HousetrainError: The library for this kind of address is not installed, or there is no such kind.
    """
    if importlib.util.find_spec("fsspec") is None:
        raise MissingExtra("cluster", need=need)
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise HousetrainError(
            "This kind of address cannot be used",
            expected="a path, or an address that fsspec and an installed library know",
            address=address,
            cause=str(error),
        ) from error
    return files, str(path).rstrip("/")
