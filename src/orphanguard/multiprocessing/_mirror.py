"""How a submodule here stands for the submodule of ``multiprocessing`` of the same name.

`same` makes it that very module, for a module that starts no process of the user's. `others` looks up names for a
module that has guarded classes of its own: public names are the standard module's, and a name that may start unguarded
processes raises AttributeError, which says what to use.
"""

from __future__ import annotations

import sys
from importlib import import_module, util
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any


def not_here(module: str, name: str, standard: Any, instead: str = "") -> AttributeError:
    """The error for ``name`` of ``module``, which stands for the module ``standard``.

    ``instead``: what to use, if ``standard`` has that name.
    """
    text = f"module {module!r} has no attribute {name!r}"
    if hasattr(standard, name) or (hasattr(standard, "__path__") and util.find_spec(f"{standard.__name__}.{name}")):
        text += f": {instead or 'it may start unguarded processes'}; {standard.__name__}.{name} is the standard one"
    return AttributeError(text)


def others(module: str, standard: Any, unguarded: Collection[str] = (), instead: str = "") -> Callable[[str], Any]:
    """The ``__getattr__`` of ``module``: all public names are those of ``standard``, except the ``unguarded``.

    ``instead``: what to use in place of the ``unguarded``, for the error.
    """

    def look_up(name: str) -> Any:
        if name in unguarded:
            raise not_here(module, name, standard, instead)
        if name.startswith("_") or not hasattr(standard, name):
            raise not_here(module, name, standard, "it is private")
        value = getattr(standard, name)
        if isinstance(value, ModuleType) and value.__name__.startswith("multiprocessing."):
            return getattr(import_module(__package__), name)  # this package's submodule of that name, if it has one
        if _starts(value, standard):
            raise not_here(module, name, standard, "use that of orphanguard")
        return value

    return look_up


def _starts(value: Any, standard: Any) -> bool:
    """Whether ``standard`` has imported ``value`` from another module of multiprocessing: ``get_context``, say.

    Such a name is for the standard module's own use, and may start unguarded processes. Exceptions may not.
    """
    home = getattr(value, "__module__", None) or ""
    exception = isinstance(value, type) and issubclass(value, Exception)
    return home.startswith("multiprocessing.") and home != standard.__name__ and not exception


def names(standard: Any) -> list[str]:
    """The names of ``standard`` that the look-up of `others` finds."""
    public = [name for name in dir(standard) if not name.startswith("_")]
    return [name for name in public if not _starts(getattr(standard, name), standard)]


def same(module: str) -> None:
    """Makes ``import orphanguard.multiprocessing.X`` give ``multiprocessing.X`` itself. ``module``: the first name."""
    sys.modules[module] = import_module(f"multiprocessing.{module.rpartition('.')[2]}")
