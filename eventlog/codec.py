"""Between events and stream fields, in both directions; knows the wire format and nothing of Redis."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec

from eventlog.events import Event, Metadata, RecordedEvent
from eventlog.position import Position
from eventlog.upcasting import Upcasters

ValueT = TypeVar("ValueT")

EVENT_TYPE = b"EventTypeName"
PAYLOAD = b"Payload"
SEQUENCE = b"Sequence"
METADATA = b"Metadata"

_OWN_NAMES = [EVENT_TYPE, PAYLOAD, SEQUENCE, METADATA]
_OWN_LENGTH = 8  # four fields, each a name and a value
_FOREIGN_LENGTH = 4
LARGEST_ENTRY_BYTES = 1024 * 1024  # far above anything published; what is larger is not parsed
_FIELD_NAMES_AND_SEQUENCE_BYTES = 64
_SIGNATURE_BYTES = 96  # with its key, its key's id and the quotes
_MOST_AT_ONCE_BYTES = LARGEST_ENTRY_BYTES - 1000  # so that none of them is larger than an entry may be
_MOST_ENCODED_BYTES = LARGEST_ENTRY_BYTES - _FIELD_NAMES_AND_SEQUENCE_BYTES - _SIGNATURE_BYTES
_UPCASTER_ERRORS = (LookupError, AttributeError, TypeError, ValueError, ArithmeticError)
_LAST_DATETIME_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime can hold


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A stream entry as Redis stores it: fields are names and values in turn, repeats included."""

    id: bytes
    fields: list[bytes]

    @property
    def position(self) -> Position:
        return Position._make(map(int, self.id.split(b"-")))  # as Redis gave it: nothing to check

    @property
    def claimed_sequence(self) -> bytes | None:
        """The Sequence field of an entry in our own four-field form; None for any other form."""
        fields = self.fields
        return fields[5] if len(fields) == _OWN_LENGTH and fields[::2] == _OWN_NAMES else None

    def renumbered(self, sequence: int) -> Entry:
        """The same with this Sequence; in another form than our own it has none."""
        if self.claimed_sequence is None:
            return self
        return Entry(self.id, [*self.fields[:5], b"%d" % sequence, *self.fields[6:]])

    def digest(self) -> str:
        """64 hex characters over every field in order; the same content always gives the same."""
        content = hashlib.sha256()
        for field in self.fields:
            content.update(b"%d:" % len(field))
            content.update(field)
        return content.hexdigest()


def are_numbered_from(first_sequence: int, entries: Sequence[Entry]) -> bool:
    """Whether all have our own form, and the first and each one after it claims to be the next."""
    fields = [entry.fields for entry in entries]
    if not fields or set(map(len, fields)) != {_OWN_LENGTH}:
        return False
    columns = list(zip(*fields, strict=True))
    claims = [b"%d" % sequence for sequence in range(first_sequence, first_sequence + len(fields))]
    return columns[5] == tuple(claims) and all(
        column.count(name) == len(fields) for column, name in zip(columns[::2], _OWN_NAMES, strict=True)
    )


class Malformed(NamedTuple):
    """An entry that cannot be read as an event; `event_type` is empty when even that is missing."""

    event_type: str
    reason: str


class UnknownType(NamedTuple):
    """A well-formed entry whose type this codec was not given."""

    event_type: str


class Newer(NamedTuple):
    """A known type in a schema version above the one this code was written for."""

    event_type: str
    version: int
    known: int


Decoded = RecordedEvent[Event] | Malformed | UnknownType | Newer


class EncodedEvent(NamedTuple):
    """The three fields the publisher writes; the sequence is given inside Redis."""

    event_type: bytes
    payload: bytes
    metadata: bytes


class EarlierVersion(NamedTuple):
    """A version of an event type that is read, and no longer written."""

    event_type: str
    version: int
    written_as: type[Event]


class _TypeCodec(NamedTuple):
    event_class: type[Event]
    decoder: msgspec.json.Decoder[Event]


class Codec:
    """Encodes and decodes the given event types: `Codec([CustomerCreated, CustomerDeleted])`."""

    def __init__(self, event_types: Iterable[type[Event]], upcasters: Upcasters | None = None) -> None:
        """Raise ValueError for two types of one name, or a version without its upcasters."""
        self._upcasters = upcasters or Upcasters()
        self._types: dict[bytes, _TypeCodec] = {}
        for event_class in event_types:
            name = event_class.__name__
            if name.encode() in self._types:
                raise ValueError(f"two event types are named {name}: rename one")
            self._upcasters.check(name, event_class.schema_version)
            self._types[name.encode()] = _TypeCodec(event_class, msgspec.json.Decoder(event_class))
        self._current_versions = {
            (name, type_codec.event_class.schema_version) for name, type_codec in self._types.items()
        }
        self._earlier_decoders = {
            (earlier.event_type, earlier.version): msgspec.json.Decoder(earlier.written_as)
            for earlier in self.earlier_versions()
        }
        self._metadata_decoder = msgspec.json.Decoder(Metadata)
        self._encoder = msgspec.json.Encoder()

    @property
    def event_types(self) -> frozenset[str]:
        return frozenset(name.decode() for name in self._types)

    @property
    def event_classes(self) -> frozenset[type[Event]]:
        return frozenset(type_codec.event_class for type_codec in self._types.values())

    def earlier_versions(self) -> Iterator[EarlierVersion]:
        """Of each event type those that are lifted to the current one."""
        for event_class in self.event_classes:
            name = event_class.__name__
            for version in range(1, event_class.schema_version):
                yield EarlierVersion(name, version, self._upcasters.written_as(name, version))

    def encode(self, event: Event, metadata: Metadata) -> EncodedEvent:
        """Raise for what could not be read back.

        TypeError for a type this codec was not given, ValueError for an event that is too large, and
        msgspec.ValidationError for metadata that breaks its own rules.
        """
        return next(self.encode_together([event], metadata, [metadata.event_id]))

    def encode_together(
        self, events: Iterable[Event], metadata: Metadata, event_ids: Iterable[str]
    ) -> Iterator[EncodedEvent]:
        """Each event as `encode` does it, with this metadata but for the id of its own, in a third of the time.

        The ids must be as valid as that of the metadata.
        """
        encode = self._encoder.encode
        around_id: dict[int, tuple[bytes, bytes]] = {}  # metadata as it is written, for each schema version
        for event, event_id in zip(events, event_ids, strict=True):
            name = event.type_name.encode()
            type_codec = self._types.get(name)
            if type_codec is None or type_codec.event_class is not type(event):
                raise TypeError(f"{event.type_name} is not among this codec's event types: add it there")
            version = event.schema_version
            if version not in around_id:
                around_id[version] = self._around_id(
                    msgspec.structs.replace(metadata, schema_version=version)
                )
            before, behind = around_id[version]
            encoded = EncodedEvent(name, encode(event), before + encode(event_id) + behind)
            if sum(map(len, encoded)) > _MOST_ENCODED_BYTES:
                raise ValueError(
                    f"{event.type_name} does not fit in {LARGEST_ENTRY_BYTES} bytes: make it smaller"
                )
            yield encoded

    def _around_id(self, metadata: Metadata) -> tuple[bytes, bytes]:
        """What is written before the event id, and behind it; ValidationError where it breaks its own rules."""
        encoded = self._encoder.encode(metadata)
        self._metadata_decoder.decode(encoded)
        before, key, rest = encoded.partition(b'"event_id":')
        return before + key, rest[len(self._encoder.encode(metadata.event_id)) :]

    def decode_own(self, entries: Sequence[Entry], first_sequence: int) -> list[RecordedEvent[Event]] | None:
        """A run of entries in our own form, in a third of the time that one by one takes.

        None where one of them needs a closer look: another type or version, or not byte for byte as we write it.
        """
        _, names, _, payloads, _, claims, _, metadatas = zip(
            *[entry.fields for entry in entries], strict=True
        )
        if sum(sum(map(len, column)) for column in (payloads, claims, metadatas)) > _MOST_AT_ONCE_BYTES:
            return None
        metadata = self._read_lines(self._metadata_decoder, metadatas)
        if metadata is None:
            return None
        versions = set(zip(names, map(attrgetter("schema_version"), metadata), strict=True))
        if not versions <= self._current_versions:
            return None
        payloads_of: dict[bytes, list[bytes]] = {name: [] for name, _ in versions}
        for name, payload in zip(names, payloads, strict=True):
            payloads_of[name].append(payload)
        events_of: dict[bytes, Iterator[Event]] = {}
        for name, raw_events in payloads_of.items():
            events = self._read_lines(self._types[name].decoder, raw_events)
            if events is None:
                return None
            events_of[name] = iter(events)
        in_order = [next(events_of[name]) for name in names]
        ids = [entry.id.decode() for entry in entries]
        return list(map(RecordedEvent, in_order, ids, count(first_sequence), metadata))

    def _read_lines(self, decoder: msgspec.json.Decoder[ValueT], raw: Sequence[bytes]) -> list[ValueT] | None:
        """What was written as each of these, if it would be written so again; else None."""
        lines = b"\n".join(raw)
        try:
            values = decoder.decode_lines(lines)
            again = self._encoder.encode_lines(values)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return None
        # As we write it nothing has a line end inside: as many equal lines are the same values one by one.
        return values if len(values) == len(raw) and again == lines + b"\n" else None

    def decode(self, entry: Entry, sequence: int, *, foreign: bool) -> Decoded:
        """Never raises for what the entry holds.

        `foreign` entries are read by type and payload alone: version 1, their position as event id.
        """
        fields = entry.fields
        if sum(map(len, fields)) > LARGEST_ENTRY_BYTES:
            return Malformed("", f"entry is larger than {LARGEST_ENTRY_BYTES} bytes")
        found = read_fields(entry)
        if found is None:
            return Malformed("", f"fields are not {EVENT_TYPE.decode()} and {PAYLOAD.decode()}, each once")
        name, payload = found
        type_codec = self._types.get(name)
        if type_codec is None:
            return _unknown_type(name)
        position = entry.position
        foreign = foreign or len(fields) == _FOREIGN_LENGTH
        metadata = _foreign_metadata(position) if foreign else self._decode_metadata(fields[7])
        if isinstance(metadata, str):
            return Malformed(name.decode(), metadata)
        return self._decode_event(type_codec, payload, position, sequence, metadata)

    def _decode_metadata(self, raw: bytes) -> Metadata | str:
        try:
            metadata = self._metadata_decoder.decode(raw)
            if self._encoder.encode(metadata) != raw:
                _refuse_repeated_keys(raw)
        except (msgspec.MsgspecError, RecursionError, ValueError) as problem:
            return f"Metadata: {problem}"
        return metadata

    def _decode_event(
        self, type_codec: _TypeCodec, payload: bytes, position: Position, sequence: int, metadata: Metadata
    ) -> Decoded:
        event_class, decoder = type_codec
        version, current = metadata.schema_version, event_class.schema_version
        if version > current:
            return Newer(event_class.__name__, version, current)
        try:
            lifted = version < current
            event = self._lifted(event_class, payload, version) if lifted else decoder.decode(payload)
            if lifted or self._encoder.encode(event) != payload:
                _refuse_repeated_keys(payload)
        except (msgspec.MsgspecError, RecursionError, *_UPCASTER_ERRORS) as problem:
            return Malformed(event_class.__name__, f"Payload: {problem}")
        return RecordedEvent(event, str(position), sequence, metadata)

    def _lifted(self, event_class: type[Event], payload: bytes, version: int) -> Event:
        name = event_class.__name__
        self._earlier_decoders[name, version].decode(payload)
        old: Any = msgspec.json.decode(payload, type=dict)
        return msgspec.convert(
            self._upcasters.lift(name, old, version, event_class.schema_version), event_class
        )


def _refuse_repeated_keys(raw: bytes) -> None:
    """ValueError where an object has a key twice: readers differ in which of its values they take."""

    def without_repeats(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key is given twice")

    json.loads(raw, object_pairs_hook=without_repeats)


def read_fields(entry: Entry) -> tuple[bytes, bytes] | None:
    """An entry's type and payload, as written; None if it has neither our own form nor a foreign one."""
    fields = entry.fields
    if entry.claimed_sequence is not None:
        return fields[1], fields[3]
    if len(fields) == _FOREIGN_LENGTH:
        if fields[0] == EVENT_TYPE and fields[2] == PAYLOAD:
            return fields[1], fields[3]
        if fields[0] == PAYLOAD and fields[2] == EVENT_TYPE:
            return fields[3], fields[1]
    return None


def _unknown_type(name: bytes) -> UnknownType | Malformed:
    if len(name) <= 200 and name.isascii() and name.decode("ascii").isidentifier():
        return UnknownType(name.decode("ascii"))
    return Malformed("", f"{EVENT_TYPE.decode()} is not a name")


def _foreign_metadata(position: Position) -> Metadata:
    arrived_ms = min(position.milliseconds, _LAST_DATETIME_MS)
    return Metadata(
        event_id=str(position),
        occurred_at=datetime.fromtimestamp(arrived_ms / 1000, UTC),
        correlation_id=str(position),
    )
