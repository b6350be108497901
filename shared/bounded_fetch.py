"""What an address answers, within a time that no answer can stretch, however slowly it comes."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from threading import Thread
from typing import Any, Final

_SHOWN_CHARACTERS: Final = 200


class FetchFailed(Exception):
    """Why there is no answer."""


def fetch(url: str, within_s: float, most_bytes: int) -> bytes:
    """The first bytes of what it answers to GET; FetchFailed where that is no whole HTTP, or not all here in time.

    `url` is of http or https.
    """
    fetching = _Fetching(url, within_s, most_bytes)
    fetching.start()
    fetching.join(within_s)
    if fetching.is_alive():
        fetching.cut_off()
        raise FetchFailed(f"no whole answer within {within_s:g} s")
    if fetching.problem is not None:
        raise FetchFailed(fetching.problem)
    return fetching.body


class _Fetching(Thread):
    """Timeouts of sockets are of each piece that comes, and looking up a name has none: so it is waited for outside."""

    def __init__(self, url: str, within_s: float, most_bytes: int) -> None:
        super().__init__(name="fetch", daemon=True)
        self.body = b""
        self.problem: str | None = None
        self._url = url
        self._within_s = within_s
        self._most_bytes = most_bytes
        self._connections = _Connections()

    def run(self) -> None:
        try:
            opener = urllib.request.build_opener(self._connections)
            with opener.open(self._url, timeout=self._within_s) as answer:
                self.body = answer.read(self._most_bytes)
        except (OSError, HTTPException, ValueError) as problem:
            # In words of the address, too.
            told = (str(problem) or type(problem).__name__)[:_SHOWN_CHARACTERS]
            self.problem = "".join(each if each.isprintable() else "?" for each in told)

    def cut_off(self) -> None:
        """Let the thread end soon, whatever still comes."""
        self._connections.cut_off()


class _Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Remembers the sockets that requests were sent on, those of redirects, too."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []
        self._is_cut_off = False

    def do_open(self, http_class: Any, req: urllib.request.Request, **arguments: Any) -> HTTPResponse:
        def make(*words: Any, **more: Any) -> Any:
            connection = http_class(*words, **more)
            connect = connection.connect

            def connect_and_remember() -> None:
                connect()
                self._sockets.append(connection.sock)
                if self._is_cut_off:
                    self.cut_off()

            connection.connect = connect_and_remember
            return connection

        return super().do_open(make, req, **arguments)

    def cut_off(self) -> None:
        """End what is read from them."""
        self._is_cut_off = True
        for connected in self._sockets:
            with suppress(OSError):  # closed by now
                connected.shutdown(socket.SHUT_RDWR)
