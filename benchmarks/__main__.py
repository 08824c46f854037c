import sys

from . import _measure, death, imports, popen, sockets, start, waiting

sys.exit(
    _measure.main(
        {
            "imports": imports.measure,
            "start": start.measure,
            "popen": popen.measure,
            "death": death.measure,
            "sockets": sockets.measure,
            "waiting": waiting.measure,
        }
    )
)
