"""A program as it was for the standard library; the two imports alone were changed. Type-checked, never run."""

from __future__ import annotations

from multiprocessing.pool import Pool as PoolType

from orphanguard import multiprocessing, subprocess


def work(n: int) -> int:
    return n + 1


def head() -> str:
    p = subprocess.Popen(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE)
    out, _ = p.communicate()
    return out.decode().strip()


def head2() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], text=True)


def lines() -> list[bytes]:
    with subprocess.Popen(["ls"], stdout=subprocess.PIPE) as p:
        assert p.stdout is not None
        return list(p.stdout)


def rc() -> int:
    return subprocess.call(["true"])


def done() -> subprocess.CompletedProcess[str]:
    return subprocess.run(["true"], text=True, capture_output=True)


def pooled(pool: PoolType) -> list[int]:
    return pool.map(work, [1, 2, 3])


def main() -> None:
    queue: multiprocessing.Queue[int] = multiprocessing.Queue()
    p = multiprocessing.Process(target=work, args=(1,))
    p.start()
    p.join()
    queue.put(1)
    with multiprocessing.Pool(2) as pool:
        print(pooled(pool))
    ctx = multiprocessing.get_context("spawn")
    q = ctx.Process(target=work, args=(2,))
    q.start()
    try:
        subprocess.run(["x"], timeout=1)
    except subprocess.TimeoutExpired as error:
        print(error.cmd)
    ev: multiprocessing.synchronize.Event = multiprocessing.Event()
    ev.set()


if __name__ == "__main__":
    main()
