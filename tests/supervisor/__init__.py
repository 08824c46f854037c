"""`tree=` and `orphanguard-run`: whole trees end with the parent, and the command sees nothing of the supervisor.

The negative controls are the same trees without a supervisor, which survive, and the same terminal sessions without
one, which go the same way.
"""
