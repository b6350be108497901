"""Whether what a service answered is what its description says of that path, and what it says of every path."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Final

from flask import Flask
from jsonschema_rs import Draft202012Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from shared.operations import Header, Operation, operation_of
from shared.problem_kinds import KINDS

# What any answer may have: of its body and its request, and what browsers, caches and servers tell each other.
_NOT_DESCRIBED: Final = {
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "server",
    "vary",
    "x-content-type-options",
    "x-request-id",  # held against every answer below
}
# On every answer.
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "revenue-stream",
}


def require_described(app: Flask, answered: TestResponse) -> None:
    """An answer of a path of ours has a described status, and the media type and headers described with it."""
    method, path = answered.request.method, answered.request.path
    _require_conventions(method, path, answered)
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method)
    except HTTPException:
        return  # no such path, or not with this method: nothing describes that
    operation = operation_of(app.view_functions[endpoint])
    if operation is None or method not in {"GET", "POST", "DELETE"}:
        return
    asked = f"{method} {path}"
    if answered.mimetype == "application/problem+json" and answered.get_data():
        headers: Iterable[Header] = _require_problem(operation, asked, answered)
    else:
        described = {
            (answer.status, answer.media_type if answer.shape else ""): answer for answer in operation.answers
        }
        found = (answered.status_code, answered.mimetype if answered.get_data() else "")
        assert found in described, f"{asked} answered {found}, which is not described"
        headers = described[found].headers
    _require_headers(headers, asked, answered)


def _require_problem(operation: Operation, asked: str, answered: TestResponse) -> list[Header]:
    name = answered.get_json(force=True)["type"].removeprefix("/problems/")
    assert KINDS[name].status == answered.status_code
    assert KINDS[name] in operation.problems, f"{asked} answered {name}, which is not described"
    return operation.headers_of(KINDS[name])


def _require_headers(described: Iterable[Header], asked: str, answered: TestResponse) -> None:
    by_name = {header.name.lower(): header for header in described}
    for name, value in answered.headers:
        if name.lower() in _NOT_DESCRIBED or name.startswith("Access-Control-"):
            continue
        found = f"{asked} answered {answered.status_code} with {name}: {value}"
        assert name.lower() in by_name, f"{found}, which is not described"
        schema = json.dumps(by_name[name.lower()].schema)
        assert _validator(schema).is_valid(value), f"{found}, which is described as {schema}"
    missing = [
        header.name for header in by_name.values() if header.always and header.name not in answered.headers
    ]
    assert not missing, f"{asked} answered {answered.status_code} without {missing}"


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def _require_conventions(method: str, path: str, answered: TestResponse) -> None:
    status, headers, asked = answered.status_code, answered.headers, f"{method} {path}"
    assert headers.getlist("X-Request-Id"), asked
    for name, value in _SAFE.items():
        assert headers.getlist(name) == [value], f"{asked}: {name}"
    (policy,) = headers.getlist("Content-Security-Policy")
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; ")), f"{asked}: {policy}"
    assert headers["Cache-Control"], asked
    if status in {204, 304}:
        assert not answered.get_data(), asked
        assert "Content-Type" not in headers, asked
    if status == 201:
        assert ("Location" in headers) == isinstance(answered.get_json(), dict), f"{asked}: where is it?"
    if status == 405:
        assert headers["Allow"], asked
    if status == 503:
        assert headers["Retry-After"], asked
