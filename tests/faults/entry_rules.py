"""Which entries are well-formed, written down a second time, from design.md sections 4 and 6 alone.

Must not know how the product decides it: raw stream fields in, facts or a refusal out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, NamedTuple, NoReturn, TypeVar

ParsedT = TypeVar("ParsedT")

LARGEST = 2**63 - 1
SMALLEST = -(2**63)
LARGEST_ENTRY_BYTES = 1024 * 1024

Fields = list[bytes]
"""Names and values in turn, as the stream holds them."""


class NotAllowed(Exception):
    """Not well-formed, or not allowed here; the message says why."""


class Found(NamedTuple):
    """What an entry says. `facts` is None for a type, or a version, that nobody knows."""

    event_type: str
    facts: dict[str, Any] | None = None
    version: int = 1
    command: str | None = None


def read_entry(fields: Fields, sequence: int) -> Found:
    """What is said by the entry of that ordinal; NotAllowed if it is not well-formed."""
    event_type, payload, raw_metadata = _split(fields, sequence)
    if event_type not in FACTS:
        return Found(event_type)
    metadata = {} if raw_metadata is None else _checked_metadata(_object(raw_metadata))
    if (version := metadata.get("schema_version", 1)) > 1:
        return Found(event_type, None, version)
    body, kinds = _object(payload), FACTS[event_type]
    if body.keys() != kinds.keys():
        refuse("not exactly the documented keys")
    facts = {name: kinds[name](value) for name, value in body.items()}
    return Found(event_type, facts, 1, metadata.get("command"))


def refuse(reason: str) -> NoReturn:
    raise NotAllowed(reason)


_OWN_FORM = [b"EventTypeName", b"Payload", b"Sequence", b"Metadata"]
_FOREIGN_FORMS = (_OWN_FORM[:2], _OWN_FORM[1::-1])
_TYPE_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,199}")


def _split(fields: Fields, sequence: int) -> tuple[str, bytes, bytes | None]:
    """Type, payload, and the metadata of what passes for our own: a forgery without a fault is read as ours."""
    if sum(map(len, fields)) > LARGEST_ENTRY_BYTES:
        refuse("too large to be parsed")
    names, values = fields[::2], fields[1::2]
    if names != _OWN_FORM and names not in _FOREIGN_FORMS:
        refuse("other fields than an entry has")
    found = dict(zip(names, values, strict=True))
    event_type = found[b"EventTypeName"]
    if _TYPE_NAME.fullmatch(event_type) is None:
        refuse("no type name")
    is_own = found.get(b"Sequence") == str(sequence).encode()
    return event_type.decode(), found[b"Payload"], found[b"Metadata"] if is_own else None


def _object(raw: bytes) -> dict[str, Any]:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else refuse("a key twice: which of its values holds?")

    try:
        body = json.loads(raw.decode(), object_pairs_hook=without_repeats, parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        raise NotAllowed(f"no JSON: {problem}") from problem
    return body if isinstance(body, dict) else refuse("no JSON object")


def _checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Further keys may be there."""
    for name, longest in (("event_id", 64), ("correlation_id", 128)):
        if not 1 <= len(_text(metadata.get(name))) <= longest:
            refuse(f"{name} of no fit length")
    _instant(metadata.get("occurred_at"))
    for name in ("causation_id", "actor", "command", "traceparent", "signature"):
        if metadata.get(name) is not None:
            _text(metadata[name])
    version = metadata.get("schema_version", 1)
    return metadata if type(version) is int and 1 <= version < 2**31 else refuse("no schema version")


_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339, section 5.6 with its note


def _text(value: object) -> str:
    if type(value) is not str or any("\ud800" <= character <= "\udfff" for character in value):
        refuse("no text")
    return value


def _text_up_to_1000(value: object) -> str:
    return _text(value) if len(_text(value)) <= 1000 else refuse("too long")


def _name(value: object) -> str:
    return _text_up_to_1000(value) or refuse("no name")


def _id(value: object) -> int:
    return int(_text(value)) if _ID.fullmatch(_text(value)) else refuse("no id")


def _cents(value: object) -> int:
    return value if type(value) is int and SMALLEST <= value <= LARGEST else refuse("no 64-bit integer")


def _instant(value: object) -> datetime:
    found = _INSTANT.fullmatch(_text(value))
    if found is None:
        refuse("no instant")
    return _parsed(datetime.fromisoformat, f"{found[1]}T{found[2]}{found[3].upper()}")


def _date(value: object) -> date:
    return _parsed(date.fromisoformat, _text(value)) if _DATE.fullmatch(_text(value)) else refuse("no date")


def _parsed(parse: Callable[[str], ParsedT], text: str) -> ParsedT:
    try:
        return parse(text)
    except ValueError as problem:
        raise NotAllowed(str(problem)) from problem


Kinds = dict[str, Callable[[object], object]]
_PRICE: Kinds = {"id": _id, "customer_id": _id, "purchase_price_cents": _cents}
FACTS: dict[str, Kinds] = {
    "AccountCreated": {
        "id": _id, "name": _name, "description": _text_up_to_1000, "owned_by": _name, "created_date": _instant,
    },
    "AccountDeleted": {"id": _id, "deleted_date": _instant},
    "CustomerCreated": {"id": _id, "account_id": _id, "name": _name, "created_date": _instant},
    "CustomerDeleted": {"id": _id, "account_id": _id, "deleted_date": _instant},
    "InvoiceCreated": {**_PRICE, "created_date": _instant, "purchase_date": _date},
    "InvoiceDeleted": {**_PRICE, "deleted_date": _instant},
}  # fmt: skip
"""What each event's payload holds."""
