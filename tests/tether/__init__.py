"""The inside of a lifeline: strands and their slots, the order in which the kernel lets go, the flat fallback, limits.

Negative controls: the designs that came before the tether (actors/designs.py), which fail in the same cases, and the
flat fallback, where sockets are refused.
"""
