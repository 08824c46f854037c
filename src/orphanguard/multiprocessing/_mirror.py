"""What makes a module here stand for one of ``multiprocessing``."""

from __future__ import annotations

import sys
from importlib import import_module, util

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any


def not_here(module: str, name: str, standard: Any, instead: str = "") -> AttributeError:
    """The error for ``name`` of ``module``, which stands for the module ``standard``.

    ``instead``: what to use where that one has it.
    """
    text = f"module {module!r} has no attribute {name!r}"
    if hasattr(standard, name) or (hasattr(standard, "__path__") and util.find_spec(f"{standard.__name__}.{name}")):
        text += f": {instead or 'it may start unguarded processes'}; {standard.__name__}.{name} is the standard one"
    return AttributeError(text)


def others(module: str, standard: Any, unguarded: Collection[str] = (), instead: str = "") -> Callable[[str], Any]:
    """The ``__getattr__`` of ``module``: all public names but the ``unguarded`` are those of ``standard``.

    ``instead``: what to use in place of those.
    """

    def look_up(name: str) -> Any:
        if name in unguarded:
            raise not_here(module, name, standard, instead)
        if name.startswith("_") or not hasattr(standard, name):
            raise not_here(module, name, standard, "it is private")
        return getattr(standard, name)

    return look_up


def same(module: str) -> None:
    """Has ``import orphanguard.multiprocessing.X`` give ``multiprocessing.X`` itself."""
    sys.modules[module] = import_module(f"multiprocessing.{module.rpartition('.')[2]}")
