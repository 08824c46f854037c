"""``multiprocessing.synchronize`` itself, which starts no process of the user's."""

from multiprocessing.synchronize import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
