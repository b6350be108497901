"""How many requests a worker takes on at once: what comes beyond that is told to come back, and costs little."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from shared.problems import unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Measured: docs/decisions/020-what-a-worker-takes-on.md
AT_ONCE: Final = 16
WAITING: Final = 64
LONGEST_WAIT_S: Final = 1.0

_NEVER_REFUSED: Final = "/health/"  # whoever watches must see that it is the load


class Admission:
    """Around a WSGI app: so many requests in work at once, so many waiting in line, and 503 for the others.

    The server needs a thread for each of these, and some to refuse with.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._in_work = 0
        self._line: deque[threading.Lock] = deque()  # each is released when it is its turn

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._line)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(_NEVER_REFUSED):
            return self._app(environ, start_response)
        if not self._begin():
            problem = unavailable(
                "overloaded",
                "More is asked than can be answered now, and nothing was done: send it again later.",
            )
            return problem.response()(environ, start_response)
        try:
            return self._app(environ, start_response)
        finally:
            self._end()

    def _begin(self) -> bool:
        with self._lock:
            if self._in_work < AT_ONCE:
                self._in_work += 1
                return True
            if len(self._line) >= WAITING:
                return False
            turn = threading.Lock()
            turn.acquire()
            self._line.append(turn)
        if turn.acquire(timeout=LONGEST_WAIT_S):
            return True
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                return False
        return True  # its turn came at the last moment

    def _end(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._in_work -= 1
