"""The private parts of the standard library on which we lean: one file for each module of it.

Each file says what it relies on, and in which Python versions. tests/seams/test_drift.py checks it, and names the file
to look at when a new Python has changed something. Every file needs `orphanguard._core`, which knows nothing of them.
(`orphanguard._core.gevent` is the one seam that must lie lower.)
"""
