"""Lets pages of other origins call a service, those that the settings name (the Fetch standard: CORS)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

from shared.request_ids import REQUEST_ID, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS: Final = "GET, HEAD, POST, DELETE"
# What requests carry beside what every page may send.
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Min-Log-Position, Prefer,"
    f" traceparent, {REQUEST_ID}"
)
# What answers carry beside what every page may read.
_ANSWER_HEADERS: Final = (
    "ETag, Idempotency-Key, Idempotency-Replayed, Link, Location, Log-Position, Preference-Applied, Projection-State,"
    f" RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, {REQUEST_ID}"
)
_MAX_AGE_S: Final = "7200"  # the longest that Chromium keeps it


class Cors:
    """Around a WSGI app, and whatever refuses requests to it: a page must be able to read a refusal, too."""

    def __init__(self, app: WSGIApplication, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")
        headers = [("Vary", "Origin")]
        if origin in self._origins:
            headers.append(("Access-Control-Allow-Origin", origin))
            if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
                headers += [
                    ("Access-Control-Allow-Methods", _METHODS),
                    ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
                    ("Access-Control-Max-Age", _MAX_AGE_S),
                    (REQUEST_ID, request_id(environ)),
                ]
                start_response("204 No Content", headers)
                return []
            headers.append(("Access-Control-Expose-Headers", _ANSWER_HEADERS))

        def start(status: str, answered: list[tuple[str, str]], *failed: Any) -> Any:
            return start_response(status, answered + headers, *failed)

        return self._app(environ, start)
