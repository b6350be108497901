"""How many requests a worker takes on at once: what comes beyond that is told to come back, and costs little."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from shared.problem_kinds import OVERLOADED
from shared.problems import unavailable
from shared.request_ids import REQUEST_ID, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Measured: docs/decisions/020-what-a-worker-takes-on.md
AT_ONCE: Final = 8
WAITING: Final = 72
LONGEST_WAIT_S: Final = 1.0

WATCHERS: Final = 32  # each keeps a thread, and no place in a line, for as long as it watches

# For reads, for all else, for those who watch; and the last to refuse with.
THREADS: Final = 2 * (AT_ONCE + WAITING) + WATCHERS + 8

_READS: Final = {"GET", "HEAD", "OPTIONS"}
_NEVER_REFUSED: Final = "/health/"  # whoever watches must see that it is the load


# Made once: a refusal must cost next to nothing.
_REFUSED: Final = unavailable(OVERLOADED).response()
_REFUSED_BODY: Final = _REFUSED.get_data()
_REFUSED_HEADERS: Final = _REFUSED.headers.to_wsgi_list()


class Admission:
    """Around a WSGI app: reads, and all else, have a line each, so that neither waits for what the other waits for."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self.reads, self.writes = Line(), Line()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(_NEVER_REFUSED):
            return self._app(environ, start_response)
        line = self.reads if environ["REQUEST_METHOD"] in _READS else self.writes
        if not line.begin():
            start_response(_REFUSED.status, [*_REFUSED_HEADERS, (REQUEST_ID, request_id(environ))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [_REFUSED_BODY]
        try:
            return self._app(environ, start_response)
        finally:
            line.end()


class Line:
    """So many in work at once, so many waiting for them to end, in the order they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_work = 0
        self._turns: deque[threading.Lock] = deque()  # each is released when it is its turn

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._turns)

    def begin(self) -> bool:
        """Wait for a turn, which `end` ends; False where there is none."""
        with self._lock:
            if self._in_work < AT_ONCE:
                self._in_work += 1
                return True
            if len(self._turns) >= WAITING:
                return False
            turn = threading.Lock()
            turn.acquire()
            self._turns.append(turn)
        if turn.acquire(timeout=LONGEST_WAIT_S):
            return True
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)
                return False
        return True  # its turn came at the last moment

    def end(self) -> None:
        with self._lock:
            if self._turns:
                self._turns.popleft().release()
            else:
                self._in_work -= 1
