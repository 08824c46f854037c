"""The package around the library: README's lines, `orphanguard doctor`, `orphanguard run`, builds, benchmarks."""
