"""What orphanguard costs, as ratios of two medians from one run: ``python -m benchmarks``.

One file a subject; ``python -m benchmarks.ratios.SUBJECT`` measures it alone.
"""
