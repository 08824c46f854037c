"""``multiprocessing.process`` itself: what it has starts no process by itself."""

from multiprocessing.process import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
