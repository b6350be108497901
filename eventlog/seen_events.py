"""Which signed events a projection has met: what shows it that an entry is a copy.

Publishers number their events (published_ids.py), so what was met is a few ranges of numbers for each of them, and not
a row for each event. A function of the log alone: a rebuild comes to the same.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from eventlog.checkpoints import Checkpoint
from eventlog.errors import NotBuilt

# Made with the first batch that is verified: a file of who has no keys never has them.
SEEN_TABLES: Final = {
    "seen_events": (
        "CREATE TABLE seen_events (publisher TEXT, first INTEGER, last INTEGER NOT NULL,"
        " PRIMARY KEY (publisher, first)) STRICT, WITHOUT ROWID"
    ),
    "verified": (
        "CREATE TABLE verified (only INTEGER PRIMARY KEY CHECK (only = 1), sequence INTEGER NOT NULL, link BLOB) STRICT"
    ),
}


class Verified(NamedTuple):
    """Up to which entry a file was verified.

    `link` is that of the chain of entries that need no signature, as far as they were read; None where that began
    without keys.
    """

    sequence: int
    link: bytes | None


class SeenEvents:
    """Ranges of one file, `verified` with them. A batch that was not committed leaves it unusable: read it again."""

    def __init__(self, verified: Verified, ranges: Iterable[tuple[str, int, int]] = ()) -> None:
        self.verified = verified
        self._ranges: dict[str, list[list[int]]] = {}  # of each publisher: first and last, in order
        for publisher, first, last in ranges:
            self._ranges.setdefault(publisher, []).append([first, last])
        self._changed: set[tuple[str, int]] = set()  # publisher and first of ranges that came, went or grew

    def has(self, publisher: str, number: int) -> bool:
        ranges = self._ranges.get(publisher, ())
        at = bisect_right(ranges, number, key=_first) - 1
        return at >= 0 and number <= ranges[at][1]

    def add(self, publisher: str, number: int) -> bool:
        """Whether it was not met before; now it is."""
        ranges = self._ranges.setdefault(publisher, [])
        if ranges and ranges[-1][1] == number - 1:  # nearly always: they come in the order of their numbers
            ranges[-1][1] = number
            self._changed.add((publisher, ranges[-1][0]))
            return True
        behind = bisect_right(ranges, number, key=_first)
        before = ranges[behind - 1] if behind else None
        if before is not None and number <= before[1]:
            return False
        if before is not None and before[1] == number - 1:
            before[1] = number
        else:
            before = [number, number]
            ranges.insert(behind, before)
            behind += 1
        self._changed.add((publisher, before[0]))
        if behind < len(ranges) and ranges[behind][0] == number + 1:
            first, before[1] = ranges.pop(behind)
            self._changed.add((publisher, first))
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """What changed, inside the transaction that moves the checkpoint."""
        gone, there = [], []
        for publisher, first in self._changed:
            ranges = self._ranges[publisher]
            at = bisect_right(ranges, first, key=_first) - 1
            if at >= 0 and ranges[at][0] == first:
                there.append((publisher, *ranges[at]))
            else:
                gone.append((publisher, first))
        connection.executemany("DELETE FROM seen_events WHERE publisher = ? AND first = ?", gone)
        connection.executemany("INSERT OR REPLACE INTO seen_events VALUES (?, ?, ?)", there)
        connection.execute("UPDATE verified SET sequence = ?, link = ?", self.verified)
        self._changed.clear()


def was_verified(connection: sqlite3.Connection) -> bool:
    """Whether somebody with keys has applied entries to a file: from then on nobody without may."""
    return bool(
        connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'verified'").fetchone()[0]
    )


def read_seen(
    connection: sqlite3.Connection, before: Checkpoint, unsigned_to: int, first_link: bytes
) -> SeenEvents:
    """What a file has met up to its checkpoint; its tables are made where they are missing.

    Raises NotBuilt where it has applied entries behind `unsigned_to` that nobody verified.
    """
    verified = None
    if was_verified(connection):
        found = connection.execute("SELECT sequence, link FROM verified").fetchone()
        verified = found and Verified(*found)
    if verified is not None and verified.sequence == before.sequence:
        return SeenEvents(
            verified,
            connection.execute("SELECT publisher, first, last FROM seen_events ORDER BY publisher, first"),
        )
    if before.sequence > unsigned_to:
        first = (verified.sequence if verified else unsigned_to) + 1
        raise NotBuilt(
            f"entries number {first} to {before.sequence} were applied, and nobody looked at their signatures. If the "
            "log was not signed until now, and all that is in it is to be trusted: `eventlog keys begin`, once. Else "
            "build the projection anew: `SERVICE rebuild --switch`"
        )
    for name, create in SEEN_TABLES.items():
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.execute(create)
    begun = Verified(before.sequence, None if before.sequence else first_link)
    connection.execute("INSERT INTO verified VALUES (1, ?, ?)", begun)
    return SeenEvents(begun)


def _first(found: list[int]) -> int:
    return found[0]
