"""CPython's own multiprocessing tests, with orphanguard in the place of multiprocessing.

    python multiprocessing_suite.py {fork,spawn,forkserver} [-k PATTERN] [--stock] [--timeout SECONDS] [--results DIR]

See runner.py. This file is the main module of the tests, and so of the processes that they start.
"""

from __future__ import annotations

from typing import Any

import runner

METHODS = ("fork", "spawn", "forkserver")


def take_the_place_of_multiprocessing() -> None:
    import multiprocessing
    from multiprocessing import context

    from orphanguard import multiprocessing as guarded

    for method in METHODS:
        context._concrete_contexts[method] = guarded.get_context(method)
    default = context._default_context
    default._default_context = context._concrete_contexts[default._default_context._name]
    if default._actual_context is not None:  # a spawned child has its start method set already
        default._actual_context = context._concrete_contexts[default._actual_context._name]
    for name in guarded.__all__:
        if name != "get_context":
            setattr(multiprocessing, name, getattr(guarded, name))
    # This proves that no test gets by us. (Our classes are subclasses with a _Popen of their own.)
    for standard in (context.Process, context.ForkProcess, context.SpawnProcess, context.ForkServerProcess):
        standard._Popen = staticmethod(refuse_unguarded_start)


def refuse_unguarded_start(process_obj: Any) -> Any:
    raise RuntimeError(f"{process_obj!r} would be started by the standard library, without a guard")


if runner.SUITE:
    if not runner.STOCK:
        take_the_place_of_multiprocessing()
    from test import _test_multiprocessing

    if not runner.STOCK:
        # By default the fork server preloads another module, which imports _test_multiprocessing. Its classes keep the
        # Process of that moment, and this file has not replaced it there yet.
        _test_multiprocessing.PRELOAD = ["__main__"]
    _test_multiprocessing.install_tests_in_module_dict(globals(), runner.SUITE)


if __name__ == "__main__":
    runner.main(__file__, METHODS)
