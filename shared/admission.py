"""How many requests a worker takes on at once: what comes beyond that is told to come back, and costs little."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from shared.problem_kinds import OVERLOADED
from shared.problems import Problem, unavailable
from shared.request_ids import REQUEST_ID, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Measured: docs/decisions/020-what-a-worker-takes-on.md
AT_ONCE: Final = 8
WAITING: Final = 72
LONGEST_WAIT_S: Final = 1.0

WATCHERS: Final = 32  # each keeps a thread, and no place in a line, for as long as it watches

ARRIVING: Final = 128  # bodies that are on their way; each keeps a thread until it is here

# For the four lines, for those who watch, and for bodies on their way; the last to refuse with.
THREADS: Final = 4 * (AT_ONCE + WAITING) + WATCHERS + ARRIVING + 8

READS: Final = {"GET", "HEAD", "OPTIONS"}


class Refusal:
    """An answer that is made once: to refuse must cost next to nothing."""

    def __init__(self, problem: Problem) -> None:
        response = problem.response()
        self._status = response.status
        self._headers = response.headers.to_wsgi_list()
        self._body = response.get_data()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self._status, [*self._headers, (REQUEST_ID, request_id(environ))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [self._body]


REFUSE_OVERLOADED: Final = Refusal(unavailable(OVERLOADED))


class Admission:
    """Around a WSGI app: reads, and all else, have a line each, so that neither waits for what the other waits for.

    So have those who ask how the service is: they see it under whatever load, and are none. To be ready takes a look
    at all there is, so those who ask that wait for one look together, and whether it lives is told apart from them.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self.reads, self.writes = Line(AT_ONCE, WAITING), Line(AT_ONCE, WAITING)
        self._of_path = {
            "/health/ready": Line(AT_ONCE + WAITING, 0),
            **dict.fromkeys(("/health/live", "/metrics"), Line(AT_ONCE, WAITING)),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        line = self._of_path.get(environ["PATH_INFO"])
        if line is None:
            line = self.reads if environ["REQUEST_METHOD"] in READS else self.writes
        if not line.begin():
            return REFUSE_OVERLOADED(environ, start_response)
        try:
            return self._app(environ, start_response)
        finally:
            line.end()


class Line:
    """So many in work at once, so many waiting for them to end, in the order they came."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once, self._most_waiting = at_once, waiting
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
            if self._in_work < self._at_once:
                self._in_work += 1
                return True
            if len(self._turns) >= self._most_waiting:
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
