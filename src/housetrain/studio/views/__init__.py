"""The pages of the studio: each module of this package defines one as ``PAGE`` and draws it in ``show()``.

In: nothing. Out: `find_pages`. It does not know what a page shows. To add a page, add a module here. (The package is
not called pages: Streamlit would run its files as scripts.)
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import NamedTuple


class Page(NamedTuple):
    """How a page appears in the menu; its address is the name of its module.

    Attributes:
        title: The menu entry.
        icon: Name of a Material symbol.
        position: Place in the menu; the page with the lowest number opens first.
    """

    title: str
    icon: str
    position: int


def find_pages() -> dict[str, ModuleType]:
    """Return the modules of the pages by name, in the order of the menu."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {module.__name__.rpartition(".")[2]: module for module in sorted(modules, key=lambda one: one.PAGE.position)}
