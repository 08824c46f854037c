"""What keeps children from becoming orphans, under every fault, and what it costs. See README.md.

Arrows go down: ``render`` shows what ``matrix``, ``ratios`` and ``costs`` measure; ``matrix`` runs ``strategies``; all
use ``common``.
"""
