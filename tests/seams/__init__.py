"""Where we lean on what others may change: private parts of the standard library, gevent, PyInstaller.

A test here fails with the name of the file that leans on what has moved.
"""
