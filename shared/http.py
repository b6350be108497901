"""A service's Flask app before it has routes of its own: errors, sign-in, health and headers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec
from flask import Flask, Response, g, request

from shared.admission import Admission
from shared.cors import Cors
from shared.health import Health
from shared.health_routes import make_health_routes
from shared.log_position import register_log_position_headers
from shared.negotiation import require_acceptable
from shared.operations import operation_of
from shared.pages.routes import make_pages
from shared.permissions import Identity
from shared.problems import bad_parameter, bad_request, forbidden, register_error_handlers, unauthorized
from shared.request_ids import REQUEST_ID, request_id
from shared.requested_page import refuse_unknown_parameters
from shared.strict_json import LARGEST_BODY_BYTES, is_id
from shared.tokens import InvalidToken, Tokens
from shared.writes import add_write_headers


class _PlainApp(Flask):
    """Every view and hook is a plain function: Flask asks that of each of them for each request, 1 us each."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def make_default_options_response(self) -> Response:
        """204 and `Allow`; Flask's own has the type of a body that is not there."""
        response = super().make_default_options_response()
        return no_content({"Allow": response.headers["Allow"]})


def make_app(name: str, description: str, health: Health, cors_origins: Collection[str] = ()) -> Flask:
    """An app that answers nothing but health, and tells of itself, yet."""
    app = _PlainApp(name, static_folder=None)
    app.wsgi_app = Admission(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to put something around it
    if cors_origins:
        app.wsgi_app = Cors(app.wsgi_app, cors_origins)  # type: ignore[method-assign]  # as above
    # One more than a body may have: werkzeug cuts a body without Content-Length there, and does not say so.
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES + 1
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False  # //accounts is no path of ours, and no redirect to one
    register_error_handlers(app)
    register_log_position_headers(app)
    app.register_blueprint(make_health_routes(health))
    app.register_blueprint(make_pages(name, description))

    @app.before_request
    def _refuse() -> None:
        """What is wrong with a request whatever its view does; most have neither a query nor an Accept to look at."""
        environ = request.environ
        query, accept = environ.get("QUERY_STRING", ""), environ.get("HTTP_ACCEPT", "*/*")
        if not query and accept == "*/*":
            return
        if not query.isascii():
            raise bad_request("The query is not ASCII: percent-encode it.")
        operation = operation_of(app.view_functions[request.endpoint]) if request.endpoint else None
        if operation is None or request.method == "OPTIONS":
            return
        if query:
            refuse_unknown_parameters(*operation.query_parameters)
        require_acceptable(accept, operation)

    @app.after_request
    def _add_request_id(response: Response) -> Response:
        response.headers.add(REQUEST_ID, request_id(request.environ))
        return response

    app.after_request(add_write_headers)
    return app


def require_token(tokens: Tokens) -> Identity:
    """Who asks, from `Authorization: Bearer <token>`; 401 without a good one."""
    g.varies_by_token = True
    try:
        return tokens.verify(bearer_token())
    except InvalidToken as problem:
        raise unauthorized(str(problem)) from problem


def require_admin(tokens: Tokens, what: str) -> Identity:
    """As `require_token`; 403 for who is no admin, and may not do `what`."""
    identity = require_token(tokens)
    if not identity.is_admin:
        raise forbidden(f"Only an admin may {what}.")
    return identity


def bearer_token() -> str:
    """The token as it was sent, good or not; 401 without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("Missing Bearer token in request: log in with POST /auth/login on accounts.")
    return token.strip()


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
