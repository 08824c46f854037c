#!/usr/bin/env python3
"""Runs a command and does pidfd_open and pidfd_send_signal for it: see valgrind_pidfd.c."""

import array
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading


def serve(listener):
    while True:
        peer, _ = listener.accept()
        with peer:
            words, ancillary, _, _ = peer.recvmsg(12, socket.CMSG_SPACE(4))
            number, first, second = struct.unpack("iii", words)
            result, code, carried = 0, 0, []
            got = list(array.array("i", ancillary[0][2])) if ancillary else []
            try:
                if number == 434:
                    carried = [os.pidfd_open(first)]
                else:
                    signal.pidfd_send_signal(got[0], second)
            except OSError as error:
                result, code = -1, error.errno
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", carried))] if carried else []
            peer.sendmsg([struct.pack("ii", result, code)], rights)
            for fd in carried + got:
                os.close(fd)


with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
    os.environ["VALGRIND_PIDFD"] = f"{directory}/socket"
    listener.bind(os.environ["VALGRIND_PIDFD"])
    listener.listen(64)
    threading.Thread(target=serve, args=[listener], daemon=True).start()
    status = subprocess.run(sys.argv[1:], pass_fds=[3], check=False).returncode
sys.exit(status if status >= 0 else 128 - status)
