"""The standard library's own functions, run with a few of the global names that they look up replaced.

So behaviour, messages and version differences stay the standard library's, and no module is patched. Who borrows
which function says so in its own file, and tests/test_stdlib_drift.py checks it.
"""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Dict = dict[str, Any]
else:
    _Dict = dict


class _Globals(_Dict):
    """The globals of a function, some of them replaced; the others are looked up when they are used.

    Not a copy of all: its reference counts would dirty, on both sides of a fork, every page that one of them is on.
    """

    # What the interpreter looks up without asking __missing__: builtins, relative imports, warnings.
    _EAGER = ("__builtins__", "__name__", "__package__", "__spec__")

    def __init__(self, original: dict[str, Any], names: dict[str, object]) -> None:
        super().__init__({name: original[name] for name in self._EAGER if name in original})
        self.update(names)
        self._original = original

    def __missing__(self, name: str) -> Any:
        return self._original[name]


def replaced(function: Any, **names: object) -> Callable[..., Any]:
    """``function`` with some of the globals that it looks up replaced. The original is not touched."""
    missing = [name for name in names if name not in function.__code__.co_names]
    if missing:
        raise RuntimeError(
            f"this Python's {function.__qualname__} no longer looks up {', '.join(missing)}: "
            "orphanguard does not know how to guard its children; please report it"
        )
    copy = FunctionType(
        function.__code__,
        _Globals(function.__globals__, names),
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class Overlay:
    """A module with some of its functions replaced."""

    def __init__(self, module: object, **names: object) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
