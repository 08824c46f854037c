"""``multiprocessing.process`` itself: its ``BaseProcess`` has no start method, so it starts no process."""

from multiprocessing.process import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
