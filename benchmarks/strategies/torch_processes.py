"""torch.multiprocessing.start_processes: its workers ask for SIGINT when the parent dies."""

import torch.multiprocessing


def call(_, target):
    target()


def start(count, child):
    spawned = torch.multiprocessing.start_processes(call, (child.target,), count, join=False, start_method="fork")
    return spawned.processes
