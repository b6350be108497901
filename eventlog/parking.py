"""Entries set aside: by reference, with the reason, until somebody has looked at them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from eventlog.position import Position

PARKED_COLUMNS = {
    "sequence": int,
    "position": str,
    "event_type": str,
    "reason": str,
    "parked_at": str,
    "acknowledged_at": str,
}


class Parked(NamedTuple):
    """An entry that was not applied. Read it with `redis-cli XRANGE <stream> <position> <position>`.

    `event_type` is empty if the entry does not even tell; times are RFC 3339 UTC.
    """

    sequence: int
    position: Position
    event_type: str
    reason: str
    parked_at: str
    acknowledged_at: str | None = None


def park(connection: sqlite3.Connection, entries: Iterable[Parked]) -> None:
    """Write them inside the transaction that moves the checkpoint past them."""
    connection.executemany(
        f"INSERT INTO parked ({', '.join(PARKED_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",
        [(*entry[:1], str(entry.position), *entry[2:]) for entry in entries],
    )


def list_parked(connection: sqlite3.Connection, *, limit: int = 100, after: int = 0) -> list[Parked]:
    """In order of sequence, from the one behind sequence `after` on."""
    found = connection.execute(
        f"SELECT {', '.join(PARKED_COLUMNS)} FROM parked WHERE sequence > ? ORDER BY sequence LIMIT ?",
        (after, limit),
    )
    return _as_parked(found)


def list_acknowledged(connection: sqlite3.Connection) -> list[Parked]:
    """All that somebody has acknowledged, in order of sequence."""
    found = connection.execute(
        f"SELECT {', '.join(PARKED_COLUMNS)} FROM parked WHERE acknowledged_at IS NOT NULL ORDER BY sequence"
    )
    return _as_parked(found)


def count_unacknowledged(connection: sqlite3.Connection) -> int:
    """How many parked entries nobody has acknowledged yet."""
    return int(connection.execute("SELECT count(*) FROM parked WHERE acknowledged_at IS NULL").fetchone()[0])


def acknowledge(connection: sqlite3.Connection, up_to_sequence: int, at: str) -> int:
    """Mark what is parked up to a sequence as seen; answers how many were new. Rows do not change."""
    marked = connection.execute(
        "UPDATE parked SET acknowledged_at = ? WHERE acknowledged_at IS NULL AND sequence <= ?",
        (at, up_to_sequence),
    )
    return marked.rowcount


def carry_over(connection: sqlite3.Connection, acknowledged: Iterable[Parked]) -> None:
    """Mark what was parked here too, for the same reason, as acknowledged when it was."""
    connection.executemany(
        "UPDATE parked SET acknowledged_at = ? WHERE sequence = ? AND position = ? AND reason = ?",
        [
            (entry.acknowledged_at, entry.sequence, str(entry.position), entry.reason)
            for entry in acknowledged
        ],
    )


def _as_parked(found: Iterable[tuple[Any, ...]]) -> list[Parked]:
    return [Parked(sequence, Position.parse(position), *rest) for sequence, position, *rest in found]
