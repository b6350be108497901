"""How a web server's worker learns that it is to end, beside the server itself, which waits for answers that go on."""

from __future__ import annotations

import signal
import socket
from select import select


class Ending:
    """Made in the main thread, before the server sets its handlers: signals are told to both."""

    def __init__(self) -> None:
        self._told, self._tells = socket.socketpair()
        self._tells.setblocking(False)
        signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)

    def comes_within(self, timeout_s: float) -> bool:
        """Wait for so long, or until a signal came; whether one did, now or before."""
        return bool(select([self._told], [], [], timeout_s)[0])
