"""What type checkers and editors see of ``orphanguard.asyncio.subprocess``, where at run time an object is."""

from asyncio.subprocess import DEVNULL as DEVNULL
from asyncio.subprocess import PIPE as PIPE
from asyncio.subprocess import STDOUT as STDOUT
from asyncio.subprocess import Process as Process
from asyncio.subprocess import SubprocessStreamProtocol as SubprocessStreamProtocol

from .asyncio import create_subprocess_exec as create_subprocess_exec
from .asyncio import create_subprocess_shell as create_subprocess_shell
