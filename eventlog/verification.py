"""What stands between the log and a projection where there are keys: only what is proven goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventlog.archive_chain import next_link_of
from eventlog.codec import EVENT_TYPE, LARGEST_ENTRY_BYTES, Entry, read_fields
from eventlog.continuity import Divergence, NumberedEntry, Verdict
from eventlog.seen_events import SeenEvents
from eventlog.signing import Beginning, Keys, publisher_of


class Unproven(NamedTuple):
    """An entry that is parked unread: nobody with a key published it here, or it is a copy of one."""

    event_type: str
    reason: str


def why_unproven(keys: Keys, log_id: str, entry: Entry) -> str:
    """As far as one entry tells by itself, which is not whether it is a copy; empty where signing had not begun."""
    beginning = keys.beginnings.get(log_id)
    if beginning is not None and entry.position <= beginning.position:
        return ""
    if entry.claimed_sequence is None:
        if read_fields(entry) is None:
            return "it is not signed as an entry is: its fields are not the four that are published, in their order"
        return "it is not signed: another program wrote it"
    _, event_type, _, payload, _, _, _, metadata = entry.fields
    if len(event_type) + len(payload) + len(metadata) > LARGEST_ENTRY_BYTES:
        return "it is larger than anything that is published"
    return keys.why_unproven(log_id, event_type, payload, metadata)


class Verification:
    """Of one log, for one file: `seen` are the events that it has met, and learns those that are proven."""

    def __init__(self, keys: Keys, log_id: str, seen: SeenEvents) -> None:
        self._keys = keys
        self._log_id = log_id
        self._seen = seen
        self._beginning = keys.beginnings.get(log_id)
        self.changed: Divergence | None = None  # once what need not be signed is not what it was

    def verify(self, numbered: Sequence[NumberedEntry]) -> list[Unproven | None]:
        """For each entry, in order, why it must not be applied; where `changed` is set behind it, none may be."""
        unsigned_to = self._beginning.sequence if self._beginning else 0
        link = (
            self._seen.verified.link if self._beginning else None
        )  # it covers all up to here, or says nothing
        found: list[Unproven | None] = []
        for each in numbered:
            if self.changed is not None:
                found.append(None)
                continue
            if each.sequence > unsigned_to:
                reason = self._why_unproven(each)
                found.append(Unproven(_type_of(each), reason) if reason else None)
                continue
            if link is not None:
                link = next_link_of(link, each.sequence, each.entry)
                if self._beginning and each.sequence == unsigned_to and link != self._beginning.link:
                    self.changed = changed(self._log_id, self._beginning)
            found.append(None)
        if numbered:
            self._seen.verified = self._seen.verified._replace(sequence=numbered[-1].sequence, link=link)
        return found

    def _why_unproven(self, found: NumberedEntry) -> str:
        reason = why_unproven(self._keys, self._log_id, found.entry)
        if reason:
            return reason
        publisher = publisher_of(found.entry.fields[7])
        if publisher is None:
            return "it is signed, and its event id does not tell it from a copy"
        misplaced = found.foreign or found.adopted
        if self._seen.has(*publisher) if misplaced else not self._seen.add(*publisher):
            return f"it is a copy of an entry before it (event id {publisher[0]}-{publisher[1]})"
        if misplaced:
            return f"it is signed, and not where it was published: its number should be {found.sequence}"
        return ""


def _type_of(found: NumberedEntry) -> str:
    """As it says, once, where that may be one: it is shown, and nothing of it is proven."""
    fields = found.entry.fields
    said = [value for name, value in zip(fields[::2], fields[1::2], strict=False) if name == EVENT_TYPE]
    name = said[0][:200].decode("ascii", "replace") if len(said) == 1 else ""
    return name if name.isidentifier() else ""


def changed(log_id: str, beginning: Beginning) -> Divergence:
    """What was there before the log was signed is not what it was."""
    return Divergence(
        Verdict.REWOUND,
        f"log {log_id}: the entries up to number {beginning.sequence} at {beginning.position}, from before it was "
        "signed, are not what they were then",
    )
