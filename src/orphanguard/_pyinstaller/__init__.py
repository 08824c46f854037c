"""For PyInstaller, which asks by the entry point ``pyinstaller40``: where the hook is that says what belongs to us."""

import os


def get_hook_dirs() -> list[str]:
    return [os.path.dirname(__file__)]
