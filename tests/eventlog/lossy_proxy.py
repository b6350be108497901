"""A TCP proxy before a Redis that loses what it is told to lose."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from enum import Enum, auto
from types import TracebackType
from typing import Self


class Loss(Enum):
    """What becomes of a script's request and its answer."""

    NONE = auto()
    ANSWER_THEN_RESET = auto()  # the server did it, the connection breaks
    ANSWER_THEN_SILENCE = auto()  # the server did it, nothing more is heard
    ALL = auto()  # a black hole: the server never sees it


class LossyProxy:
    """`lose(loss, times)` is for the next so many scripts; everything else passes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._guard = threading.Lock()
        self._loss, self._times = Loss.NONE, 0
        self._ended = threading.Event()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy.carry(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def lose(self, loss: Loss, times: int) -> None:
        with self._guard:
            self._loss, self._times = loss, times

    @property
    def left_to_lose(self) -> int:
        return self._times

    def carry(self, client: socket.socket) -> None:
        """Pass bytes both ways until an end closes or a script is to be lost."""
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if server in readable and not _pass_on(server, client):
                    return
                if client in readable:
                    request = _received(client)
                    loss = self._loss_for(request)
                    if loss is not Loss.NONE:
                        self._lose(request, loss, server)
                    if not request or loss is not Loss.NONE:
                        return
                    server.sendall(request)

    def _lose(self, request: bytes, loss: Loss, server: socket.socket) -> None:
        if loss is not Loss.ALL:
            server.sendall(request)
            _received(server)
        if loss is not Loss.ANSWER_THEN_RESET:
            self._ended.wait(30)

    def _loss_for(self, request: bytes) -> Loss:
        with self._guard:
            if b"EVAL" not in request or self._times == 0:
                return Loss.NONE
            self._times -= 1
            return self._loss


def _pass_on(one: socket.socket, other: socket.socket) -> bool:
    answer = _received(one)
    if answer:
        other.sendall(answer)
    return bool(answer)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1024 * 1024)
    except ConnectionError:
        return b""
