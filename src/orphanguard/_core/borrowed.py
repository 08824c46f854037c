"""Borrows a function of the standard library: runs it with a few of the global names that it looks up replaced.

Behaviour, messages and version differences stay the standard library's, and no module is patched. A function that no
longer looks up a replaced name is refused. Each file that borrows a function says which names the function must look
up, and tests/seams/test_drift.py checks them.
"""

from __future__ import annotations

from types import CodeType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What the interpreter itself looks up in a function's globals: for builtins, relative imports and warnings.
_ALWAYS = ("__builtins__", "__name__", "__package__", "__spec__")


def _names(code: CodeType) -> set[str]:
    """All names that ``code`` and the functions inside it look up."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def replaced(function: Any, **names: object) -> Callable[..., Any]:
    """``function`` with some of the globals that it looks up replaced. The original is not touched.

    It takes the others from its module at each call: a forked child of multiprocessing rebinds some of them.
    """
    wanted = _names(function.__code__)
    missing = [name for name in names if name not in wanted]
    if missing:
        raise RuntimeError(
            f"this Python's {function.__qualname__} no longer looks up {', '.join(missing)}: "
            "orphanguard does not know how to guard its children; please report it"
        )
    # We copy only the globals that are looked up. A copy of all would change the reference count of each, and dirty
    # its page on both sides of a fork. The copy is a plain dict: with __missing__, each look-up would be a call.
    original = function.__globals__
    live = tuple(wanted.intersection(original).difference(names))
    used = {name: original[name] for name in _ALWAYS if name in original}
    used.update(names)
    copy = FunctionType(function.__code__, used, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__

    def call(*args: Any, **kwargs: Any) -> Any:
        for name in live:
            used[name] = original[name]
        return copy(*args, **kwargs)

    return call


class Overlay:
    """A module with some of its functions replaced."""

    def __init__(self, module: object, **names: object) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
