"""How far a projection has applied the log: one row beside the projection's rows."""

from __future__ import annotations

import json
import sqlite3
from functools import lru_cache
from typing import Any, NamedTuple

from eventlog.errors import CheckpointMoved, MomentsDiffer
from eventlog.position import START, Position

CHECKPOINT_COLUMNS = {
    "only": int,
    "projection": str,
    "version": int,
    "log_id": str,
    "position": str,
    "sequence": int,
    "digest": str,
    "passed_over": str,
}

_READ = "SELECT projection, version, log_id, position, sequence, digest, passed_over FROM checkpoint WHERE only = 1"
_COMPARE_AND_SET = (
    "UPDATE checkpoint SET log_id = ?, position = ?, sequence = ?, digest = ?, passed_over = ?"
    " WHERE only = 1 AND projection = ? AND version = ? AND log_id = ? AND position = ? AND sequence = ?"
)


class Checkpoint(NamedTuple):
    """The last entry applied. A projection that has applied nothing is at `START`, sequence 0.

    `log_id` and `digest` are empty until there is a log and an entry; `passed_over` holds the event
    types that were met and not handled.
    """

    projection: str
    version: int
    log_id: str = ""
    position: Position = START
    sequence: int = 0
    digest: str = ""
    passed_over: frozenset[str] = frozenset()


def read_checkpoint(connection: sqlite3.Connection) -> Checkpoint | None:
    """The file's checkpoint; None in a file that was never set up, `sqlite3.DatabaseError` if it is nonsense."""
    try:
        row = connection.execute(_READ).fetchone()
    except sqlite3.OperationalError as problem:
        if is_damage(problem):
            raise sqlite3.DatabaseError(f"its checkpoint cannot be read: {problem}") from problem
        raise
    return None if row is None else _as_checkpoint(row)


@lru_cache(maxsize=16)  # every read of a projection reads it, and it seldom moved since the one before
def _as_checkpoint(row: tuple[Any, ...]) -> Checkpoint:
    projection, version, log_id, position, sequence, digest, passed_over = row
    try:
        names = json.loads(passed_over)
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError(f"{passed_over!r} are no event types")  # noqa: TRY301  # named below, as the rest is
        checkpoint = Checkpoint(
            projection,
            version,
            log_id,
            Position.parse(position),
            sequence,
            digest,
            frozenset(names),
        )
    except (ValueError, TypeError) as problem:
        raise sqlite3.DatabaseError(f"its checkpoint is nonsense: {problem}") from problem
    if None in row:
        raise sqlite3.DatabaseError("its checkpoint is nonsense: a value is missing")
    return checkpoint


def is_damage(problem: Exception) -> bool:
    """Whether a file could be read or written and is not what it was: else it may be another time."""
    if isinstance(problem, sqlite3.OperationalError):  # no such table or column, text that is none
        return getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR
    # SQLite's word for damage is the class itself; a constraint is broken by rows that no handler wrote.
    return type(problem) in {sqlite3.DatabaseError, sqlite3.IntegrityError, UnicodeDecodeError}


def insert_checkpoint(connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Set up a new file's one row."""
    connection.execute(
        "INSERT INTO checkpoint (projection, version, log_id, position, sequence, digest, passed_over, only)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (checkpoint.projection, checkpoint.version, *_stored(checkpoint)),
    )


def compare_and_set(connection: sqlite3.Connection, before: Checkpoint, after: Checkpoint) -> None:
    """Move from `before` to `after` inside the caller's transaction; CheckpointMoved if it is elsewhere."""
    moved = connection.execute(
        _COMPARE_AND_SET,
        (
            *_stored(after),
            before.projection,
            before.version,
            before.log_id,
            str(before.position),
            before.sequence,
        ),
    )
    if moved.rowcount != 1:
        raise CheckpointMoved(
            f"the checkpoint of {before.projection} is no longer at {before.position}: another tail moved it"
        )


def require_same_moment(serving: Checkpoint, candidate: Checkpoint) -> None:
    """Raise MomentsDiffer unless both files have applied the same log up to the same entry."""
    if serving.log_id and serving[2:6] != candidate[2:6]:
        raise MomentsDiffer(
            f"{serving.projection} is served as of number {serving.sequence} at {serving.position} of log "
            f"{serving.log_id}; the other generation stands at number {candidate.sequence} at {candidate.position} of "
            f"log {candidate.log_id or 'none'}: the log is no longer what is served. See `eventlog doctor`"
        )


def require_no_step_back(serving: Checkpoint, candidate: Checkpoint) -> None:
    """Raise MomentsDiffer unless the candidate has applied at least as much of the same log."""
    ahead = candidate.log_id == serving.log_id and candidate.sequence > serving.sequence
    if not ahead:
        require_same_moment(serving, candidate)


def _stored(checkpoint: Checkpoint) -> tuple[str, str, int, str, str]:
    return (
        checkpoint.log_id,
        str(checkpoint.position),
        checkpoint.sequence,
        checkpoint.digest,
        json.dumps(sorted(checkpoint.passed_over)),
    )
