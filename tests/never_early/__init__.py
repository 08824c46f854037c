"""Nothing of ours ends a child while its parent process lives.

Threads end, siblings end, handles are dropped, starts fail, the parent is stopped: the children live. Negative control:
PDEATHSIG alone kills a child when the thread that started it ends (test_threads, test_the_litmus_is_one). Trees are
watched in supervisor/.
"""
