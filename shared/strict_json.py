"""JSON read strictly: what a lenient parser would let through never reaches a command. Knows nothing of HTTP."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeVar, cast

from marshmallow import Schema, ValidationError, fields
from msgspec import Meta

from shared.field_error import FieldError

LARGEST_BODY_BYTES: Final = 64 * 1024  # of one object
LARGEST_BATCH_BYTES: Final = 256 * 1024
_DEEPEST_NESTING = 20  # no body of ours needs more than one
_LONGEST_NUMBER = 40  # digits; longer ones cost time to parse and fit nowhere

_CANONICAL_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
# Control characters, line separators, and (Unicode TR 9) embeddings, overrides and isolates: they make a name look
# like another. In the syntax that regular expressions of Python, of JSON Schema and of Rust have in common.
_NOT_TEXT: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
_LONE_SURROGATES: Final = r"\ud800-\udfff"
# Spaces and format characters, the categories Zs and Cf of Unicode 14.
_INVISIBLE: Final = (
    r" \u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u202f\u205f-\u2064"
    r"\u206a-\u206f\u3000\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_REFUSED_CHARACTER = re.compile(f"[{_NOT_TEXT}{_LONE_SURROGATES}]")
_VISIBLE_CHARACTER = re.compile(f"[^{_INVISIBLE}]")
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = re.compile(r"[^][{}]+")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


ValueT = TypeVar("ValueT")


class BrokenFields(Exception):
    """An object breaks rules of its schema: which, and where."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(describe_errors(errors))
        self.errors = errors


def check_object(schema: Schema, value: Any, at: str = "#") -> dict[str, Any]:
    """What `parse_json` gave, checked by the schema; raises BrokenFields. `at` is the pointer to the object."""
    if isinstance(value, RepeatsKey):
        raise BrokenFields([FieldError("is given twice", _pointer(value, at))])
    if not isinstance(value, dict):
        raise BrokenFields([FieldError("must be a JSON object", at)])
    if value.keys() == schema.fields.keys():
        # What is right needs only its fields looked at: a quarter of the time of `load`, which words what is wrong.
        with suppress(ValidationError):
            return {
                name: cast("CheckedField[Any]", field).check(value[name])
                for name, field in schema.fields.items()
            }
    try:
        loaded: dict[str, Any] = schema.load(value)
    except ValidationError as problem:
        raise BrokenFields(_field_errors(problem.messages_dict, at)) from None
    return loaded


def describe_errors(errors: Sequence[FieldError]) -> str:
    return "; ".join(f"{error.pointer}: {error.detail}" for error in errors)


class InvalidJson(Exception):
    """Not JSON, or none that we read; the message goes behind what it is said of: `is not UTF-8`."""


def parse_json(raw: bytes) -> Any:
    """For `check_object`: what no field takes, and an object with a key twice, are strings of classes of our own."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("is not UTF-8") from None
    if _nests_too_deep(text):
        raise InvalidJson(f"nests deeper than {_DEEPEST_NESTING} levels")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as problem:
        line = f"line {problem.lineno}, " if "\n" in text else ""
        raise InvalidJson(f"is not JSON: {problem.msg} at {line}column {problem.colno}") from None
    except (ValueError, RecursionError):
        raise InvalidJson("is not JSON") from None


class _NoNumberOfOurs(str):
    """A fraction, NaN or an endless integer: no field takes one, and none is rounded."""

    __slots__ = ()


class RepeatsKey(str):
    """An object with this key twice; readers differ in which of its values they take."""

    __slots__ = ()


def _parse_int(digits: str) -> int | _NoNumberOfOurs:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _NoNumberOfOurs(digits)


def _parse_float(text: str) -> int | _NoNumberOfOurs:
    """What JSON Schema calls an integer is one, however it is written: 100.0 and 1e2 are 100, exactly."""
    if len(text) <= _LONGEST_NUMBER:
        with suppress(InvalidOperation):  # an exponent beyond all bounds
            number = Decimal(text)
            if abs(number.adjusted()) < _LONGEST_NUMBER and number == number.to_integral_value():
                return int(number)
    return _NoNumberOfOurs(text)


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RepeatsKey:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    times = Counter(key for key, _ in pairs)
    return next(RepeatsKey(key) for key in times if times[key] > 1)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object_without_repeats,
    parse_constant=_NoNumberOfOurs,
    parse_int=_parse_int,
    parse_float=_parse_float,
)


def _nests_too_deep(text: str) -> bool:
    """Enough to stop before the parser's own recursion."""
    if text.count("[") + text.count("{") <= _DEEPEST_NESTING:  # as in nearly every body
        return False
    depth = 0
    for bracket in _NO_BRACKETS.sub("", _STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST_NESTING:
            return True
    return False


def _field_errors(messages: Mapping[str, Any], at: str) -> list[FieldError]:
    errors = []
    for field, problems in messages.items():
        texts = problems if isinstance(problems, list) else [str(problems)]
        errors += [FieldError(str(text), _pointer(str(field), at)) for text in texts]
    return errors


def _pointer(field: str, at: str) -> str:
    """A JSON pointer (RFC 6901) to a field of the object at another, shortened if the client made it long."""
    printable = field.encode("utf-8", "replace").decode()[:100]
    return f"{at}/" + printable.replace("~", "~0").replace("/", "~1")


class CheckedField(fields.Field[ValueT]):
    """A field whose one rule is `check`; validators of marshmallow's are not asked. It needs no more than its value."""

    # What msgspec decodes to a value that `check` accepts, and from nothing else; such a value has no colon in it.
    json_type: Any = None

    def check(self, value: Any) -> ValueT:
        """The value as a command takes it; ValidationError for any other."""
        raise NotImplementedError

    def json_schema(self) -> dict[str, Any]:
        """What the API's description says of it: no more and no less than `check` accepts."""
        raise NotImplementedError

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> ValueT:
        return self.check(value)


class TextField(CheckedField[str]):
    """A string of `shortest` to `longest` characters, one of them visible if there must be any.

    None may be a control character, a line separator, a lone surrogate, or turn the direction of what is shown.
    """

    def __init__(self, *, shortest: int, longest: int, **rest: Any) -> None:
        super().__init__(**rest)
        self._shortest = shortest
        self._longest = longest

    def check(self, value: Any) -> str:
        if type(value) is not str:
            raise ValidationError("must be a string")
        if not self._shortest <= len(value) <= self._longest:
            raise ValidationError(
                f"must have {self._shortest} to {self._longest} characters, has {len(value)}"
            )
        refused = _REFUSED_CHARACTER.search(value)
        if refused:
            raise ValidationError(f"must not contain the character U+{ord(refused[0]):04X}")
        if self._shortest and not _VISIBLE_CHARACTER.search(value):
            raise ValidationError("must not be blank")
        return value

    def json_schema(self) -> dict[str, Any]:
        visible = f"[^{_INVISIBLE}{_NOT_TEXT}][^{_NOT_TEXT}]*" if self._shortest else ""
        pattern = f"^[^{_NOT_TEXT}]*{visible}$"
        return {"type": "string", "minLength": self._shortest, "maxLength": self._longest, "pattern": pattern}


class IdField(CheckedField[str]):
    """A canonical decimal id in a string: `"7"`, never `7`, `"007"` or `"+7"`."""

    json_type = Annotated[str, Meta(pattern=rf"^{_CANONICAL_ID.pattern}\Z")]

    def check(self, value: Any) -> str:
        if type(value) is not str or not is_id(value):
            raise ValidationError(
                'must be an id: a string of decimal digits such as "7", without leading zeros'
            )
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_CANONICAL_ID.pattern}$"}


class WholeNumberField(CheckedField[int]):
    """An integer within bounds; no boolean, no 1.5, no "1"."""

    def __init__(self, *, smallest: int, largest: int, **rest: Any) -> None:
        super().__init__(**rest)
        self._smallest = smallest
        self._largest = largest
        self.json_type = Annotated[int, Meta(ge=smallest, le=largest)]

    def check(self, value: Any) -> int:
        if type(value) is not int or not self._smallest <= value <= self._largest:
            raise ValidationError(f"must be a whole number from {self._smallest} to {self._largest}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self._smallest, "maximum": self._largest}


class DateField(CheckedField[date]):
    """A calendar date `YYYY-MM-DD` that exists."""

    json_type = date

    def check(self, value: Any) -> date:
        if type(value) is str and _ISO_DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        raise ValidationError("must be a date that exists, as YYYY-MM-DD")

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date"}


def is_id(text: str) -> bool:
    """Whether this is a canonical decimal id."""
    return _CANONICAL_ID.fullmatch(text) is not None
