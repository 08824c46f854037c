"""What a child costs with many others alive, and in a large parent: ``python -m benchmarks.costs``."""
