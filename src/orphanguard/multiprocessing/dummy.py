"""``multiprocessing.dummy`` itself: it starts threads."""

from multiprocessing.dummy import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
