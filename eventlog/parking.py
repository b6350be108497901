"""Entries set aside: by reference, with the reason, until somebody has looked at them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from eventlog.errors import InvalidPosition
from eventlog.position import Position

PARKED_COLUMNS = {
    "sequence": int,
    "position": str,
    "event_type": str,
    "reason": str,
    "parked_at": str,
    "acknowledged_at": str,
}
_CLOCKS_DIFFER: Final = timedelta(minutes=1)  # between what set it aside and what looks


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
    return [_as_parked(row) for row in found]


def list_acknowledged(connection: sqlite3.Connection) -> list[Parked]:
    """All that somebody has acknowledged at a time that can be, in order of sequence."""
    return [entry for entry in _iterate_acknowledged(connection) if isinstance(entry, Parked)]


def list_impossible(connection: sqlite3.Connection) -> list[str]:
    """Where something else than an acknowledgement wrote when it was made, or where, a sentence each."""
    return [reason for reason in _iterate_acknowledged(connection) if isinstance(reason, str)]


def why_impossible(entry: Parked) -> str:
    """Why it cannot have been acknowledged at the time that is written; empty if it can."""
    what = f"parked entry {entry.sequence} is acknowledged at {entry.acknowledged_at!r}, "
    try:
        parked_at = datetime.fromisoformat(entry.parked_at)
        acknowledged_at = datetime.fromisoformat(entry.acknowledged_at or "")
        if acknowledged_at < parked_at:
            return f"{what}before it was parked, at {entry.parked_at!r}"
        if acknowledged_at > datetime.now(UTC) + _CLOCKS_DIFFER:
            return f"{what}in the future"
    except (TypeError, ValueError):  # no text, no time, or one without its zone
        return f"{what}parked at {entry.parked_at!r}: not both are times"
    return ""


def _iterate_acknowledged(connection: sqlite3.Connection) -> Iterator[Parked | str]:
    """Each that somebody has acknowledged; or why it cannot be so."""
    found = connection.execute(
        f"SELECT {', '.join(PARKED_COLUMNS)} FROM parked WHERE acknowledged_at IS NOT NULL ORDER BY sequence"
    )
    for row in found:
        try:
            entry = _as_parked(row)
        except sqlite3.DatabaseError as nonsense:
            yield str(nonsense)
        else:
            yield why_impossible(entry) or entry


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
    """Mark what was parked here too, for the same reason, as parked and acknowledged when it was."""
    connection.executemany(
        "UPDATE parked SET parked_at = ?, acknowledged_at = ? WHERE sequence = ? AND position = ? AND reason = ?"
        " AND acknowledged_at IS NULL",
        [
            (entry.parked_at, entry.acknowledged_at, entry.sequence, str(entry.position), entry.reason)
            for entry in acknowledged
        ],
    )


def _as_parked(row: tuple[Any, ...]) -> Parked:
    """`sqlite3.DatabaseError` for one that nobody here has written."""
    sequence, position, *rest = row
    try:
        return Parked(sequence, Position.parse(position), *rest)
    except (InvalidPosition, TypeError) as problem:
        raise sqlite3.DatabaseError(f"parked entry {sequence} is nonsense: {problem}") from problem
