"""The tables and pictures, from what was measured: ``python -m benchmarks.render``. Nothing is measured here."""
