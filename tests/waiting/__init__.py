"""`orphanguard.wait` hears of every end, once for all who wait, from any thread and from signal handlers."""
