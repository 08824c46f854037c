"""The seams, where we lean on what others may change: private parts of the standard library, gevent, PyInstaller.

A seam that moves fails a test, which names the file of ours that leans on it. The control is the stock library beside.
"""
