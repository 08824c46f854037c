"""What callers see: arguments, signatures, exceptions, keywords, mirrors of standard modules, exit status.

Negative control: the standard library does the same beside it, wherever it has the same function.
"""
