"""One strategy as data: a row of catalogue.py. It can be read where the strategy's library is missing.

The parent of each trial imports this module, so it imports as little as it can.
"""

from __future__ import annotations

import importlib
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import Any


class Strategy:
    """``title``: its name in the tables. ``claims``: what people say of it, in the words of those who say it.

    ``file``: the file of this folder that does it; the row's own name, if empty. ``library``: the module that ``start``
    uses instead of the standard library's. ``options``: what else ``start`` gets.

    ``needs``: the modules (``"psutil"``) and programs (``"tini:"``) without which the strategy is missing. ``package``:
    what PyPI calls the module. ``helper``: a word of the command line of the process that the strategy puts between
    parent and child ("supervisor" in a row of the matrix means that process). ``slow``: seconds within which the
    strategy acts, if it looks only now and then. ``not_claimed``: of orphanguard's own strategies, the rows of the
    matrix in which orphanguard promises nothing, and why.
    """

    def __init__(
        self,
        title: str,
        claims: str,
        file: str = "",
        *,
        library: str = "",
        needs: Sequence[str] = (),
        package: str = "",
        helper: str = "",
        slow: float = 0,
        not_claimed: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.title = title
        self.claims = claims
        self.file = file
        self.library = library
        self.needs = needs
        self.package = package
        self.helper = helper
        self.fork_server = options.get("method") == "forkserver"
        self.slow = slow
        self.ours = not_claimed is not None
        self.not_claimed = not_claimed or {}
        self.options = options

    def load(self) -> tuple[ModuleType, Callable[..., list[Any]]]:
        """The file as a module, and its ``start`` with the row's arguments."""
        module = importlib.import_module(f"{__package__}.{self.file}")
        arguments = dict(self.options)
        if self.library:
            arguments["library"] = importlib.import_module(self.library)
        return module, partial(module.start, **arguments)

    def missing(self) -> str:
        """What the strategy needs and this host does not have; empty if nothing."""
        import importlib.util
        import shutil

        absent = []
        for need in self.needs:
            program = need.removesuffix(":")
            found = importlib.util.find_spec(need) if program == need else shutil.which(program)
            if found is None:
                absent.append(program)
        return ", ".join(absent)
