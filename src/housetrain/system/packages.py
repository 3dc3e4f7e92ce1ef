"""Versions of installed packages, under whatever name they were installed. Nothing is imported.

In: the name of a package. Out: its version. It does not know what the package is for.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_ALSO = {"tensorflow": ("tensorflow-cpu",)}
"""Package -> others that provide the same module."""


def version_of(package: str) -> str | None:
    """Return the version of an installed package; ``None`` if it is missing.

    Args:
        package: Its name on the package index; ``tensorflow`` also finds ``tensorflow-cpu``.
    """
    for name in (package, *_ALSO.get(package, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
