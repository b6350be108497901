"""Around a service: each request is counted, timed, and a line in the log of its process."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from flask import Flask, Response, g, has_request_context, request

from shared.metrics import UNMATCHED, WebMetrics, known_method
from shared.request_ids import request_id
from shared.traceparent import requested_trace_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SEEN: Final = "revenue_stream.seen"  # the route that answers, and what it left in `g`
# Asked every few seconds by whoever watches: a line only where something is wrong.
_WATCHED: Final = {"/health/live", "/health/ready", "/metrics"}


class RequestsSeen:
    """Around a WSGI app, and around what refuses requests to it.

    A line has the route, not the path, and nothing else that a client sent but its request's id: no query, header,
    body or name of a user. Who it was, the entries know that it led to: their correlation id is that of the line.
    """

    def __init__(self, app: WSGIApplication, metrics: WebMetrics, *, logs: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log = structlog.get_logger().bind() if logs else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began_s = time.perf_counter()

        def start(status: str, headers: list[tuple[str, str]], *failed: Any) -> Any:
            self._note(environ, int(status[:3]), time.perf_counter() - began_s)
            return start_response(status, headers, *failed)

        return self._app(environ, start)

    def _note(self, environ: WSGIEnvironment, status: int, seconds: float) -> None:
        seen: tuple[str, dict[str, Any]] | None = environ.get(_SEEN)
        route, left = seen or (UNMATCHED, {})
        if seen is None and status == 503:
            self._metrics.note_overload()
        if left.get("replayed"):
            self._metrics.note_replay()
        method = known_method(environ["REQUEST_METHOD"])
        self._metrics.note_request(method, route, status, seconds)
        if self._log is None or (route in _WATCHED and status == 200):
            return
        line = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
        }
        line.update(_place_of(environ, left))
        with suppress(OSError):  # whoever reads the log is gone: the answer is still good
            self._log.info("request", **line)


def see_requests(app: Flask, metrics: WebMetrics, *, logs: bool) -> None:
    """Put it around the app, once all else is around it; `logs` writes the lines."""
    app.wsgi_app = RequestsSeen(app.wsgi_app, metrics, logs=logs)  # type: ignore[method-assign]  # Flask's way

    @app.after_request
    def _tell(response: Response) -> Response:
        rule = request.url_rule
        request.environ[_SEEN] = UNMATCHED if rule is None else rule.rule, vars(g)
        return response


def add_request(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A step of `configure_logging`: lines that a request writes say which one, and what is known of its place."""
    if "request_id" not in event and has_request_context():
        for name, value in _place_of(request.environ, vars(g)).items():
            event.setdefault(name, value)
    return event


def _place_of(environ: WSGIEnvironment, left: dict[str, Any]) -> dict[str, object]:
    """Its id, and what it belongs to: correlation, the position that it read up to or wrote at, its trace.

    The correlation id is that of the entries which came of this request, or would have. A write that had been done
    before is `replayed`: its entries have that of the first.
    """
    found: dict[str, object] = {"request_id": request_id(environ), "correlation_id": request_id(environ)}
    if "log_position" in left:  # without its log's id, as entries have it
        found["position"] = left["log_position"].partition("@")[0]
    if "replayed" in left:
        found["replayed"] = left["replayed"]
    trace_id = left.get("trace_id") or requested_trace_id(environ)
    if trace_id is not None:
        found["trace_id"] = trace_id
    return found
