"""The inside of a lifeline: strands and their slots, the order in which the kernel lets go, the flat fallback, limits.

The negative controls are the designs that came before the tether (actors/designs.py), which fail in the same cases, and
the flat fallback, where the kernel refuses sockets.
"""
