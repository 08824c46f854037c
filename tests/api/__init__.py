"""What callers see: arguments, signatures, exceptions, keywords, mirrors of standard modules, exit status.

The control is the standard library: the same call of it goes beside ours, wherever it has that call.
"""
