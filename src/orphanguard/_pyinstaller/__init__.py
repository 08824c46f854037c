"""Tells PyInstaller where our hook is, which says what belongs to us. Its entry point ``pyinstaller40`` calls this."""

import os


def get_hook_dirs() -> list[str]:
    return [os.path.dirname(__file__)]
