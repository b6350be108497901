"""One web server at a time on a port, though its workers share it."""

from __future__ import annotations

import errno
import socket
import sys
import time
from typing import Final

from shared.settings import InvalidSettings

_PREDECESSOR_ENDS_WITHIN_S: Final = 2.0  # it was killed, and the kernel is just ending its workers
_PAUSE_S: Final = 0.05


def require_host(host: str) -> None:
    """InvalidSettings where it is no address of this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as problem:
            raise InvalidSettings(
                f"HOST is {host!r}, which cannot be bound ({problem.strerror}): "
                "set it to an IPv4 address of this machine"
            ) from problem


def take_port(host: str, port: int, variable: str) -> socket.socket:
    """Hold the port until the socket is closed: this process' workers may bind it, no other server may.

    InvalidSettings where another has it; `variable` is what sets it.
    """
    require_host(host)
    deadline = time.monotonic() + _PREDECESSOR_ENDS_WITHIN_S
    while True:
        try:
            return _take(host, port)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise InvalidSettings(
                    f"{variable} is {port}, which cannot be bound ({problem.strerror}): set it to another port"
                ) from problem
            if time.monotonic() > deadline:
                raise InvalidSettings(
                    f"port {port} is taken by another program: end that, or set {variable} to a free one"
                ) from problem
        time.sleep(_PAUSE_S)


def _take(host: str, port: int) -> socket.socket:
    """The reasons: docs/decisions/008-the-web-server.md."""
    taken = socket.socket()
    try:
        taken.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what a server of before left in TIME_WAIT
        taken.bind((host, port))
        taken.listen()  # of two at once, both bound, one can listen
        if sys.platform == "linux":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # from here on the workers may
            taken.shutdown(socket.SHUT_RDWR)  # it stays bound, and gets no connection
        else:
            taken.close()  # the look alone
    except BaseException:
        taken.close()
        raise
    return taken
