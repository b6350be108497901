"""Entries as they are shown to people and programs, whatever wrote them."""

from __future__ import annotations

import re

import msgspec

from eventlog.codec import Entry, read_fields

_SEQUENCE = re.compile(rb"[0-9]{1,18}")


class ShownEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """`sequence` is what the entry says; a foreign one says none, and has no metadata.

    `unproven` is why its signature does not prove it, empty if it does; None where nobody looked.
    """

    position: str
    sequence: int | None
    type: str
    payload: msgspec.Raw
    metadata: msgspec.Raw | None
    unproven: str | None = None


class ShownRaw(msgspec.Struct, frozen=True, omit_defaults=True):
    """What cannot be read as an event, and why; `fields` are names and values in turn."""

    position: str
    fields: list[str]
    reason: str
    unproven: str | None = None


def read_entry(entry: Entry, unproven: str | None = None) -> ShownEvent | ShownRaw:
    """An entry as it is shown; nothing it holds makes this raise."""
    try:
        return msgspec.structs.replace(_read_event(entry), unproven=unproven)
    except (ValueError, RecursionError) as problem:  # msgspec's errors are ValueErrors
        fields = [field.decode("utf-8", "backslashreplace") for field in entry.fields]
        return ShownRaw(str(entry.position), fields, str(problem), unproven)


def _read_event(entry: Entry) -> ShownEvent:
    found = read_fields(entry)
    if found is None:
        raise ValueError("its fields are neither ours nor those of a foreign entry")
    event_type, payload = found[0].decode(), _one_line(found[1])
    if not isinstance(msgspec.json.decode(payload), dict):
        raise ValueError("its Payload is no JSON object")  # noqa: TRY004  # what is wrong is the entry's text
    claimed = entry.claimed_sequence
    if claimed is None:
        return ShownEvent(str(entry.position), None, event_type, payload, None)
    if not _SEQUENCE.fullmatch(claimed):
        raise ValueError("its Sequence is no number")
    return ShownEvent(str(entry.position), int(claimed), event_type, payload, _one_line(entry.fields[7]))


def _one_line(text: bytes) -> msgspec.Raw:
    """The same JSON without white space between its parts; every digit stays."""
    msgspec.json.decode(text)
    return msgspec.Raw(msgspec.json.format(text, indent=-1))
