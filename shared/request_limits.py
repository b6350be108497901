"""How many requests of a class one user, or one address, may send in a minute: 429 beyond that."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from flask import Flask, Response, g, request
from flask_limiter import Limiter, RateLimitExceeded

from eventlog import EventLog
from shared.bearer import sent_token
from shared.operations import RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, operation_of
from shared.problem_kinds import TOO_MANY_REQUESTS
from shared.problems import Problem
from shared.request_classes import COUNTED_BY_WORKERS, RequestClass
from shared.tokens import InvalidToken, KeysUnknown, Tokens

_WINDOW_S: Final = 60
_LOG_PATIENCE_S: Final = 0.25  # then the worker counts by itself, until Redis answers again
_IPV6_PREFIX: Final = 64  # what one customer of a provider has at least (RFC 6177)


class _Left(NamedTuple):
    """What a client is told of its limit; `seconds` until it has all of it again."""

    limit: int
    remaining: int
    seconds: int


def limit_requests(app: Flask, tokens: Tokens, log: EventLog, per_minute: Mapping[RequestClass, int]) -> None:
    """Count every request but those for health and for parts of pages; 0 a minute is no limit.

    What workers do not count by themselves is counted in the log's Redis, and by each worker while that is away.
    """
    classes: dict[str, RequestClass | None] = {}  # by endpoint
    windows = {request_class: _Windows(per_minute[request_class]) for request_class in COUNTED_BY_WORKERS}
    together = _Together(app, log, per_minute)

    @app.before_request
    def _count() -> None:
        endpoint = request.endpoint or ""
        if endpoint not in classes:
            classes[endpoint] = _class_of(app, endpoint)
        request_class = classes[endpoint]
        if request_class is None or not per_minute[request_class]:
            return
        who = _who_asks(tokens)
        if request_class in windows:
            g.rate_limit, is_beyond = windows[request_class].count(who)
        else:
            g.rate_limit, is_beyond = together.count(request_class, who)
        if is_beyond:
            left: _Left = g.rate_limit
            raise Problem(
                TOO_MANY_REQUESTS,
                f"{left.limit:,} {request_class} a minute are allowed.",
                headers={"Retry-After": str(left.seconds)},
            )

    @app.after_request
    def _tell(response: Response) -> Response:
        left: _Left | None = vars(g).get("rate_limit")
        if left is not None:
            headers = response.headers
            headers.add(RATE_LIMIT.name, str(left.limit))
            headers.add(RATE_LIMIT_REMAINING.name, str(left.remaining))
            headers.add(RATE_LIMIT_RESET.name, str(left.seconds))
        return response


def _class_of(app: Flask, endpoint: str) -> RequestClass | None:
    """A path that is not there is a read."""
    view = app.view_functions.get(endpoint)
    if view is None:
        return RequestClass.READS
    operation = operation_of(view)
    return operation.request_class if operation else None


def _who_asks(tokens: Tokens) -> str:
    """The user of a good token, else the address, as far as one client cannot choose it."""
    token = sent_token()
    if token:
        try:
            g.identity = tokens.verify(token)
            return f"user {g.identity.username}"
        except (InvalidToken, KeysUnknown):
            pass
    address = request.remote_addr or ""
    if ":" in address:
        return f"from {ipaddress.ip_network((address.partition('%')[0], _IPV6_PREFIX), strict=False)}"
    return f"from {address}"


class _Windows:
    """Counts of this process, begun anew with each minute of the clock."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._ends_s = 0
        self._counts: dict[str, int] = {}

    def count(self, who: str) -> tuple[_Left, bool]:
        """What is left after this request, and whether it is beyond the limit."""
        now_s = self._clock()
        with self._lock:
            if now_s >= self._ends_s:
                self._ends_s = int(now_s) // _WINDOW_S * _WINDOW_S + _WINDOW_S
                self._counts = {}
            count = self._counts[who] = self._counts.get(who, 0) + 1
            seconds = self._ends_s - int(now_s)
        return _Left(self._limit, max(0, self._limit - count), seconds), count > self._limit


class _Together:
    """Counts of all workers, by Flask-Limiter."""

    def __init__(self, app: Flask, log: EventLog, per_minute: Mapping[RequestClass, int]) -> None:
        self._limiter = Limiter(
            lambda: f"{app.name} {g.counted_for}",
            app=Flask(
                __name__
            ),  # its hooks would look for limits of every request: 40 us, where most have none here
            storage_uri="redis://",
            storage_options={
                "connection_pool": log.make_pool(_LOG_PATIENCE_S),  # type: ignore[dict-item]  # RedisStorage takes one
                "key_prefix": f"limits:{log.stream}",
            },
            in_memory_fallback_enabled=True,
        )

        @self._limiter.shared_limit(
            lambda: f"{per_minute[g.counted_as]} per minute", scope=lambda _: g.counted_as
        )
        def count() -> None:
            pass

        self._count = count

    def count(self, request_class: RequestClass, who: str) -> tuple[_Left, bool]:
        """As `_Windows.count`."""
        g.counted_as, g.counted_for = request_class, who
        try:
            self._count()
            is_beyond = False
        except RateLimitExceeded:
            is_beyond = True
        found = self._limiter.current_limit
        if found is None:
            raise RuntimeError("Flask-Limiter counted nothing")
        seconds = min(_WINDOW_S, max(1, math.ceil(found.reset_at - time.time())))
        return _Left(found.limit.amount, found.remaining, seconds), is_beyond
