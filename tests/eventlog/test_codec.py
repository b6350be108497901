"""Events become fields and come back the same; whatever else the fields hold is answered, never raised."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog import Codec, Event, Metadata, Position, RecordedEvent
from eventlog.codec import Decoded, Entry, Malformed, Newer, UnknownType, are_numbered_from
from eventlog.upcasting import Upcaster, Upcasters
from tests.clock import FIXED_NOW
from tests.eventlog.parcels import AddressChanged, ParcelLost, ParcelSent, a_parcel_sent, make_codec

CODEC = make_codec()
ANSWERS = (RecordedEvent, Malformed, UnknownType, Newer)
METADATA = Metadata(event_id="e", occurred_at=FIXED_NOW, correlation_id="c")


def entry(*fields: bytes | str, entry_id: bytes = b"1700000000000-0") -> Entry:
    return Entry(entry_id, [field.encode() if isinstance(field, str) else field for field in fields])


def own(event: Event, *, sequence: int = 1, codec: Codec = CODEC) -> Entry:
    name, payload, metadata = codec.encode(event, METADATA)
    return entry("EventTypeName", name, "Payload", payload, "Sequence", str(sequence), "Metadata", metadata)


def own_in_version(version: int, payload: str, event_type: str = "AddressChanged") -> Entry:
    metadata = msgspec.json.encode(msgspec.structs.replace(METADATA, schema_version=version))
    return entry("EventTypeName", event_type, "Payload", payload, "Sequence", "1", "Metadata", metadata)


def decode(found: Entry, *, foreign: bool = False) -> Decoded:
    return CODEC.decode(found, 1, foreign=foreign)


# There and back


@given(st.builds(ParcelSent, id=st.integers(), customer_id=st.integers(), weight_g=st.integers(0, 2**63 - 1)))
def test_event_comes_back_as_it_was(event: ParcelSent) -> None:
    decoded = decode(own(event))
    assert decoded == RecordedEvent(event, "1700000000000-0", 1, METADATA)
    assert decoded.position == Position(1700000000000, 0)


def test_own_version_is_recorded_and_read() -> None:
    decoded = decode(own(AddressChanged(customer_id=1, town="Bath", street="A")))
    assert isinstance(decoded, RecordedEvent)
    assert decoded.metadata.schema_version == 2


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    event = AddressChanged(customer_id=1, town=text, street="")
    decoded = decode(own(event))
    assert isinstance(decoded, RecordedEvent)
    assert decoded.event == event


# What must not be published


class Weighed(Event, frozen=True):
    grams: float


class Box(msgspec.Struct, frozen=True):
    side_cm: int


class Packed(Event, frozen=True):
    box: Box
    on: date


class Other:
    class ParcelLost(Event, frozen=True):
        """Of the same name as the one the codec knows."""

        reason: str


def wrong(value: Any) -> Any:
    """Hidden from the type checker, which would not let it pass."""
    return value


@pytest.mark.parametrize(
    "build",
    [
        lambda: a_parcel_sent(wrong("1")),
        lambda: a_parcel_sent(wrong(1.0)),
        lambda: a_parcel_sent(wrong(True)),
        lambda: a_parcel_sent(weight_g=-1),
        lambda: a_parcel_sent(weight_g=2**63),
        lambda: ParcelSent(id=1, customer_id=wrong(None), weight_g=1),
        lambda: AddressChanged(customer_id=1, town="\ud800", street=""),
        lambda: Weighed(float("nan")),
        lambda: Weighed(float("inf")),
        lambda: Packed(box=Box(wrong("wide")), on=date(2026, 1, 1)),
        lambda: Packed(box=Box(1), on=wrong("2026-01-01")),
        lambda: Packed(box=wrong({"side_cm": 1}), on=date(2026, 1, 1)),
    ],
)
def test_event_that_could_not_be_read_back_cannot_be_built(build: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        build()


@pytest.mark.parametrize("fields", [{}, {"id": 1, "x": 2}])
def test_event_without_its_fields_cannot_be_built(fields: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        ParcelLost(**fields)
    with pytest.raises(TypeError):
        ParcelLost.of_each([{"id": 1}, fields])


def test_events_that_are_built_at_once_are_those_built_one_by_one() -> None:
    assert ParcelLost.of_each({"id": number} for number in (3, 1)) == [ParcelLost(id=3), ParcelLost(id=1)]
    assert ParcelLost.of_each([]) == []


@pytest.mark.parametrize("wrong_id", ["1", 1.0, True, None])
def test_one_event_that_could_not_be_read_back_keeps_all_from_being_built_at_once(wrong_id: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        ParcelLost.of_each([{"id": 1}, {"id": wrong_id}])


def test_events_that_are_encoded_together_are_as_one_by_one() -> None:
    events = [ParcelLost(id=1), AddressChanged(customer_id=1, town="Bath", street=""), ParcelLost(id=2)]
    metadata = msgspec.structs.replace(METADATA, actor='"event_id":', command=METADATA.event_id)
    ids = [metadata.event_id, '"', "event_id"]
    assert list(CODEC.encode_together(events, metadata, ids)) == [
        CODEC.encode(event, msgspec.structs.replace(metadata, event_id=event_id))
        for event, event_id in zip(events, ids, strict=True)
    ]
    written = [each.metadata for each in CODEC.encode_together(events, metadata, ids)]
    assert [msgspec.json.decode(raw, type=Metadata) for raw in written] == [
        msgspec.structs.replace(metadata, event_id=event_id, schema_version=event.schema_version)
        for event, event_id in zip(events, ids, strict=True)
    ]


def test_event_that_was_built_cannot_be_changed() -> None:
    event = ParcelLost(id=1)
    with pytest.raises(AttributeError):
        event.id = 2  # type: ignore[misc]  # that is what is tried


@pytest.mark.parametrize("event", [Weighed(1.5), Other.ParcelLost("rain")])
def test_type_that_could_not_be_read_back_is_not_encoded(event: Event) -> None:
    with pytest.raises(TypeError, match="add it there"):
        CODEC.encode(event, METADATA)


def test_largest_event_that_is_encoded_can_be_read() -> None:
    """And one byte more is refused by the publisher, not parked by the readers."""
    small, limit = AddressChanged(customer_id=1, town="", street=""), 1024 * 1024 - 160
    room = limit - sum(map(len, CODEC.encode(small, METADATA)))
    assert isinstance(decode(own(AddressChanged(customer_id=1, town="x" * room, street=""))), RecordedEvent)
    with pytest.raises(ValueError, match="make it smaller"):
        own(AddressChanged(customer_id=1, town="x" * (room + 1), street=""))


def test_metadata_that_breaks_its_rules_is_not_encoded() -> None:
    with pytest.raises(msgspec.ValidationError, match="event_id"):
        CODEC.encode(ParcelLost(id=1), msgspec.structs.replace(METADATA, event_id=""))


# Versions


def test_older_version_is_lifted() -> None:
    decoded = decode(own_in_version(1, '{"customer_id":1,"address":"1 High St, Bath"}'))
    assert isinstance(decoded, RecordedEvent)
    assert decoded.event == AddressChanged(customer_id=1, town="Bath", street="1 High St")


def test_foreign_entry_is_read_as_version_1() -> None:
    found = entry("Payload", '{"customer_id":1,"address":"A, Bath"}', "EventTypeName", "AddressChanged")
    decoded = decode(found, foreign=True)
    assert isinstance(decoded, RecordedEvent)
    assert decoded.event == AddressChanged(customer_id=1, town="Bath", street="A")
    assert decoded.metadata == Metadata(
        event_id="1700000000000-0",
        correlation_id="1700000000000-0",
        occurred_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "payload",
    [
        '{"customer_id":1}',
        '{"address":5}',
        '{"address":"x"}',
        '{"customer_id":1,"address":"Main Road"}',
        '{"customer_id":1,"address":"Main Road, Bath","more":1}',
        '{"customer_id":1,"address":"A, Bath","address":"B, Bath"}',
        "[]",
        "5",
        "",
    ],
)
def test_older_version_that_cannot_be_lifted_is_malformed(payload: str) -> None:
    decoded = decode(own_in_version(1, payload))
    assert isinstance(decoded, Malformed)
    assert (decoded.event_type, decoded.reason[:9]) == ("AddressChanged", "Payload: ")


def test_newer_version_is_told_as_such_whatever_its_payload() -> None:
    assert decode(own_in_version(3, "not even JSON")) == Newer("AddressChanged", 3, 2)
    assert decode(own_in_version(2, "{}", "ParcelLost")) == Newer("ParcelLost", 2, 1)


def test_steps_are_taken_one_after_the_other() -> None:
    class Numbered(Event, frozen=True):
        schema_version: ClassVar[int] = 3
        number: int

    class WrittenBefore(Event, frozen=True):
        number: int

    steps = Upcasters(
        {
            ("Numbered", 1): Upcaster(WrittenBefore, lambda old: {"number": old["number"] * 10}),
            ("Numbered", 2): Upcaster(WrittenBefore, lambda old: {"number": old["number"] + 1}),
        }
    )
    codec = Codec([Numbered], steps)
    numbers = []
    for version in (1, 2, 3):
        decoded = codec.decode(own_in_version(version, '{"number":5}', "Numbered"), 1, foreign=False)
        assert isinstance(decoded, RecordedEvent)
        assert isinstance(decoded.event, Numbered)
        numbers.append(decoded.event.number)
    assert numbers == [51, 6, 5]


def test_version_without_its_step_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no upcaster from version 1"):
        Codec([AddressChanged])


def test_two_types_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="rename one"):
        Codec([ParcelLost, Other.ParcelLost])


# What others may write


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["EventTypeName", "PriceChanged", "Payload", "nothing"], UnknownType("PriceChanged")),
        (["Payload", "{}", "EventTypeName", "X"], UnknownType("X")),
        (["EventTypeName", "no name", "Payload", "{}"], Malformed),
        (["EventTypeName", "", "Payload", "{}"], Malformed),
        (["EventTypeName", b"\xff", "Payload", "{}"], Malformed),
        (["EventTypeName", "x" * 201, "Payload", "{}"], Malformed),
        (["EventTypeName", "ParcelLost", "EventTypeName", "ParcelLost"], Malformed),
        (["EventTypeName", "ParcelLost"], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":1}', "Payload", '{"id":2}'], Malformed),
        (["eventtypename", "ParcelLost", "payload", '{"id":1}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":1,"x":2}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":"1"}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":NaN}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":1,"id":2}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":1,"\\u0069d":1}'], Malformed),
        (
            [
                "EventTypeName",
                "AddressChanged",
                "Payload",
                '{"customer_id":1,"address":"A, B","address":"C, D"}',
            ],
            Malformed,
        ),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":1.5}'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", "[" * 5000], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", '{"id":' * 5000], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", b'{"id":1}\xff'], Malformed),
        (["EventTypeName", "ParcelLost", "Payload", "x" * (1024 * 1024)], Malformed),
        (["a", "b"], Malformed),
        ([], Malformed),
    ],
    ids=lambda value: str(value)[:40],
)
def test_foreign_entry_is_judged_and_never_raises(fields: list[str | bytes], expected: Any) -> None:
    for foreign in (True, False):
        decoded = decode(entry(*fields), foreign=foreign)
        assert decoded == expected if isinstance(expected, tuple) else isinstance(decoded, expected)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{}",
        "[" * 5000,
        b"\xff",
        b'{"event_id":"\xff","occurred_at":"2026-01-01T00:00:00Z","correlation_id":"c"}',
        '{"event_id":"","occurred_at":"2026-01-01T00:00:00Z","correlation_id":"c"}',
        '{"event_id":"e","occurred_at":"2026-01-01T00:00:00","correlation_id":"c"}',
        '{"event_id":"e","occurred_at":"2026-01-01T00:00:00Z","correlation_id":"c","event_id":"f"}',
        '{"event_id":"e","occurred_at":"2026-01-01T00:00:00Z","correlation_id":"c","schema_version":0}',
        '{"event_id":"e","occurred_at":"2026-01-01T00:00:00Z","correlation_id":"c","schema_version":"1"}',
    ],
)
def test_own_entry_with_bad_metadata_is_malformed(metadata: str | bytes) -> None:
    found = entry("EventTypeName", "ParcelLost", "Payload", '{"id":1}', "Sequence", "1", "Metadata", metadata)
    decoded = decode(found)
    assert isinstance(decoded, Malformed)
    assert decoded.reason.startswith("Metadata: ")
    assert isinstance(decode(found, foreign=True), RecordedEvent)


def test_metadata_of_a_later_time_is_read() -> None:
    found = own(ParcelLost(id=1))
    later = found.fields[7][:-1] + b',"colour":"red"}'
    decoded = decode(Entry(found.id, [*found.fields[:7], later]))
    assert isinstance(decoded, RecordedEvent)


@pytest.mark.parametrize("entry_id", [b"0-1", b"18446744073709551615-18446744073709551615"])
def test_foreign_entry_at_any_position_has_a_time(entry_id: bytes) -> None:
    found = entry("EventTypeName", "ParcelLost", "Payload", '{"id":1}', entry_id=entry_id)
    decoded = decode(found, foreign=True)
    assert isinstance(decoded, RecordedEvent)
    assert decoded.metadata.event_id == entry_id.decode()


def own_with(payload: bytes, event_type: str = "ParcelLost", metadata: bytes = b"") -> list[bytes]:
    """The fields of an entry that is numbered later."""
    fields = own(ParcelLost(id=1)).fields
    return [fields[0], event_type.encode(), fields[2], payload, *fields[4:7], metadata or fields[7]]


AS_WE_WRITE_IT = [
    own(ParcelLost(id=1)).fields,
    own(ParcelLost(id=2)).fields,
    own(a_parcel_sent()).fields,
    own(AddressChanged(customer_id=1, town="Bath\nSpa", street="A")).fields,
]
OTHERWISE = [
    own_with(b'{"id": 1}'),
    own_with(b'{"id":1,"id":1}'),
    own_with(b'{"id":1}\n'),
    own_with(b'\n{"id":1}'),
    own_with(b'{"id":1}\n{"id":1}'),
    own_with(b'{"id":1'),
    own_with(b"}"),
    own_with(b""),
    own_with(b'{"id":"1"}'),
    own_with(b'{"\xdf":1}'),
    own_with(b'{"id":1,"x":' + b"[" * 100_000 + b"}"),
    own_with(b'{"id":1}', metadata=b'{"\xdf":1}'),
    own_with(b'{"id":1}', "Unheard"),
    own_with(b'{"id":1}', metadata=b"{}"),
    own_with(b'{"id":1}', metadata=AS_WE_WRITE_IT[0][7] + b"\n" + AS_WE_WRITE_IT[0][7]),
    own_in_version(1, '{"customer_id":1,"address":"A, Bath"}').fields,
    own_in_version(3, '{"id":1}', "ParcelLost").fields,
    own_with(b'{"id":1}' + b" " * 1024 * 1024),
    own_with(
        b'{"customer_id":1,"town":"%b","street":"A"}' % (b"a" * 1024 * 1024),
        "AddressChanged",
        AS_WE_WRITE_IT[3][7],
    ),
]


def numbered(runs: list[list[bytes]]) -> list[Entry]:
    return [
        Entry(b"%d-0" % number, [*fields[:5], b"%d" % number, *fields[6:]])
        for number, fields in enumerate(runs, 1)
    ]


@given(
    st.lists(st.sampled_from(AS_WE_WRITE_IT), min_size=1),
    st.lists(st.sampled_from(OTHERWISE), max_size=2),
    st.data(),
)
@example([AS_WE_WRITE_IT[0]], [own_with(b'{"id":1}\n{"id":1}'), own_with(b"")], None)
def test_run_is_read_at_once_as_one_by_one_and_left_to_that_where_one_is_odd(
    plain: list[list[bytes]], odd: list[list[bytes]], data: st.DataObject | None
) -> None:
    run = [*plain, *odd]
    entries = numbered(data.draw(st.permutations(run)) if data is not None else run)
    assert are_numbered_from(1, entries)
    one_by_one = [CODEC.decode(found, number, foreign=False) for number, found in enumerate(entries, 1)]
    at_once = CODEC.decode_own(entries, 1)
    assert at_once == (None if odd else one_by_one)


@pytest.mark.parametrize("odd", OTHERWISE, ids=lambda fields: repr(fields[3][:30]))
def test_run_with_any_odd_entry_is_left_to_be_read_one_by_one(odd: list[bytes]) -> None:
    assert CODEC.decode_own(numbered([AS_WE_WRITE_IT[0], odd]), 1) is None


@pytest.mark.parametrize("place", [0, 2, 4, 5, 6])
def test_entry_of_another_form_or_number_does_not_follow(place: int) -> None:
    entries = numbered([AS_WE_WRITE_IT[0]] * 3)
    changed = entries[1].fields[place] + b"x"
    entries[1].fields[place] = changed
    assert not are_numbered_from(1, entries)


@pytest.mark.parametrize("claim", [b"02", b" 2", b"2\n", b"+2", b"3"])
def test_number_that_is_not_written_as_we_write_it_does_not_follow(claim: bytes) -> None:
    entries = numbered([AS_WE_WRITE_IT[0]] * 3)
    entries[1].fields[5] = claim
    assert not are_numbered_from(1, entries)


names = st.sampled_from([b"EventTypeName", b"Payload", b"Sequence", b"Metadata"]) | st.binary(max_size=8)
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "customer_id", "weight_g", "address"]), inner, max_size=4)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
contents = (
    st.sampled_from([b"ParcelSent", b"ParcelLost", b"AddressChanged", own(ParcelLost(id=1)).fields[7]])
    | st.binary(max_size=40)
    | json_like
)


@given(st.lists(st.one_of(names, contents), max_size=10), st.booleans())
@example([b"EventTypeName", b"ParcelLost", b"Payload", b'{"id":1}'], False)
def test_no_fields_make_decoding_raise(fields: list[bytes], foreign: bool) -> None:
    assert isinstance(decode(Entry(b"1-0", fields), foreign=foreign), ANSWERS)


@given(contents, contents, contents, contents, st.booleans())
def test_no_contents_of_our_own_form_make_decoding_raise(
    name: bytes, payload: bytes, sequence: bytes, metadata: bytes, foreign: bool
) -> None:
    found = entry("EventTypeName", name, "Payload", payload, "Sequence", sequence, "Metadata", metadata)
    assert isinstance(decode(found, foreign=foreign), ANSWERS)


# Digests


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=8), st.data())
def test_digest_differs_by_any_byte_and_by_order(fields: list[bytes], data: st.DataObject) -> None:
    digest = Entry(b"1-0", fields).digest()
    assert digest == Entry(b"2-0", list(fields)).digest()
    assert len(digest) == 64
    place = data.draw(st.integers(0, len(fields) - 1))
    other = data.draw(st.binary(max_size=5).filter(lambda field: field != fields[place]))
    assert Entry(b"1-0", [*fields[:place], other, *fields[place + 1 :]]).digest() != digest
    reordered = data.draw(st.permutations(fields))
    assert (Entry(b"1-0", reordered).digest() == digest) == (reordered == fields)


@pytest.mark.parametrize("fields", [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"1:a", b"bc"]])
def test_digest_knows_where_a_field_ends(fields: list[bytes]) -> None:
    others = [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"1:a", b"bc"]]
    digests = [Entry(b"1-0", other).digest() for other in others if other != fields]
    assert Entry(b"1-0", fields).digest() not in digests
