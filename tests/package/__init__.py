"""The package around the library: README's lines, `orphanguard doctor`, `orphanguard run`, builds, benchmarks.

The negative control of each line of README is the same line without orphanguard, which leaves an orphan.
"""
