"""A service's Flask app before it has routes of its own: errors, sign-in, health and headers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from eventlog import EventLog
from shared.admission import Admission
from shared.arrivals import Arrivals
from shared.bearer import bearer_token
from shared.cors import Cors
from shared.health import Health
from shared.health_routes import make_health_routes
from shared.log_position import register_log_position_headers
from shared.negotiation import require_acceptable
from shared.operations import Operation, operation_of
from shared.pages.routes import make_pages
from shared.permissions import Allowed, Identity
from shared.problems import bad_parameter, bad_request, forbidden, register_error_handlers, unauthorized
from shared.request_classes import RequestClass
from shared.request_ids import REQUEST_ID, request_id
from shared.request_limits import limit_requests
from shared.requested_page import refuse_unknown_parameters
from shared.safe_headers import SafeHeaders
from shared.strict_json import LARGEST_BODY_BYTES, is_id
from shared.tokens import InvalidToken, Tokens
from shared.writes import add_write_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from shared.spans import Spans


_CHANGE_NOTHING: Final = {"GET", "HEAD"}
NOT_CURRENT: Final = (
    "The user of this access token may not log in any more, or has another role by now: log in again."
)


class _PlainApp(Flask):
    """Every view and hook is a plain function: Flask asks that of each of them for each request, 1 us each."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """ValueError for a route that does not state who may ask for it; the files of pages are for anyone."""
        is_file = endpoint is not None and endpoint.endswith(".static")
        if view_func is not None and operation_of(view_func) is None and not is_file:
            raise ValueError(f"who may ask for {rule}? Describe its view with shared.operations")
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)

    def make_default_options_response(self) -> Response:
        """204 and `Allow`; Flask's own has the type of a body that is not there."""
        response = super().make_default_options_response()
        return no_content({"Allow": response.headers["Allow"]})


def make_app(
    name: str,
    description: str,
    health: Health,
    tokens: Tokens,
    *,
    log: EventLog,
    per_minute: Mapping[RequestClass, int],
    is_current: Callable[[Identity], bool] = lambda _: True,
    metrics_token: str = "",
    cors_origins: Collection[str] = (),
    trusted_proxies: int = 0,
    spans: Spans | None = None,
) -> Flask:
    """An app that answers nothing but health, and tells of itself, yet.

    Requests are counted (`per_minute`, in the Redis of `log`), those of whoever is not let in, too. `is_current` is
    asked before anything is changed, which lasts for longer than a token: whether its user may still log in, and has
    its role.
    """
    app = _PlainApp(name, static_folder=None)
    app.wsgi_app = _surround(app.wsgi_app, trusted_proxies, cors_origins)  # type: ignore[assignment, method-assign]  # Flask's way
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False  # //accounts is no path of ours, and no redirect to one
    if spans is not None:
        spans.begin_with_requests(app)  # before what may refuse them
    limit_requests(app, tokens, log, per_minute)
    register_error_handlers(app)
    register_log_position_headers(app)
    app.register_blueprint(make_health_routes(health, metrics_token))
    app.register_blueprint(make_pages(name, description))

    @app.before_request
    def _refuse() -> None:
        """What is wrong with a request whatever its view does: who asks, first of all.

        Most have neither a query nor an Accept to look at.
        """
        environ = request.environ
        operation = _find_operation(app)
        if operation is not None:
            _admit(tokens, operation.allowed, is_current)
        query, accept = environ.get("QUERY_STRING", ""), environ.get("HTTP_ACCEPT", "*/*")
        if not query and accept == "*/*":
            return
        if not query.isascii():
            raise bad_request("The query is not ASCII: percent-encode it.")
        if operation is None:
            return
        if query:
            refuse_unknown_parameters(*operation.query_parameters)
        require_acceptable(accept, operation)

    @app.after_request
    def _add_what_every_answer_has(response: Response) -> Response:
        response.headers.add(REQUEST_ID, request_id(request.environ))
        return response

    app.after_request(add_write_headers)
    return app


def _surround(wsgi: WSGIApplication, trusted_proxies: int, cors_origins: Collection[str]) -> WSGIApplication:
    """What a request passes before Flask, and its answer after it: from the last to the first."""
    if trusted_proxies:
        wsgi = ProxyFix(wsgi, trusted_proxies)  # within Arrivals: the connections that end are the proxy's
    wsgi = Arrivals(Admission(wsgi))
    if cors_origins:
        wsgi = Cors(wsgi, cors_origins)
    return SafeHeaders(wsgi)


def _find_operation(app: Flask) -> Operation | None:
    """What is asked for; None for the methods or the file of a path, and where there is no such path or method."""
    if not request.endpoint or request.method == "OPTIONS":
        return None
    return operation_of(app.view_functions[request.endpoint])


def _admit(tokens: Tokens, allowed: Allowed, is_current: Callable[[Identity], bool]) -> None:
    """Leave in `g` who asks, by `Authorization: Bearer <token>`; 401 or 403 for whoever may not."""
    if not allowed.needs_token:
        return
    g.varies_by_token = True
    identity: Identity | None = vars(g).get("identity")  # found already, where requests are counted
    if identity is None:
        try:
            identity = tokens.verify(bearer_token())
        except InvalidToken as problem:
            raise unauthorized(str(problem)) from problem
    if request.method not in _CHANGE_NOTHING and not is_current(identity):
        raise unauthorized(NOT_CURRENT)
    if not identity.may_ask(allowed):
        raise forbidden(f"Only an admin may ask for {request.method} {request.url_rule}.")
    g.identity = identity


def who_asks() -> Identity:
    """Whom the request's token speaks for, in the view of an operation that needs one."""
    identity: Identity = g.identity
    return identity


def path_id(text: str, what: str) -> int:
    """The id in the path; 400 for what cannot be one."""
    if not is_id(text):
        raise bad_parameter(what, f"{text[:40]!r} is not an id: decimal digits without leading zeros")
    return int(text)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON; encoded here, so that what is slow or odd about it has one place."""
    return Response(msgspec.json.encode(body), status, dict(headers or {}), mimetype="application/json")


def no_content(headers: Mapping[str, str] | None = None, status: int = 204) -> Response:
    """Without the content type of a body that is not there."""
    response = Response(status=status, headers=dict(headers or {}))
    del response.headers["Content-Type"]
    return response
