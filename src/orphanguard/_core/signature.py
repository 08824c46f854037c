"""The real parameters, for ``inspect.signature`` and ``help``, of functions that hand on ``*args, **kwargs``.

The parameters are those of the running Python, so we keep no list of them. A call of the function costs nothing more:
``inspect`` finds the parameters by ``__wrapped__``, as behind any decorator, and they are put together, and ``inspect``
(a large import) is loaded, when somebody asks. Needs no other file of ours.
"""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., object])


class Shown:
    """What ``inspect`` finds as the ``__wrapped__`` of a function. The arguments are those of `shows`."""

    def __init__(self, function: Any, others: tuple[Any, ...], without: tuple[str, ...], fixed: dict[str, Any]) -> None:
        self._function, self._others, self._without, self._fixed = function, others, without, fixed
        # inspect.getsource() follows __wrapped__ to the end, and must find a function there.
        code, names = function.__code__, function.__globals__
        copy = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
        self.__wrapped__ = getattr(function, "__wrapped__", copy)

    @property
    def __signature__(self) -> inspect.Signature:
        from inspect import Parameter, Signature, signature

        variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        own = signature(self._function, follow_wrapped=False).parameters.values()
        first = [each for each in own if each.kind == Parameter.POSITIONAL_OR_KEYWORD]
        last = [each for each in own if each.kind == Parameter.KEYWORD_ONLY]
        theirs = [each for other in self._others for each in signature(other).parameters.values()]
        theirs = [each for each in theirs if each.kind not in variadic and each.name not in ("self", *self._without)]
        if "args" in self._without:  # the function keeps its *args for itself
            first += [each for each in own if each.kind == Parameter.VAR_POSITIONAL]
            theirs = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in theirs]
        shown: dict[str, Parameter] = {}
        for each in [*first, *theirs, *last]:
            shown.setdefault(each.name, each.replace(default=self._fixed.get(each.name, each.default)))
        return Signature(sorted(shown.values(), key=lambda each: each.kind))


def shows(*others: Any, without: tuple[str, ...] = (), **fixed: Any) -> Callable[[F], F]:
    """Decorates a function that hands on its ``*args`` and ``**kwargs`` to ``others``.

    ``without``: the parameters of ``others`` that it does not hand on. ``fixed``: the defaults to show for parameters
    that can have only one value.
    """

    def mark(function: F) -> F:
        vars(function)["__wrapped__"] = Shown(function, others, without, fixed)
        return function

    return mark
