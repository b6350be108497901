"""What a log must answer, and what a projection of it must hold: plain dicts, written apart from the library.

Knows positions, fields and the rules of the post office (tests/eventlog/parcels.py); no code that it judges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from eventlog import START, Event, Moment, Position
from eventlog.continuity import Verdict
from tests.faults.simulated_log import StreamEntry

OWN_FIELDS = [b"EventTypeName", b"Payload", b"Sequence", b"Metadata"]
_SHAPES = {b"ParcelSent": {"id", "customer_id", "weight_g"}, b"ParcelLost": {"id"}}


class Call(NamedTuple):
    """One attempt to publish; a retry is the same once more."""

    key: str
    fingerprint: str
    named: bool
    decided_at: Moment
    guards: tuple[str, ...]
    touches: tuple[str, ...]
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return (
            f"{self.key} ({self.fingerprint}) decided at {self.decided_at.position},"
            f" guards {self.guards}, touches {self.touches}, {len(self.events)} events:"
        )


class Done(NamedTuple):
    """What the log remembers of a command."""

    position: Position
    sequence: int
    fingerprint: str
    expires_at_ms: int


class Expected(NamedTuple):
    """What a reader must find; `or_else` is as true, where entries were trimmed and others are missing.

    Before a hole it may still apply what lies below `not_past`, in small batches.
    """

    verdict: Verdict
    or_else: Verdict | None = None
    not_past: Position | None = None

    def allows_halting(self, verdict: Verdict) -> bool:
        return verdict in {self.verdict, self.or_else}

    def allows_applying(self, batch: Sequence[Position], applied: int) -> bool:
        """All of a batch or nothing; beyond a hole, nothing."""
        if self.not_past is None:
            return self.verdict is Verdict.SAME and applied == len(batch)
        return 0 < applied == len(batch) and batch[-1] < self.not_past


@dataclass
class Truth:
    """The log as the simulation knows it; copied and put back together with the server's state."""

    log_id: str | None = None
    sequence: int = 0
    last_own: Position = START
    floor: Position = START
    adopted_to: Position = START
    trimmed: int = 0
    trimmed_to: Position = START
    subjects: dict[str, Position] = field(default_factory=dict)
    commands: dict[str, Done] = field(default_factory=dict)

    def copy(self) -> Truth:
        return replace(self, subjects=dict(self.subjects), commands=dict(self.commands))

    @classmethod
    def created(cls, log_id: str, entries: Sequence[StreamEntry]) -> Truth:
        """A new log, made of what is there."""
        end = entries[-1][0] if entries else START
        return cls(log_id, len(entries), end, end, end)

    def is_whole(self, entries: Sequence[StreamEntry] | None) -> bool:
        """Whether all that the log counted is there, less what was trimmed on purpose."""
        if entries is None:
            return False
        own = [position for position, _ in entries if position <= self.last_own]
        return self.last_own == START or (
            own[-1:] == [self.last_own] and len(own) == self.sequence - self.trimmed
        )

    def answer(self, call: Call, entries: Sequence[StreamEntry] | None, now_ms: int) -> str:
        """The first word of what the publish script must answer."""
        log_id, decided_at = call.decided_at
        if entries is None or self.log_id != log_id:
            return "replaced"
        positions = [position for position, _ in entries]
        end = positions[-1] if positions else START
        known = decided_at == START or decided_at in positions or decided_at < self.trimmed_to
        if decided_at > end or not known:
            return "rewound"
        done = self.commands.get(call.key)
        if done is not None and done.expires_at_ms > now_ms:
            return "replayed" if done.fingerprint == call.fingerprint else "reused"
        if self.last_own not in {START, end} and self.last_own not in positions:
            return "rewound"
        touched = [self.subjects.get(guard, self.trimmed_to) for guard in call.guards]
        if max([self._floor(positions), *touched]) > decided_at:
            return "conflict"
        return "published"

    def note_published(
        self, call: Call, before: Sequence[StreamEntry], added: Sequence[Position], expires_at_ms: int
    ) -> None:
        positions = [position for position, _ in before]
        self.floor = self._floor(positions)
        self.sequence += sum(position > self.last_own for position in positions) + len(added)
        self.last_own = added[-1]
        self.subjects.update(dict.fromkeys(call.touches, self.last_own))
        self.commands[call.key] = Done(self.last_own, self.sequence, call.fingerprint, expires_at_ms)

    def verdict(
        self, log_id: str, applied: Sequence[StreamEntry], entries: Sequence[StreamEntry] | None
    ) -> Expected:
        """What a reader that applied these entries of that log can know of the log now."""
        if self.log_id is None or (log_id and log_id != self.log_id) or entries is None:
            return Expected(Verdict.REPLACED)
        position, fields = applied[-1] if applied else (START, [])
        missing = Verdict.TRIMMED if position < self.trimmed_to else Verdict.REWOUND
        if applied:
            there = dict(entries).get(position)
            if there is None:
                return Expected(missing)
            if there != fields:
                return Expected(Verdict.REWOUND)
        behind = [each for each, _ in entries if position < each <= self.last_own]
        nothing_missing = behind[-1:] == [self.last_own] and len(behind) == self.sequence - len(applied)
        if position >= self.last_own or nothing_missing:
            return Expected(Verdict.SAME)
        if not applied and (self.trimmed or len(entries) < self.sequence):
            return Expected(missing, or_else=Verdict.REWOUND)
        return Expected(missing, not_past=self.last_own)

    def _floor(self, positions: Sequence[Position]) -> Position:
        return positions[-1] if positions and positions[-1] > self.last_own else self.floor


class Fold:
    """The post office, entry by entry, with nothing but dicts."""

    def __init__(self) -> None:
        self.customers: dict[int, list[int]] = {}  # parcels on their way, and their weight
        self.parcels: dict[int, list[int]] = {}  # customer, weight, lost
        self.parked: list[tuple[int, str]] = []
        self.passed_over: set[str] = set()
        self._number = 0

    def apply(self, entry: StreamEntry, *, adopted: bool) -> None:
        """One more entry of the log; `adopted` if it was there before the log was."""
        self._number += 1
        position, fields = entry
        if not self._take(fields, adopted):
            self.parked.append((self._number, str(position)))

    def _take(self, fields: list[bytes], adopted: bool) -> bool:
        """False if it must be set aside."""
        content = dict(zip(fields[::2], fields[1::2], strict=False))
        own_form = fields[::2] == OWN_FIELDS and len(fields) == 2 * len(OWN_FIELDS)
        if not own_form and not (len(fields) == 4 and content.keys() == set(OWN_FIELDS[:2])):
            return False
        name = content[b"EventTypeName"]
        if name not in {*_SHAPES, b"AddressChanged"}:
            self.passed_over.add(name.decode())
            return True
        numbered = own_form and content[b"Sequence"] == b"%d" % self._number
        readable = own_form and content[b"Metadata"] != b"{}"
        if numbered and not readable:
            return False
        ours = numbered or (adopted and readable)
        payload = _read(content[b"Payload"])
        if name == b"AddressChanged":
            if ours or "address" in payload:
                self.passed_over.add("AddressChanged")
                return True
            return False
        if payload.keys() != _SHAPES[name] or any(type(value) is not int for value in payload.values()):
            return False
        return self._send(payload) if name == b"ParcelSent" else self._lose(payload["id"])

    def _send(self, sent: dict[str, int]) -> bool:
        if sent["id"] in self.parcels or sent["weight_g"] < 0:
            return False
        self.parcels[sent["id"]] = [sent["customer_id"], sent["weight_g"], 0]
        self._count(sent["customer_id"], 1, sent["weight_g"])
        return True

    def _lose(self, parcel_id: int) -> bool:
        parcel = self.parcels.get(parcel_id)
        if parcel is None or parcel[2]:
            return False
        parcel[2] = 1
        self._count(parcel[0], -1, -parcel[1])
        return True

    def _count(self, customer_id: int, parcels: int, weight_g: int) -> None:
        before = self.customers.get(customer_id, [0, 0])
        self.customers[customer_id] = [before[0] + parcels, before[1] + weight_g]


def _read(payload: bytes) -> dict[str, Any]:
    """Empty if it is no JSON object."""
    try:
        content = json.loads(payload)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
