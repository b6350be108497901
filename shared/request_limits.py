"""How many requests of a class one user, or one address, may send in a minute: 429 beyond that."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItemPerMinute

from eventlog import EventLog
from shared.bearer import sent_token
from shared.networks import network_of
from shared.operations import RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, operation_of
from shared.problem_kinds import TOO_MANY_REQUESTS
from shared.problems import Problem
from shared.request_classes import RequestClass
from shared.request_counts import RequestCounts
from shared.tokens import InvalidToken, KeysUnknown, Tokens

_WINDOW_S: Final = 60
_PATIENCE_S: Final = 0.25  # with Redis; then the worker counts by itself


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
    """By Flask-Limiter, whose hooks and decorators would take 100 us more of each request to find its limit."""

    def __init__(self, app: Flask, log: EventLog, per_minute: Mapping[RequestClass, int]) -> None:
        self._name = app.name
        self._limits = {each: RateLimitItemPerMinute(limit) for each, limit in per_minute.items()}
        self._limiter = Limiter(
            get_remote_address,
            app=Flask(__name__),
            storage_uri=f"{RequestCounts.SCHEME}://",
            storage_options={
                "client": log.make_client(_PATIENCE_S),  # type: ignore[dict-item]  # passed on as it is
                "prefix": f"limits:{log.stream}",
            },
        ).limiter

    def count(self, request_class: RequestClass, who: str) -> tuple[_Left, bool]:
        """What is left after this request, and whether it is beyond the limit."""
        limit = self._limits[request_class]
        digest = sha256(f"{self._name} {who}".encode()).hexdigest()  # no name can be read in a key
        is_within = self._limiter.hit(limit, digest, request_class)
        ends_at_s, remaining = self._limiter.get_window_stats(limit, digest, request_class)
        seconds = min(_WINDOW_S, max(1, math.ceil(ends_at_s - time.time())))
        return _Left(limit.amount, remaining, seconds), not is_within
