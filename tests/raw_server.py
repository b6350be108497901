"""A server that answers as no web server would."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_PAUSE_S = 0.02


@contextmanager
def answering(pieces: Sequence[bytes], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Where each connection is answered the pieces of that moment, with a pause behind each; then it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listening, pieces, tls, over))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://localhost:{listening.getsockname()[1]}/jwks.json"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(
    listening: socket.socket, pieces: Sequence[bytes], tls: ssl.SSLContext | None, over: threading.Event
) -> None:
    while not over.is_set():
        try:
            accepted, _ = listening.accept()
        except OSError:  # it is over
            return
        with (
            suppress(OSError),  # whom it answers may have had enough
            accepted,
            tls.wrap_socket(accepted, server_side=True) if tls else accepted as connection,
        ):
            connection.recv(65536)
            for piece in list(pieces):
                connection.sendall(piece)
                if len(pieces) > 1 and over.wait(_PAUSE_S):
                    return
