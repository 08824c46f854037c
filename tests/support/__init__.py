"""What tests and actors share: witnesses, trees of programs, holders of fds, what the kernel is made to refuse.

actor.py and proc.py need nothing but the standard library, fdtable.py and starts.py need orphanguard, the others
pytest.
"""
