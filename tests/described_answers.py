"""Whether what a service answered is what its description says of that path, and what it says of every path."""

from __future__ import annotations

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from shared.operations import Operation, operation_of
from shared.problem_kinds import KINDS


def require_described(app: Flask, answered: TestResponse) -> None:
    """An answer of a path of ours has a status that is described, and the media type that is described with it."""
    method, path = answered.request.method, answered.request.path
    _require_conventions(method, path, answered)
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method)
    except HTTPException:
        return  # no such path, or not with this method: nothing describes that
    operation = operation_of(app.view_functions[endpoint])
    if operation is None or method not in {"GET", "POST", "DELETE"}:
        return
    if answered.mimetype == "application/problem+json" and answered.get_data():
        _require_problem(operation, method, path, answered)
    else:
        described = {
            (answer.status, answer.media_type if answer.shape else "") for answer in operation.answers
        }
        found = (answered.status_code, answered.mimetype if answered.get_data() else "")
        assert found in described, f"{method} {path} answered {found}, which is not described"


def _require_problem(operation: Operation, method: str, path: str, answered: TestResponse) -> None:
    name = answered.get_json(force=True)["type"].removeprefix("/problems/")
    assert KINDS[name].status == answered.status_code
    assert KINDS[name] in operation.problems, f"{method} {path} answered {name}, which is not described"


def _require_conventions(method: str, path: str, answered: TestResponse) -> None:
    status, headers, asked = answered.status_code, answered.headers, f"{method} {path}"
    assert headers.getlist("X-Request-Id"), asked
    if status in {204, 304}:
        assert not answered.get_data(), asked
        assert "Content-Type" not in headers, asked
    if status == 201:
        assert ("Location" in headers) == isinstance(answered.get_json(), dict), f"{asked}: where is it?"
    if status == 405:
        assert headers["Allow"], asked
    if status == 503:
        assert headers["Retry-After"], asked
