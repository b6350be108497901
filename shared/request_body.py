"""The JSON body of a request, checked by a schema, or the problem that the client is told."""

from __future__ import annotations

from typing import Any, Final

from flask import request
from marshmallow import Schema

from shared.field_error import FieldError
from shared.problems import bad_request
from shared.quick_json import QuickReader
from shared.strict_json import (
    LARGEST_BATCH_BYTES,
    BrokenFields,
    InvalidJson,
    RepeatsKey,
    check_object,
    describe_errors,
    parse_json,
)

MOST_ERRORS: Final = 20  # named in one answer


def load_body(schema: Schema) -> dict[str, Any]:
    """The request's body, checked by the schema; 400 naming each field and rule otherwise.

    The content type is not looked at: clients of the former services post JSON as curl's default.
    """
    body = _parse_body(request.get_data())
    if not isinstance(body, (dict, RepeatsKey)):
        raise bad_request("The body must be a JSON object.")
    try:
        return check_object(schema, body)
    except BrokenFields as problem:
        raise bad_request(describe_errors(problem.errors), problem.errors) from None


def load_quickly(reader: QuickReader) -> dict[str, Any]:
    """As `load_body` by the reader's schema; a body that keeps every rule takes a tenth of the time."""
    quickly = reader.read(request.get_data())
    return load_body(reader.schema) if quickly is None else quickly


def load_batch(reader: QuickReader, most: int) -> list[dict[str, Any]]:
    """The request's body, an array of 1 to `most` objects as the reader's schema has them; 400 names what is wrong.

    It may have `LARGEST_BATCH_BYTES`; named are the first `MOST_ERRORS`.
    """
    request.max_content_length = LARGEST_BATCH_BYTES
    raw = request.get_data()
    quickly = reader.read_all(raw)
    if quickly is not None and 1 <= len(quickly) <= most:
        return quickly
    body = _parse_body(raw)
    if not isinstance(body, list) or not 1 <= len(body) <= most:
        found = f"; this one has {len(body):,}" if isinstance(body, list) else ""
        raise bad_request(f"The body must be a JSON array of 1 to {most:,} objects{found}.")
    loaded: list[dict[str, Any]] = []
    errors: list[FieldError] = []
    for number, item in enumerate(body):
        try:
            loaded.append(check_object(reader.schema, item, f"#/{number}"))
        except BrokenFields as problem:
            errors += problem.errors
    if errors:
        named = errors[:MOST_ERRORS]
        more = f"; and {len(errors) - len(named):,} more" if len(errors) > len(named) else ""
        raise bad_request(describe_errors(named) + more, named)
    return loaded


def _parse_body(raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except InvalidJson as problem:
        raise bad_request(f"The body {problem}.") from None
