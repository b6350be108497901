"""Another writer of the stream, who adds whatever it likes: from random bytes to what only just is not allowed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.faults.entry_rules import LARGEST, SMALLEST, Fields

OURS, VICTIM = 1, 2  # accounts of the demo: nothing that the rules allow is done to the first
LAST_POSITION = "18446744073709551615-18446744073709551615"

_INSTANT = "2026-01-31T00:00:00Z"
_CREATED, _DELETED = {"created_date": _INSTANT}, {"deleted_date": _INSTANT}
_METADATA = {"event_id": "e", "occurred_at": _INSTANT, "correlation_id": "c"}
_NOBODY = "404404404"
_FACTS_KEPT = 300


class Fact(NamedTuple):
    event_type: str
    payload: dict[str, Any]


class Forged(NamedTuple):
    """An entry and the position asked for it; `*` is Redis' own choice."""

    fields: Fields
    position: str = "*"


class Enemy:
    """Makes entries by lot, from stories of accounts and customers of its own, and of customers in the victim's.

    What it makes follows from the chance alone, but for what it replays of `recorded`.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._story: list[Fact] = []
        self._told: list[Fact] = []
        self._milliseconds = 0
        self.recorded: list[Fields] = []
        self._kinds: dict[str, Callable[[int], Fields | Forged]] = {
            "allowed": lambda _: self.event(),
            "again or out of order": lambda _: self._again_or_out_of_order(),
            "in our form": self._in_our_form,
            "replayed": lambda _: self._replayed(),
            "wrong subject": lambda _: self._wrong_subject(),
            "one byte changed": lambda _: self._one_byte_changed(),
            "random bytes": lambda _: self._random_bytes(),
            "other fields": self._other_fields,
            "wrong payload": lambda _: self._wrong_payload(),
            "unknown type": self._unknown_type,
            "out of all bounds": lambda _: self._out_of_bounds(),
            "of the future": lambda _: self._of_the_future(),
        }

    def make(self, next_sequence: int) -> tuple[str, Forged]:
        """An entry, and what kind it is; `next_sequence` is the ordinal it will probably have."""
        kind = self._chance.choice([*self._kinds, "allowed", "allowed"])
        made = self._kinds[kind](next_sequence)
        return kind, made if isinstance(made, Forged) else Forged(made)

    def event(self) -> Fields:
        """The next of a story; the rules allow it, as long as the sums fit."""
        fields = _foreign(*self._next())
        del self._story[0]
        return fields if self._chance.random() < 0.5 else fields[2:] + fields[:2]

    def newer_version(self, next_sequence: int) -> Fields:
        """What a writer of a later version would add, or somebody who claims to be one."""
        event_type, payload = self._next()
        version = self._chance.choice([2, 3, 100, 2**31 - 1])
        body = self._chance.choice([_json(payload), _json({**payload, "more": 1}), b"{}", b"\xff"])
        return _own(event_type, body, next_sequence, _json({**_METADATA, "schema_version": version}))

    def _next(self) -> Fact:
        """What the story goes on with, once it is told as it should be."""
        if not self._story:
            self._story = self._new_story()
            self._told = [*self._told[-_FACTS_KEPT:], *self._story]
        return self._story[0]

    def _new_story(self) -> list[Fact]:
        """An account or the victim's, customers in it, their invoices, and what is deleted again."""
        chance = self._chance
        key = chance.choice([VICTIM, self._new_id()])
        account, customers, invoices = str(key), [], []
        for _ in range(chance.randrange(1, 4)):
            customers.append({"id": str(self._new_id()), "account_id": account})
            of_customer = {"customer_id": customers[-1]["id"]}
            invoices += [
                {"id": self._invoice_id(), **of_customer, "purchase_price_cents": self._cents()}
                for _ in range(chance.randrange(5))
            ]
        described = {"name": "theirs", "description": "", "owned_by": "user2"}
        own_account = [] if key == VICTIM else [{"id": account}]
        return [
            *(Fact("AccountCreated", {**each, **described, **_CREATED}) for each in own_account),
            *(Fact("CustomerCreated", {**each, "name": "Eve", **_CREATED}) for each in customers),
            *(
                Fact("InvoiceCreated", {**each, **_CREATED, "purchase_date": "2026-01-31"})
                for each in invoices
            ),
            *(Fact("InvoiceDeleted", {**each, **_DELETED}) for each in self._some(invoices)),
            *(Fact("CustomerDeleted", {**each, **_DELETED}) for each in self._some(customers)),
            *(Fact("AccountDeleted", {**each, **_DELETED}) for each in self._some(own_account)),
        ]

    def _some(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in found if self._chance.random() < 0.5]

    def _new_id(self) -> int:
        """Above what ours are counted up to, or at an edge of what counts."""
        edges = [10**9, 10**15 - 1, 10**15, 10**15 + 1, 2**53, 10**18 - 1]
        return (
            self._chance.randrange(10**16, 10**17)
            if self._chance.random() < 0.95
            else self._chance.choice(edges)
        )

    def _invoice_id(self) -> str:
        """Some are where ours will be."""
        return str(self._new_id() if self._chance.random() < 0.8 else self._chance.randrange(1, 10_000))

    def _cents(self) -> int:
        large = [10**12, 9 * 10**18, -9 * 10**18, LARGEST, SMALLEST, SMALLEST + 1]
        return self._chance.choice([0, 1, 100, -100, self._chance.choice(large)])

    def _again_or_out_of_order(self) -> Fields:
        """Anything of any story: what is deleted comes back, what follows comes first."""
        self._next()
        return _foreign(*self._chance.choice(self._told))

    def _replayed(self) -> Fields:
        return self.recorded[int(self._chance.random() * len(self.recorded))]

    def _wrong_subject(self) -> Fields:
        """A fact with another's id, account, customer or price; or our account deleted."""
        chance = self._chance
        self._next()
        event_type, payload = chance.choice(
            [*self._told, Fact("AccountDeleted", {"id": str(OURS), **_DELETED})]
        )
        name = chance.choice([name for name in payload if name.endswith(("id", "cents"))])
        others = [told.payload[name] for told in self._told if name in told.payload]
        return _foreign(event_type, {**payload, name: chance.choice([*others, _NOBODY])})

    def _in_our_form(self, next_sequence: int) -> Fields:
        """With a Sequence that fits, and is read as ours; or with one that does not, and metadata that do not count."""
        chance = self._chance
        event_type, payload = self._next()
        if chance.random() < 0.6:
            return _own(event_type, _json(payload), next_sequence, self._metadata())
        wrong = [0, -1, 2**64, "", "NaN", f"0{next_sequence}", f"+{next_sequence}", next_sequence - 1]
        newer = _json({**_METADATA, "schema_version": 2})
        return _own(
            event_type, _json(payload), chance.choice(wrong), chance.choice([self._metadata(), newer])
        )

    def _metadata(self) -> bytes:
        """Good, or wrong in one thing."""
        good: list[Any] = [
            _METADATA, {**_METADATA, "schema_version": 1, "of a later writer": [[]] * 50},
            {**_METADATA, "actor": "user1"}, {**_METADATA, "signature": "forged", "command": "theirs"},
        ]  # fmt: skip
        wrong: list[Any] = [
            *({**_METADATA, "schema_version": version} for version in (0, -1, "1", 1.5, None, True, 2**40)),
            *({**_METADATA, name: value} for name in _METADATA for value in ("", 7, None, "x" * 200)),
            {**_METADATA, "actor": 5}, {**_METADATA, "signature": []}, [], "", 5,
        ]  # fmt: skip
        raw = [b"", b"{", b"\xff", b"[" * 100_000, _json(_METADATA)[:-1] + b',"actor":"\\ud800"}']
        return self._chance.choice(
            [_json(self._chance.choice(good))] * 2
            + [_json(self._chance.choice(wrong)), self._chance.choice(raw)]
        )

    def _one_byte_changed(self) -> Fields:
        fields = self.event()
        which = self._chance.randrange(4)
        changed = bytearray(fields[which])
        at = self._chance.randrange(len(changed))
        match self._chance.randrange(3):
            case 0:
                changed[at] ^= 1 << self._chance.randrange(8)
            case 1:
                del changed[at]
            case _:
                changed.insert(at, changed[at])
        fields[which] = bytes(changed)
        return fields

    def _random_bytes(self) -> Fields:
        chance = self._chance
        fields = [chance.randbytes(chance.randrange(40)) for _ in range(2 * chance.randrange(1, 6))]
        return chance.choice(
            [fields, [b"EventTypeName", self._next().event_type.encode(), b"Payload", fields[0]]]
        )

    def _other_fields(self, next_sequence: int) -> Fields:
        """Ours in another order, one of them missing, twice, under another name, or among thousands."""
        chance = self._chance
        event_type, payload = self._next()
        fields = _own(event_type, _json(payload), next_sequence, _json(_METADATA))
        pairs = [fields[at : at + 2] for at in range(0, len(fields), 2)]
        match chance.randrange(5):
            case 0:
                chance.shuffle(pairs)
            case 1:
                del pairs[chance.randrange(4)]
            case 2:
                pairs.insert(chance.randrange(5), chance.choice(pairs))
            case 3:
                renamed = chance.choice(pairs)
                renamed[0] = chance.choice([renamed[0].lower(), renamed[0] + b" ", b"", b"Signature"])
            case _:
                pairs += [[b"field %d" % number, b"value"] for number in range(chance.randrange(1, 5000))]
        return [text for pair in pairs for text in pair]

    def _wrong_payload(self) -> Fields:
        """JSON as it should not be: deep, with a key twice, with one more or less, of other types, not Unicode."""
        chance = self._chance
        event_type, payload = self._next()
        name = chance.choice(list(payload))
        text = _json(payload)
        again = chance.choice([payload[name], _NOBODY])
        value: Any = chance.choice([
            None, True, 7, 1.0, [], {}, "", "007", " 7", "7\n", "+7", "\u0667", "1e3", str(2**64), 2**63,
            -(2**63) - 1, 10**400, "x" * 2000, "2026-02-30", "2026-13-01T00:00:00Z", "2026-01-31T00:00:00",
            "yesterday", "\ud800", "\udfff\ud800",
        ])  # fmt: skip
        raw = chance.choice(
            [b"NaN", b"Infinity", b"-Infinity", b"1.0", b"1e2", b"1e400", b"01", b"0x1", b"'7'", b"[" * 5000]
        )
        wrong = chance.choice([
            b"[" * 100_000, b'{"id":' * 100_000, _json({**payload, name: [[[[]]]]}),
            _json({**payload, "more": 1}), _json({key: payload[key] for key in payload if key != name}),
            _json({**payload, name: value}), _json({**payload, name: value}), _json({**payload, name: value}),
            _json({**payload, name: "RAW"}).replace(b'"RAW"', raw), _with_key_twice(payload, name, again),
            text + text, text[:-1], b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), b"[" + text + b"]",
            text.replace(b"2026", b"\xed\xa0\x80"), b" \n" + text + b"\t ", _with_key_escaped(text, name),
        ])  # fmt: skip
        return [b"EventTypeName", event_type.encode(), b"Payload", wrong]

    def _unknown_type(self, next_sequence: int) -> Fields:
        chance = self._chance
        name = chance.choice([
            b"CustomerRenamed", b"customercreated", b"CustomerCreated ", b"CustomerCreated\0", b"", b"9", b"_",
            b"x" * 200, b"x" * 201, "Größe".encode(), b"\xff", b"U" * 190 + b"%d" % chance.randrange(10**9),
        ])  # fmt: skip
        if chance.random() < 0.3:
            newer = _json({**_METADATA, "schema_version": 99})
            return _own(name.decode("latin-1"), b"{}", next_sequence, newer)
        return [b"EventTypeName", name, b"Payload", chance.choice([b"{}", b"", b"["])]

    def _out_of_bounds(self) -> Fields:
        """Huge, within what is parsed and above; or cents at and beyond the end of 64 bits."""
        event_type, payload = self._next()
        if "purchase_price_cents" in payload and self._chance.random() < 0.8:
            beyond = [9 * 10**18, -9 * 10**18, LARGEST, SMALLEST, LARGEST + 1, SMALLEST - 1, 10**30]
            return _foreign(event_type, {**payload, "purchase_price_cents": self._chance.choice(beyond)})
        padding = b" " * self._chance.choice([100_000, 1_000_000, 2_000_000, 4_000_000])
        return [b"EventTypeName", event_type.encode(), b"Payload", _json(payload) + padding]

    def _of_the_future(self) -> Forged:
        """Positions run ahead of the clock, by years; what follows goes on from there."""
        ahead = self._chance.choice([10**5, 10**6, 10**9, 10**11])
        self._milliseconds = max(self._milliseconds, int(time.time() * 1000)) + ahead
        return Forged(self.event(), f"{self._milliseconds}-{self._chance.choice([0, 7, 2**63])}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _with_key_twice(payload: dict[str, Any], name: str, again: object) -> bytes:
    return _json(payload)[:-1] + b"," + _json({name: again})[1:]


def _with_key_escaped(text: bytes, name: str) -> bytes:
    """The same object, with the first character of a key escaped."""
    return text.replace(b'"%s":' % name.encode(), b'"\\u%04x%s":' % (ord(name[0]), name[1:].encode()), 1)


def _foreign(event_type: str, payload: dict[str, Any]) -> Fields:
    return [b"EventTypeName", event_type.encode(), b"Payload", _json(payload)]


def _own(event_type: str, payload: bytes, sequence: object, metadata: bytes) -> Fields:
    return [
        b"EventTypeName", event_type.encode("latin-1"), b"Payload", payload,
        b"Sequence", str(sequence).encode(), b"Metadata", metadata,
    ]  # fmt: skip
