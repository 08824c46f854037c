"""`orphanguard.wait` hears of every end, in any thread and in signal handlers.

The control is a wait that must time out while the others hear of their own children.
"""
