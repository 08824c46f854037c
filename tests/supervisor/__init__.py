"""`tree=` and `orphanguard-run`: whole trees end with the parent, and the command sees nothing of the supervisor.

Negative controls: the same trees without a supervisor survive; the same terminal session without it goes the same way.
"""
