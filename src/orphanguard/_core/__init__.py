"""What every start shares: the C shim, fds, lifelines, pidfds, children, waiting.

Nothing here knows of the standard library's process classes, or of the public modules. From the lowest to the highest:

- `errors`, `borrowed`, `gevent`, `keywords` and `signature` need nothing of ours.
- `native` loads the shim. `polling`, `fds`, `lifelines`, `arming`, `forking`, `spawning` and `pidfds` are its typed
  calls, each for one or two files of csrc/shim.
- `containment`, `supervised`, `guard`, `supervisor`, `child`, `program` and `waiting` are what every start shares.
"""
