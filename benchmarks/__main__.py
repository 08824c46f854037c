"""All ratios in one table."""

import sys

from .ratios import death, imports, measure, popen, sockets, start, waiting

SUBJECTS = {
    "imports": imports,
    "start": start,
    "popen": popen,
    "death": death,
    "sockets": sockets,
    "waiting": waiting,
}

sys.exit(measure.main({name: subject.measure for name, subject in SUBJECTS.items()}))
