"""Ends connections whose clients take nothing, or send too slowly: the server itself would wait for ever."""

from __future__ import annotations

import resource
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TAKEN_WITHIN_MS: Final = 10_000
_OPEN_FILES: Final = Path("/proc/self/fd")
_OTHER_FILES: Final = 1024  # of a worker: SQLite's, and connections to Redis
_LAST_SENT: Final = struct.Struct("=I")
_LAST_SENT_AT: Final = 44  # tcpi_last_data_sent of struct tcp_info, in milliseconds (linux/tcp.h)


def allow_connections(wanted: int) -> int:
    """Let this process, and those it starts, open as many files as they may; how many of them may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    asked = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < asked:
        soft = asked if hard == resource.RLIM_INFINITY else min(asked, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, max(soft // 2, soft - _OTHER_FILES))


def cut_off_who_takes_nothing() -> None:
    """For every connection that this process has accepted: Linux ends it once nothing was taken for 10 s.

    The server does not say which connection a request came on. Elsewhere than on Linux nothing is done.
    """
    for descriptor in _accepted():
        with suppress(OSError), _socket_of(descriptor) as found:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TAKEN_WITHIN_MS)


def cut_off_who_sends_slowly(address: str, within_s: float) -> None:
    """End what may still come over each connection from there on which nothing was answered for so long.

    Such is the one of a body on its way, of a silent client, or of a request that takes as long: the server does not
    say which is which. It can still be answered. Elsewhere than on Linux nothing is done.
    """
    for descriptor in _accepted():
        with suppress(OSError), _socket_of(descriptor) as found:
            if found.getpeername()[0] == address and _silent_s(found) >= within_s:
                found.shutdown(socket.SHUT_RD)


def _silent_s(found: socket.socket) -> float:
    """Since something was sent to the other end, or since it connected."""
    told = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_SENT_AT + _LAST_SENT.size)
    milliseconds: int = _LAST_SENT.unpack_from(told, _LAST_SENT_AT)[0]
    return milliseconds / 1000


def _accepted() -> Iterator[int]:
    """The descriptors of this process' connections to ports that it listens on."""
    if sys.platform != "linux" or not _OPEN_FILES.is_dir():
        return
    ports: dict[int, int] = {}
    listening: set[int] = set()
    for entry in _OPEN_FILES.iterdir():
        descriptor = int(entry.name)
        with suppress(OSError), _socket_of(descriptor) as found:
            if found.family in {socket.AF_INET, socket.AF_INET6}:
                ports[descriptor] = found.getsockname()[1]
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    listening.add(ports[descriptor])
    yield from (descriptor for descriptor, port in ports.items() if port in listening)


@contextmanager
def _socket_of(descriptor: int) -> Iterator[socket.socket]:
    """What stays another's; OSError where it is no socket, or closed since.

    No copy: to close one of a SQLite file that was opened in its place would end that file's locks.
    """
    found = socket.socket(fileno=descriptor)
    try:
        yield found
    finally:
        found.detach()
