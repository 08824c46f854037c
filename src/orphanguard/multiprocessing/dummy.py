"""``multiprocessing.dummy`` itself, which starts threads and no process."""

from multiprocessing.dummy import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
