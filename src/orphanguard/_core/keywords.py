"""The TypeError for a keyword that a function of ours does not take: it says what to use instead.

`Popen` takes keywords that workers do not, and users try them there. Needs no other file of ours.
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])

_PROCESSES = ("Process", "ForkProcess", "SpawnProcess", "ForkServerProcess")
_HOME = {"ProcessPoolExecutor": "concurrent.futures", **dict.fromkeys(_PROCESSES[1:], "multiprocessing.context")}

#: Keywords that `Popen` takes, and that some of our other classes do not.
OURS = ("death_signal", "grace", "guard", "tree")


def unexpected(name: str, keyword: str, takes: Iterable[str] = ()) -> TypeError:
    """Returns the TypeError of ``name(keyword=...)``. ``takes``: the keywords of ``name``, for a misspelt one."""
    hint = f"it takes {', '.join(takes)}"
    if keyword == "guard":
        hint = f"{_HOME.get(name, 'multiprocessing')}.{name} is the unguarded one"
    elif keyword == "death_signal":
        hint = "workers get SIGKILL, and only programs (Popen, run) take another signal"
    elif keyword in OURS and name not in _PROCESSES:
        hint = "Process takes it, and for programs Popen does"
    return TypeError(f"{name}() got an unexpected keyword argument {keyword!r}: {hint}")


def explained(function: Function) -> Function:
    """``function``, whose TypeError for an unknown keyword names what the user has called, and what to use."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    takes = [name for name in names if name != "self"]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for keyword in kwargs:
            if keyword not in takes:
                name = _class_name(args[0]) if function.__name__ == "__init__" else function.__name__
                raise unexpected(name, keyword, takes)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _class_name(instance: object) -> str:
    """The name of the nearest class of ours: a user's subclass has passed the keyword on to that class."""
    return next(cls.__name__ for cls in type(instance).__mro__ if cls.__module__.startswith("orphanguard."))
