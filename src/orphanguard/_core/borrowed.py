"""The standard library's own functions, run with a few of the global names that they look up replaced.

So behaviour, messages and version differences stay the standard library's, and no module is patched. Who borrows
which function says so in its own file, and tests/seams/test_drift.py checks it.
"""

from __future__ import annotations

from types import CodeType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What the interpreter itself looks up in a function's globals: builtins, and for relative imports and warnings.
_ALWAYS = ("__builtins__", "__name__", "__package__", "__spec__")


def _names(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def replaced(function: Any, **names: object) -> Callable[..., Any]:
    """``function`` with some of the globals that it looks up replaced. The original is not touched.

    The others are looked up when it is called: a forked child of multiprocessing's rebinds some of them.
    """
    wanted = _names(function.__code__)
    missing = [name for name in names if name not in wanted]
    if missing:
        raise RuntimeError(
            f"this Python's {function.__qualname__} no longer looks up {', '.join(missing)}: "
            "orphanguard does not know how to guard its children; please report it"
        )
    # No copy of all globals: its reference counts would dirty, on both sides of a fork, every page that one of them
    # is on. And a plain dict: with one that has __missing__, each look-up would be a call.
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
