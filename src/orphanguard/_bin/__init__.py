"""The C programs: ``orphanguard-run`` (``csrc/supervisor``) and ``orphanguard-launch`` (``csrc/launcher``)."""

import os

# Next to this file in a wheel, an sdist and an editable install alike.
_HERE = os.path.dirname(os.path.abspath(__file__))

RUN = os.path.join(_HERE, "orphanguard-run")
LAUNCH = os.path.join(_HERE, "orphanguard-launch")
