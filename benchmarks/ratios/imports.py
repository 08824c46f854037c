"""What ``import orphanguard`` costs a program that starts no process, and one that does.

Each import is timed inside a fresh interpreter, so that the interpreter's own start and end do not count.
"""

import json
import subprocess
import sys

CODE = """
import sys, time
before = time.perf_counter_ns()
{statement}
took = time.perf_counter_ns() - before
print([took, *(int(name in sys.modules) for name in ("multiprocessing", "subprocess"))])
"""


def run(statement):
    done = subprocess.run([sys.executable, "-c", CODE.format(statement=statement)], capture_output=True, check=True)
    return json.loads(done.stdout)


def measure(rounds):
    from .measure import Row, compare, interleaved

    _, *imported = run("import orphanguard")
    times = interleaved(
        rounds(100),
        ours=lambda: run("import orphanguard")[0],
        theirs=lambda: run("import multiprocessing.context, subprocess")[0],
        our_process=lambda: run("from orphanguard import Process")[0],
        their_process=lambda: run("from multiprocessing import Process; from multiprocessing import popen_fork")[0],
        our_hook=lambda: run("from orphanguard import preexec_fn")[0],
    )
    return [
        compare(
            "`import orphanguard`, to `import multiprocessing.context, subprocess`",
            times["ours"],
            times["theirs"],
            0.5,
            name="",
        ),
        Row("modules of those two that it imports", sum(imported), 0),
        compare("`from orphanguard import Process`", times["our_process"], times["their_process"]),
        compare(
            "`from orphanguard import preexec_fn`, to `import multiprocessing.context, subprocess`",
            times["our_hook"],
            times["theirs"],
            name="",
        ),
    ]


if __name__ == "__main__":
    from .subject import main

    main(measure)
