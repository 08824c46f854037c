import sys

from . import _measure, death, imports, start, waiting

sys.exit(
    _measure.main(
        {
            "imports": imports.measure,
            "start": start.measure,
            "death": death.measure,
            "waiting": waiting.measure,
        }
    )
)
