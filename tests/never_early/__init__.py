"""Nothing of ours ends a child while its parent process lives.

Threads end, siblings end, handles are dropped, starts fail, the parent is stopped: the children live. The negative
control is PDEATHSIG alone, which kills a child when its forking thread ends (test_threads, test_the_litmus_is_one).
Trees that must live are in supervisor/.
"""
