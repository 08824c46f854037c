"""The supervisor program, ``orphanguard-run``, as built from ``csrc/supervisor*.c``."""

import os

#: Its path: next to this file in a wheel, an sdist and an editable install alike.
RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "orphanguard-run")
