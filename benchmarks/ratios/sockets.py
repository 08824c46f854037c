"""Unix sockets of the program itself, beside orphanguard's: an asyncio server that passes fds, in a parent of many.

Lifelines are descriptions in the queues of Unix sockets. The kernel looks through the sockets in flight when others are
closed, before Linux 6.10 at each close. So the same server runs in a parent of as many unguarded children.
"""

import asyncio
import os
import socket
import tempfile
from time import perf_counter_ns as now

from ..common.worker import serve, sleep_for_ever
from .subject import fork_context, grow, main

MANY = (1000,)
BATCH = 50


async def requests(path, count):
    """The times of requests. Each is a connection, a kilobyte there and back, a passed fd, and three closed sockets."""

    async def answer(reader, writer):
        writer.write(await reader.readexactly(1024))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    times = []
    for _ in range(count):
        before = now()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(bytes(1024))
        await reader.readexactly(1024)
        here, there = socket.socketpair()
        socket.send_fds(here, [b"x"], [here.fileno()])
        for fd in socket.recv_fds(there, 1, 1)[1]:
            os.close(fd)
        here.close()
        there.close()
        writer.close()
        await writer.wait_closed()
        times.append(now() - before)
    server.close()
    await server.wait_closed()
    os.unlink(path)
    return times


def worker(library):
    import orphanguard  # noqa: F401  # on both sides: what differs is the lifelines alone

    context = fork_context(library)
    live = []

    def serve_requests(count):
        with tempfile.TemporaryDirectory() as directory:
            return asyncio.run(requests(f"{directory}/socket", count))

    serve(grow=lambda count: grow(live, count, context, sleep_for_ever, arm=True), requests=serve_requests)


def measure(rounds):
    from ..common.workers import workers
    from .measure import compare, interleaved

    rows = []
    with workers("ratios.sockets", "ours", "theirs") as (ours, theirs):
        for many in 0, *MANY:
            for each in ours, theirs:
                each.ask("grow", many)
            took = interleaved(
                rounds(60),
                ours=lambda: ours.ask("requests", BATCH),
                theirs=lambda: theirs.ask("requests", BATCH),
            )
            what = f"Unix sockets of the program itself, beside {many:,} live children"
            rows.append(compare(what, took["ours"], took["theirs"], 1.02))
    return rows


if __name__ == "__main__":
    main(measure, worker)
