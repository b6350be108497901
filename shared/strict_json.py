"""JSON read strictly: what a lenient parser would let through never reaches a command. Knows nothing of HTTP."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Final, TypeVar, cast

from marshmallow import Schema, ValidationError, fields
from msgspec import Meta

from shared.field_error import FieldError

LARGEST_BODY_BYTES: Final = 64 * 1024  # of one object
_DEEPEST_NESTING = 20  # no body of ours needs more than one
_LONGEST_NUMBER = 40  # digits; longer ones cost time to parse and fit nowhere

_CANONICAL_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}
_INVISIBLE = {"Cf", "Zs"}
# Unicode TR 9: embeddings, overrides and isolates make a name look like another.
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
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
    """A fraction, an exponent, NaN or an endless integer: no field takes one, and none is rounded."""

    __slots__ = ()


class RepeatsKey(str):
    """An object with this key twice; readers differ in which of its values they take."""

    __slots__ = ()


def _parse_int(digits: str) -> int | _NoNumberOfOurs:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _NoNumberOfOurs(digits)


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
    parse_float=_NoNumberOfOurs,
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
        for character in value:
            if unicodedata.category(character) in _NOT_TEXT or character in _TURNING:
                raise ValidationError(f"must not contain the character U+{ord(character):04X}")
        if self._shortest and all(unicodedata.category(character) in _INVISIBLE for character in value):
            raise ValidationError("must not be blank")
        return value


class IdField(CheckedField[str]):
    """A canonical decimal id in a string: `"7"`, never `7`, `"007"` or `"+7"`."""

    json_type = Annotated[str, Meta(pattern=rf"^{_CANONICAL_ID.pattern}\Z")]

    def check(self, value: Any) -> str:
        if type(value) is not str or not is_id(value):
            raise ValidationError(
                'must be an id: a string of decimal digits such as "7", without leading zeros'
            )
        return value


class WholeNumberField(CheckedField[int]):
    """An integer within bounds; no boolean, no 1.0, no "1"."""

    def __init__(self, *, smallest: int, largest: int, **rest: Any) -> None:
        super().__init__(**rest)
        self._smallest = smallest
        self._largest = largest
        self.json_type = Annotated[int, Meta(ge=smallest, le=largest)]

    def check(self, value: Any) -> int:
        if type(value) is not int or not self._smallest <= value <= self._largest:
            raise ValidationError(f"must be a whole number from {self._smallest} to {self._largest}")
        return value


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


def is_id(text: str) -> bool:
    """Whether this is a canonical decimal id."""
    return _CANONICAL_ID.fullmatch(text) is not None
