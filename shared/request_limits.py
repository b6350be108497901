"""How many requests of a class one user, or one address, may send in a minute: 429 beyond that."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from flask import Flask, Response, g, request
from flask_limiter import Limiter, RateLimitExceeded

from eventlog import EventLog
from eventlog.errors import LogUnavailable
from shared.bearer import sent_token
from shared.networks import network_of
from shared.operations import RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, operation_of
from shared.problem_kinds import TOO_MANY_REQUESTS
from shared.problems import Problem
from shared.request_classes import RequestClass
from shared.request_counts import RequestCounts
from shared.tokens import InvalidToken, KeysUnknown, Tokens

_WINDOW_S: Final = 60
_PATIENCE_S: Final = 0.25  # then the worker counts by itself, and tries again after 1 s, 2 s, 4 s ... 32 s


class _Left(NamedTuple):
    """What a client is told of its limit; `seconds` until it has all of it again."""

    limit: int
    remaining: int
    seconds: int


def limit_requests(app: Flask, tokens: Tokens, log: EventLog, per_minute: Mapping[RequestClass, int]) -> None:
    """Count every request but those for health and for parts of pages; 0 a minute is no limit.

    They are counted in the log's Redis, and by each worker while that is away.
    """
    classes: dict[str, RequestClass | None] = {}  # by endpoint
    counter = _Counter(app, log, per_minute)

    @app.before_request
    def _count() -> None:
        endpoint = request.endpoint or ""
        if endpoint not in classes:
            classes[endpoint] = _class_of(app, endpoint)
        request_class = classes[endpoint]
        if request_class is None or not per_minute[request_class]:
            return
        g.rate_limit, is_beyond = counter.count(request_class, _who_asks(tokens))
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
    return f"from {network_of(request.remote_addr or '')}"


class _Counter:
    """Flask-Limiter, asked for each request."""

    def __init__(self, app: Flask, log: EventLog, per_minute: Mapping[RequestClass, int]) -> None:
        self._name = app.name
        self._limiter = Limiter(
            lambda: str(g.counted_for),
            app=Flask(__name__),  # its hooks would look for limits of every request once more: 40 us
            storage_uri=f"{RequestCounts.SCHEME}://",
            storage_options={
                "client": log.make_client(_PATIENCE_S),  # type: ignore[dict-item]  # passed on as it is
                "prefix": f"limits:{log.stream}",
            },
            in_memory_fallback_enabled=True,
            request_identifier=lambda: "request",  # by itself it would pass over paths that are not there
        )
        self._limiter.logger.setLevel(logging.WARNING)  # each 429 would be a line more

        @self._limiter.shared_limit(
            lambda: f"{per_minute[g.counted_as]} per minute", scope=lambda _: str(g.counted_as)
        )
        def count() -> None:
            pass

        self._count = count

    def count(self, request_class: RequestClass, who: str) -> tuple[_Left, bool]:
        """What is left after this request, and whether it is beyond the limit."""
        g.counted_as = request_class
        g.counted_for = sha256(f"{self._name} {who}".encode()).hexdigest()  # no name can be read in a key
        try:
            is_beyond = self._is_beyond()
        except LogUnavailable:
            # Of those that find Redis away at once, Flask-Limiter counts the first alone in memory.
            is_beyond = self._is_beyond()
        found = self._limiter.current_limit
        if found is None:
            raise RuntimeError("Flask-Limiter counted nothing")
        seconds = min(_WINDOW_S, max(1, math.ceil(found.reset_at - time.time())))
        return _Left(found.limit.amount, found.remaining, seconds), is_beyond

    def _is_beyond(self) -> bool:
        try:
            self._count()
        except RateLimitExceeded:
            return True
        return False
