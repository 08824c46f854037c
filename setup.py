"""Only what pyproject.toml can't say: the cffi extension, the two C programs, and the tag of the wheel."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from setuptools import Extension, setup  # first: it brings distutils, which Python 3.12 has not
from setuptools.command.build_ext import build_ext
from setuptools.command.dist_info import dist_info

from distutils.ccompiler import new_compiler  # isort: skip
from distutils.command.build_scripts import build_scripts  # isort: skip
from distutils.errors import LinkError  # isort: skip
from distutils.sysconfig import customize_compiler  # isort: skip

HERE = Path(__file__).parent
RUN, LAUNCH = "orphanguard-run", "orphanguard-launch"  # the supervisor; what changes ids for Popen(user=...)

# The limited API, so one wheel serves CPython 3.10 and later; free-threaded builds have no such API.
ABI3 = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"bdist_wheel": {"py_limited_api": "cp310"}}


def version() -> str:
    for line in (HERE / "pyproject.toml").read_text().splitlines():
        if line.startswith("version = "):
            return line.split('"')[1]
    raise ValueError("pyproject.toml names no version")


def check_tools() -> None:
    """One line that says what is missing, in place of the compiler's sixty."""
    compiler = new_compiler()
    customize_compiler(compiler)
    command = [*compiler.compiler_so, "-fsyntax-only", "-x", "c", "-"]

    def finds(header: str) -> bool:
        paths = (f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude"))
        source = f"#include <{header}>\n".encode()
        return subprocess.run([*command, *paths], input=source, capture_output=True, check=False).returncode == 0

    missing = ""
    if shutil.which(command[0]) is None:
        missing = f"no C compiler ({command[0]})"
    elif not finds("stdlib.h"):
        missing = "no headers of the C library (stdlib.h)"
    elif not finds("Python.h"):
        missing = "no headers of Python (Python.h)"
    if missing:
        raise SystemExit(f"orphanguard: {missing}; on Debian or Ubuntu: apt-get install gcc libc6-dev python3-dev")


class DistInfo(dist_info):
    """What pip asks for first; there it prints least around an error."""

    def run(self) -> None:
        check_tools()
        super().run()


class Program(Extension):
    """An executable in the package, beside its modules."""


class BuildExt(build_ext):
    def run(self) -> None:
        check_tools()
        super().run()

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.endswith((RUN, LAUNCH)):
            return os.path.join(*fullname.split("."))  # no .so
        return super().get_ext_filename(fullname)

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, Program):
            super().build_extension(ext)
            return
        extra = os.environ.get("ORPHANGUARD_CFLAGS", "").split()
        sanitizers = [flag for flag in extra if flag.startswith("-fsanitize")]  # they are for dynamic programs
        objects = self.compiler.compile(
            ext.sources,
            output_dir=self.build_temp,
            include_dirs=ext.include_dirs,
            macros=ext.define_macros,
            extra_postargs=["-std=gnu11", "-O2", *extra],
            depends=ext.depends,
        )
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)

        def link(*flags: str) -> None:
            self.compiler.link_executable(objects, target.name, output_dir=str(target.parent), extra_postargs=flags)

        if sanitizers:
            link(*sanitizers)
            return
        try:  # it starts faster and needs less memory
            link("-static", "-s")
        except LinkError:  # not every system has libc.a
            link("-s")


class BuildScripts(build_scripts):
    """Puts the program on the PATH as it is: no Python starts it. (An editable install has a copy of it as well.)"""

    def run(self) -> None:
        build = self.get_finalized_command("build_ext")
        program = next(ext for ext in build.extensions if ext.name.endswith(RUN))
        if not build.inplace:
            self.run_command("build_ext")
        Path(self.build_dir).mkdir(parents=True, exist_ok=True)
        shutil.copy2(build.get_ext_fullpath(program.name), Path(self.build_dir, RUN))

    def get_source_files(self) -> list[str]:
        return []


setup(
    cffi_modules=["csrc/shim/build_shim.py:ffibuilder"],
    ext_modules=[
        Program(
            f"orphanguard._bin.{RUN}",
            sorted(f"csrc/supervisor/{path.name}" for path in HERE.glob("csrc/supervisor/[!.]*.c")),
            depends=["csrc/supervisor/supervisor.h", "csrc/kernel.h"],
            include_dirs=["csrc"],
            define_macros=[("ORPHANGUARD_VERSION", f'"{version()}"')],
        ),
        Program(f"orphanguard._bin.{LAUNCH}", ["csrc/launcher/launcher.c"], depends=["csrc/launcher/launcher.h"]),
    ],
    scripts=[RUN],
    cmdclass={"build_ext": BuildExt, "dist_info": DistInfo, "build_scripts": BuildScripts},
    options=ABI3,
)
