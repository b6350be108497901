"""A JSON body read strictly: what a lenient parser would let through never reaches a command."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from flask import request
from marshmallow import Schema, ValidationError, fields

from shared.problems import FieldError, bad_field, bad_request, body_too_large

LARGEST_BODY_BYTES: Final = 64 * 1024
_DEEPEST_NESTING = 20  # no body of ours needs more than one
_LONGEST_NUMBER = 40  # digits; longer ones cost time to parse and fit nowhere

_CANONICAL_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}
_INVISIBLE = {"Cf", "Zs"}
# Unicode TR 9: embeddings, overrides and isolates make a name look like another.
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def load_body(schema: Schema) -> dict[str, Any]:
    """The request's body, checked by the schema; 400 naming each field and rule otherwise.

    The content type is not looked at: clients of the former services post JSON as curl's default.
    """
    raw = request.get_data(cache=True)
    if len(raw) > LARGEST_BODY_BYTES:
        raise body_too_large(LARGEST_BODY_BYTES)
    body = _parse(raw)
    if not isinstance(body, dict):
        raise bad_request("The body must be a JSON object.")
    try:
        loaded: dict[str, Any] = schema.load(body)
    except ValidationError as problem:
        errors = _field_errors(problem.messages_dict)
        raise bad_request("; ".join(f"{error.pointer}: {error.detail}" for error in errors), errors) from None
    return loaded


def _parse(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("The body is not UTF-8.") from None
    if _nesting(text) > _DEEPEST_NESTING:
        raise bad_request(f"The body nests deeper than {_DEEPEST_NESTING} levels.")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_NoNumberOfOurs,
            parse_int=_parse_int,
            parse_float=_NoNumberOfOurs,
        )
    except json.JSONDecodeError as problem:
        raise bad_request(
            f"The body is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}."
        ) from None
    except (ValueError, RecursionError):
        raise bad_request("The body is not JSON.") from None


class _NoNumberOfOurs(str):
    """A fraction, an exponent, NaN or an endless integer: no field takes one, and none is rounded."""

    __slots__ = ()


def _parse_int(digits: str) -> int | _NoNumberOfOurs:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _NoNumberOfOurs(digits)


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise bad_field(_pointer(key), "is given twice")
        found[key] = value
    return found


def _nesting(text: str) -> int:
    """How deep brackets nest outside strings; enough to stop before the parser's own recursion."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _field_errors(messages: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    for field, problems in messages.items():
        texts = problems if isinstance(problems, list) else [str(problems)]
        errors += [FieldError(str(text), _pointer(str(field))) for text in texts]
    return errors


def _pointer(field: str) -> str:
    """A JSON pointer (RFC 6901) to a field of the body, shortened if the client made it long."""
    printable = field.encode("utf-8", "replace").decode()[:100]
    return "#/" + printable.replace("~", "~0").replace("/", "~1")


class TextField(fields.Field[str]):
    """A string of `shortest` to `longest` characters, one of them visible if there must be any.

    None may be a control character, a line separator, a lone surrogate, or turn the direction of what is shown.
    """

    def __init__(self, *, shortest: int, longest: int, **rest: Any) -> None:
        super().__init__(**rest)
        self._shortest = shortest
        self._longest = longest

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> str:
        if type(value) is not str:
            raise ValidationError("must be a string")
        if not self._shortest <= len(value) <= self._longest:
            raise ValidationError(
                f"must have {self._shortest} to {self._longest} characters, has {len(value)}"
            )
        for character in value:
            if unicodedata.category(character) in _NOT_TEXT or character in _TURNING:
                raise ValidationError(f"must not contain the character U+{ord(character):04X}")
        if self._shortest and all(unicodedata.category(character) in _INVISIBLE for character in value):
            raise ValidationError("must not be blank")
        return value


class IdField(fields.Field[str]):
    """A canonical decimal id in a string: `"7"`, never `7`, `"007"` or `"+7"`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> str:
        if type(value) is not str or not is_id(value):
            raise ValidationError(
                'must be an id: a string of decimal digits such as "7", without leading zeros'
            )
        return value


class WholeNumberField(fields.Field[int]):
    """An integer within bounds; no boolean, no 1.0, no "1"."""

    def __init__(self, *, smallest: int, largest: int, **rest: Any) -> None:
        super().__init__(**rest)
        self._smallest = smallest
        self._largest = largest

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> int:
        if type(value) is not int or not self._smallest <= value <= self._largest:
            raise ValidationError(f"must be a whole number from {self._smallest} to {self._largest}")
        return value


class DateField(fields.Field[date]):
    """A calendar date `YYYY-MM-DD` that exists."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> date:
        if type(value) is str and _ISO_DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        raise ValidationError("must be a date that exists, as YYYY-MM-DD")


def is_id(text: str) -> bool:
    """Whether this is a canonical decimal id."""
    return _CANONICAL_ID.fullmatch(text) is not None
