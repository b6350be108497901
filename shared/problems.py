"""Errors as RFC 9457 problem details: a stable type, what is wrong, where, and what to do."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from eventlog import EventLogError
from eventlog.errors import CommandReused, OutcomeUnknown
from shared.field_error import FieldError
from shared.problem_kinds import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CONFLICT,
    FORBIDDEN,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    KEYS_UNKNOWN,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    NOT_READABLE,
    NOT_WRITTEN,
    OUTCOME_UNKNOWN,
    PRECONDITION_FAILED,
    RANGE_NOT_SATISFIABLE,
    UNAUTHORIZED,
    Kind,
)
from shared.tokens import KeysUnknown

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = "1"
# What werkzeug itself may answer a request to one of our paths, or to none, with its headers that are kept.
_BY_STATUS: Final[Mapping[int, tuple[Kind, str]]] = {
    400: (BAD_REQUEST, "The request cannot be understood: look at its path and its Host."),
    404: (NOT_FOUND, "There is no such path."),
    405: (METHOD_NOT_ALLOWED, ""),
    416: (RANGE_NOT_SATISFIABLE, ""),
}
_KEPT: Final = {"allow", "content-range"}

_logger = logging.getLogger(__name__)


class Problem(Exception):
    """Raise it anywhere in a request to answer it."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or kind.detail)
        self.kind = kind
        self.detail = detail or kind.detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"/problems/{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(msgspec.json.encode(body), self.kind.status, self.headers, mimetype=MEDIA_TYPE)


def bad_request(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(BAD_REQUEST, detail, errors=errors)


def bad_parameter(parameter: str, detail: str) -> Problem:
    return bad_request(f"{parameter}: {detail}", [FieldError(detail, parameter=parameter)])


def bad_header(header: str, detail: str) -> Problem:
    return bad_request(f"{header}: {detail}", [FieldError(detail, header=header)])


def not_found(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(NOT_FOUND, detail, errors=errors)


def forbidden(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(FORBIDDEN, detail, errors=errors)


def conflict(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(CONFLICT, detail, errors=errors)


def precondition_failed(detail: str) -> Problem:
    return Problem(PRECONDITION_FAILED, detail)


def unauthorized(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": 'Bearer realm="revenue-stream"'}
    return Problem(UNAUTHORIZED, detail, headers=challenge)


def unavailable(kind: Kind, detail: str = "", headers: Mapping[str, str] | None = None) -> Problem:
    """503: nothing was done, or nothing is known; the client tries again."""
    return Problem(kind, detail, headers={"Retry-After": RETRY_AFTER_S, **(headers or {})})


def register_error_handlers(app: Flask) -> None:
    """Every error of the app leaves as a problem, and none says more than the client should know."""

    @app.errorhandler(Problem)
    def _problem(problem: Problem) -> Response:
        return problem.response()

    @app.errorhandler(CommandReused)
    def _reused(_: CommandReused) -> Response:
        return Problem(IDEMPOTENCY_KEY_REUSED).response()

    @app.errorhandler(OutcomeUnknown)
    def _outcome_unknown(problem: OutcomeUnknown) -> Response:
        _logger.warning("outcome unknown: %s", problem)
        return unavailable(OUTCOME_UNKNOWN).response()

    @app.errorhandler(KeysUnknown)
    def _keys_unknown(problem: KeysUnknown) -> Response:
        _logger.warning("%s", problem)
        return unavailable(KEYS_UNKNOWN).response()

    @app.errorhandler(EventLogError)
    @app.errorhandler(sqlite3.Error)
    def _nothing_done(problem: EventLogError | sqlite3.Error) -> Response:
        _logger.warning("not done: %s: %s", type(problem).__name__, problem)
        return unavailable(NOT_READABLE if request.method in {"GET", "HEAD"} else NOT_WRITTEN).response()

    @app.errorhandler(RequestEntityTooLarge)
    def _too_large(_: RequestEntityTooLarge) -> Response:
        detail = f"A body may have {request.max_content_length} bytes: send less."
        return Problem(BODY_TOO_LARGE, detail).response()

    @app.errorhandler(HTTPException)
    def _http(problem: HTTPException) -> Response:
        told = _BY_STATUS.get(problem.code or 500)
        if told is None:
            return _unexpected(problem)
        kind, detail = told
        headers = {name: value for name, value in problem.get_headers() if name.lower() in _KEPT}
        return Problem(kind, detail, headers=headers).response()

    @app.errorhandler(Exception)
    def _unexpected(problem: Exception) -> Response:
        _logger.error("unexpected error", exc_info=problem)
        return Problem(INTERNAL_ERROR).response()
