"""Only what pyproject.toml can't say: the cffi extension and the tag of its wheel."""

import sysconfig

from setuptools import setup

# The limited API, so one wheel serves CPython 3.10 and later; free-threaded builds have no such API.
ABI3 = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp310"}}

setup(cffi_modules=["csrc/build_shim.py:ffibuilder"], options=ABI3)
