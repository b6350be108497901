"""Takes in a request's body before the request gets a place in line: who sends slowly waits for nobody's turn.

What did not come whole goes no further.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Final

from shared.admission import ARRIVING, READS, REFUSE_OVERLOADED, Refusal
from shared.connections import cut_off_who_sends_slowly
from shared.problem_kinds import BODY_TOO_LARGE, BODY_TOO_SLOW, LENGTH_REQUIRED
from shared.problems import Problem, bad_header
from shared.strict_json import LARGEST_BATCH_BYTES, LARGEST_BODY_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WITHIN_S: Final = 20.0
_WITHIN_WHEN_FULL_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.5
_DIGITS: Final = len(str(LARGEST_BATCH_BYTES)) + 1  # so many are too large, whatever follows

_REFUSE_SLOW: Final = Refusal(Problem(BODY_TOO_SLOW))
_REFUSE_LARGE: Final = Refusal(
    Problem(
        BODY_TOO_LARGE,
        f"A body may have {LARGEST_BODY_BYTES} bytes, a batch {LARGEST_BATCH_BYTES}: send less.",
    )
)
_REFUSE_IN_CHUNKS: Final = Refusal(Problem(LENGTH_REQUIRED))
_REFUSE_NO_NUMBER: Final = Refusal(bad_header("Content-Length", "must be a number of bytes, in digits"))


class Arrivals:
    """Around a WSGI app. Reads have no body that anybody looks at.

    The server's own read of a body waits for ever, and cannot be left: connections are cut off that keep one waiting.
    It does not say that a connection ended before the body did: less came than was announced, and of a body in chunks
    nothing is.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._began: dict[
            object, tuple[float, str]
        ] = {}  # when, and from which address; the first is the oldest
        self._by_address: Counter[str] = Counter()
        self._cut_s: dict[str, float] = {}  # when connections from an address were cut off last
        self._is_watched = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READS:
            return self._app(environ, start_response)
        if "HTTP_TRANSFER_ENCODING" in environ:
            return _REFUSE_IN_CHUNKS(environ, start_response)
        announced: str = environ.get("CONTENT_LENGTH") or "0"
        if not announced.isdecimal():
            return _REFUSE_NO_NUMBER(environ, start_response)
        size = int(announced.lstrip("0")[:_DIGITS] or "0")
        if size > LARGEST_BATCH_BYTES:
            return _REFUSE_LARGE(environ, start_response)
        if not size:
            return self._app(environ, start_response)
        arrival, address = object(), environ.get("REMOTE_ADDR", "")
        if not self._begin(arrival, address):
            return REFUSE_OVERLOADED(environ, start_response)
        try:
            body = environ["wsgi.input"].read(size)
        finally:
            began_s = self._end(arrival, address)
        if len(body) < size:
            is_cut = self._cut_s.get(address, 0) > began_s
            refuse = _REFUSE_SLOW if is_cut else Refusal(_incomplete(size, len(body)))
            return refuse(environ, start_response)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(size)
        return self._app(environ, start_response)

    def _begin(self, arrival: object, address: str) -> bool:
        with self._lock:
            addresses = len(self._by_address) + (address not in self._by_address)
            if len(self._began) >= ARRIVING or self._by_address[address] >= _share(addresses):
                return False
            if not self._is_watched:
                threading.Thread(target=self._cut_off_overdue, name="slow bodies", daemon=True).start()
                self._is_watched = True
            self._began[arrival] = (time.monotonic(), address)
            self._by_address[address] += 1
        return True

    def _end(self, arrival: object, address: str) -> float:
        """When it began."""
        with self._lock:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
            return self._began.pop(arrival)[0]

    def _cut_off_overdue(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            overdue = self._overdue()
            if overdue is None:
                return
            for address, within_s in overdue.items():
                self._cut_s[address] = time.monotonic()
                cut_off_who_sends_slowly(address, within_s)

    def _overdue(self) -> dict[str, float] | None:
        """Addresses that keep a body waiting for too long, each with how long that is now; None with no body at all."""
        with self._lock:
            if not self._began:
                self._is_watched = False
                self._cut_s = {}
                return None
            now_s = time.monotonic()
            is_full = len(self._began) >= ARRIVING
            share = _share(len(self._by_address))
            overdue: dict[str, float] = {}
            for began_s, address in self._began.values():
                crowded = is_full or self._by_address[address] >= share
                within_s = _WITHIN_WHEN_FULL_S if crowded else WITHIN_S
                if now_s - began_s >= within_s:
                    overdue[address] = within_s
            return overdue


def _share(addresses: int) -> int:
    """How many bodies may be on their way from each; what is left is for the next to come."""
    return ARRIVING // (addresses + 1)


def _incomplete(size: int, came: int) -> Problem:
    return bad_header(
        "Content-Length", f"announces {size} bytes, and {came} came; nothing was done: send it again"
    )
