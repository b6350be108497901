"""Errors as RFC 9457 problem details: a stable type, what is wrong, where, and what to do."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from eventlog import EventLogError
from eventlog.errors import CommandReused, OutcomeUnknown
from shared.field_error import FieldError

_MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = "1"

_logger = logging.getLogger(__name__)


class Problem(Exception):
    """Raise it anywhere in a request to answer it.

    `kind` names the type: `not-found` becomes `/problems/not-found`, which never changes its meaning.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(msgspec.json.encode(body), self.status, self.headers, mimetype=_MEDIA_TYPE)


def bad_request(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(400, "bad-request", "The request breaks a rule", detail, errors=errors)


def bad_field(pointer: str, detail: str) -> Problem:
    return bad_request(f"{pointer}: {detail}", [FieldError(detail, pointer=pointer)])


def bad_parameter(parameter: str, detail: str) -> Problem:
    return bad_request(f"{parameter}: {detail}", [FieldError(detail, parameter=parameter)])


def bad_header(header: str, detail: str) -> Problem:
    return bad_request(f"{header}: {detail}", [FieldError(detail, header=header)])


def not_found(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(404, "not-found", "Not found", detail, errors=errors)


def forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", "Not allowed", detail)


def conflict(detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(409, "conflict", "The present state forbids it", detail, errors=errors)


def precondition_failed(detail: str) -> Problem:
    return Problem(412, "precondition-failed", "If-Match names another version", detail)


def body_too_large(limit_bytes: int) -> Problem:
    detail = f"A body may have {limit_bytes} bytes: send less."
    return Problem(413, "body-too-large", "The body is too large", detail)


def unauthorized(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": 'Bearer realm="revenue-stream"'}
    return Problem(401, "unauthorized", "Who are you?", detail, headers=challenge)


def unavailable(kind: str, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """503: nothing was done, or nothing is known; the client tries again."""
    return Problem(
        503, kind, "Try again later", detail, headers={"Retry-After": _RETRY_AFTER_S, **(headers or {})}
    )


def register_error_handlers(app: Flask) -> None:
    """Every error of the app leaves as a problem, and none says more than the client should know."""

    @app.errorhandler(Problem)
    def _problem(problem: Problem) -> Response:
        return problem.response()

    @app.errorhandler(CommandReused)
    def _reused(_: CommandReused) -> Response:
        return Problem(
            422,
            "idempotency-key-reused",
            "The Idempotency-Key was used for something else",
            "This Idempotency-Key came with another request before: send the same request, or use a new key.",
        ).response()

    @app.errorhandler(OutcomeUnknown)
    def _outcome_unknown(problem: OutcomeUnknown) -> Response:
        _logger.warning("outcome unknown: %s", problem)
        return unavailable(
            "outcome-unknown",
            "The log did not confirm: it may have been written or not. "
            "Send the same request again with the Idempotency-Key of this answer; it cannot be done twice.",
        ).response()

    @app.errorhandler(EventLogError)
    @app.errorhandler(sqlite3.Error)
    def _nothing_done(problem: EventLogError | sqlite3.Error) -> Response:
        _logger.warning("not done: %s: %s", type(problem).__name__, problem)
        if request.method in {"GET", "HEAD"}:
            return unavailable(
                "not-readable", "The answer cannot be read just now; /health/ready says why."
            ).response()
        return unavailable(
            "not-written",
            "Nothing was written. Send the same request again; if it lasts, /health/ready says what is wrong.",
        ).response()

    @app.errorhandler(RequestEntityTooLarge)
    def _too_large(_: RequestEntityTooLarge) -> Response:
        return body_too_large(
            (request.max_content_length or 1) - 1
        ).response()  # 1: as make_app and load_batch add

    @app.errorhandler(HTTPException)
    def _http(problem: HTTPException) -> Response:
        status = problem.code or 500
        kind = (problem.name or "error").lower().replace(" ", "-")
        answer = Problem(status, kind, problem.name, problem.description or problem.name).response()
        for name, value in problem.get_headers():
            if name.lower() == "allow":
                answer.headers[name] = value
        return answer

    @app.errorhandler(Exception)
    def _unexpected(problem: Exception) -> Response:
        _logger.error("unexpected error", exc_info=problem)
        return Problem(
            500, "internal-error", "Our mistake", "Something went wrong on our side; the log has the details."
        ).response()
