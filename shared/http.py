"""A service's Flask app before it has routes of its own: errors, sign-in, health and headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flask import Flask, Response, g, request

from shared.admission import Admission
from shared.health import Health
from shared.health_routes import make_health_routes
from shared.log_position import register_log_position_headers
from shared.pages.routes import make_pages
from shared.permissions import Identity
from shared.problems import bad_parameter, bad_request, register_error_handlers, unauthorized
from shared.strict_json import LARGEST_BODY_BYTES, is_id
from shared.tokens import InvalidToken, Tokens
from shared.writes import add_write_headers


class _PlainApp(Flask):
    """Every view and hook is a plain function: Flask asks that of each of them for each request, 1 us each."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def make_app(name: str, description: str, health: Health) -> Flask:
    """An app that answers nothing but health, and tells of itself, yet."""
    app = _PlainApp(name, static_folder=None)
    app.wsgi_app = Admission(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to put something around it
    # One more than a body may have: werkzeug cuts a body without Content-Length there, and does not say so.
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES + 1
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False  # //accounts is no path of ours, and no redirect to one
    register_error_handlers(app)
    register_log_position_headers(app)
    app.register_blueprint(make_health_routes(health))
    app.register_blueprint(make_pages(name, description))

    @app.before_request
    def _refuse_raw_bytes() -> None:
        if not request.query_string.isascii():
            raise bad_request("The query is not ASCII: percent-encode it.")

    app.after_request(add_write_headers)
    return app


def require_token(tokens: Tokens) -> Identity:
    """Who asks, from `Authorization: Bearer <token>`; 401 without a good one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("Missing Bearer token in request: log in with POST /auth/login on accounts.")
    try:
        identity = tokens.verify(token.strip())
    except InvalidToken as problem:
        raise unauthorized(str(problem)) from problem
    g.identity = identity
    return identity


def path_id(text: str, what: str) -> int:
    """The id in the path; 400 for what cannot be one."""
    if not is_id(text):
        raise bad_parameter(what, f"{text[:40]!r} is not an id: decimal digits without leading zeros")
    return int(text)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON; encoded here, so that what is slow or odd about it has one place."""
    return Response(msgspec.json.encode(body), status, dict(headers or {}), mimetype="application/json")


def no_content() -> Response:
    """204, without the content type of a body that is not there."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
