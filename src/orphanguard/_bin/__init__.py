"""The paths of the C programs: ``orphanguard-run`` (csrc/supervisor) and ``orphanguard-launch`` (csrc/launcher).

The build puts the programs next to this file.
"""

import os

# The programs lie here in a wheel, an sdist and an editable install alike.
_HERE = os.path.dirname(os.path.abspath(__file__))

RUN = os.path.join(_HERE, "orphanguard-run")
LAUNCH = os.path.join(_HERE, "orphanguard-launch")
