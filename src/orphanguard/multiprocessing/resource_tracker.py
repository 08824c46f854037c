"""``multiprocessing.resource_tracker`` itself, which starts no process of the user's."""

from multiprocessing.resource_tracker import *  # noqa: F403 (for type checkers)

from ._mirror import same

same(__name__)
