"""Every strategy under every fault: ``python -m benchmarks.matrix``.

A child says that it is up (``child.py``), a parent starts children (``parent.py``), a trial has one parent and watches
when each of them dies (``trial.py``). What is done to the parent is a fault (``faults.py``) or must end no child
(``early.py``). ``rows.py`` lists all of that, ``cells.py`` repeats one row of one strategy, ``__main__.py`` does all.
"""
