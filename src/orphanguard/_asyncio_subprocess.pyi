"""What type checkers and editors see of ``orphanguard.asyncio.subprocess``.

At run time that is an object and no module, so there is no module to which this stub belongs.
"""

from asyncio.subprocess import DEVNULL as DEVNULL
from asyncio.subprocess import PIPE as PIPE
from asyncio.subprocess import STDOUT as STDOUT
from asyncio.subprocess import Process as Process
from asyncio.subprocess import SubprocessStreamProtocol as SubprocessStreamProtocol

from .asyncio import create_subprocess_exec as create_subprocess_exec
from .asyncio import create_subprocess_shell as create_subprocess_shell
