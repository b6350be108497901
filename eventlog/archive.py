"""The archive: one SQLite file that keeps every entry of a log, and what else it takes to write the log back.

One process writes it (see archiving.py); archive_reader.py is for those that read. Knows nothing of Redis.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import NumberedEntry
from eventlog.errors import ArchiveUnusable
from eventlog.position import Position
from eventlog.sqlite_file import file_identity, prepare_for_writing, transaction

_NEW = Checkpoint("archive", 1)  # "projection" and version: of this file's form
_HALF_BYTES = 8  # of a position: an unsigned 64-bit integer, which SQLite has not got

_SCHEMA = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, position BLOB NOT NULL UNIQUE, fields BLOB NOT NULL) STRICT",
    "CREATE TABLE meta (field BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    (
        "CREATE TABLE commands (record TEXT PRIMARY KEY, position BLOB NOT NULL, sequence INTEGER NOT NULL,"
        " fingerprint TEXT NOT NULL, result TEXT NOT NULL) STRICT, WITHOUT ROWID"
    ),
    "CREATE INDEX commands_by_position ON commands (position)",
)


class NamedCommand(NamedTuple):
    """The record of a command that its client named: `record` is the last part of its key, the rest as it ended."""

    record: str
    position: Position
    sequence: int
    fingerprint: str
    result: str


class Kept(NamedTuple):
    """What is kept of a log beside its entries: its meta as of the last of them, and the named commands behind it."""

    meta: Mapping[bytes, bytes]
    commands: Sequence[NamedCommand]


class Archive:
    """The writer's side. Opening makes the directory and the file where they are missing.

    Raises ArchiveUnusable for a file that is damaged, or something else. `sqlite3.Error` means that nothing
    was changed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._opened_as = file_identity(path)
            with damage_named(path):
                self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def checkpoint(self) -> Checkpoint:
        """The last entry kept. ArchiveUnusable if the file was moved since: open it anew to begin another."""
        if file_identity(self.path) != self._opened_as:
            raise ArchiveUnusable(
                f"{self.path} was moved or deleted: start the archive again to begin another"
            )
        return read_archive_checkpoint(self._connection, self.path)

    def commit(
        self,
        before: Checkpoint,
        after: Checkpoint,
        entries: Sequence[NumberedEntry],
        kept: Kept,
        *,
        forget_commands_before: Position,
    ) -> None:
        """Put entries, what goes with them and the checkpoint on disk together, or none of them.

        Raises CheckpointMoved, with nothing written, if the checkpoint is not at `before`.
        """
        with transaction(self._connection):
            checkpoints.compare_and_set(self._connection, before, after)
            self._write(entries, kept, forget_commands_before)

    def _write(self, entries: Sequence[NumberedEntry], kept: Kept, forget_commands_before: Position) -> None:
        self._connection.executemany(
            "INSERT INTO entries (sequence, position, fields) VALUES (?, ?, ?)",
            [
                (found.sequence, to_stored(found.entry.position), msgspec.msgpack.encode(found.entry.fields))
                for found in entries
            ],
        )
        self._connection.execute("DELETE FROM meta")
        self._connection.executemany("INSERT INTO meta (field, value) VALUES (?, ?)", list(kept.meta.items()))
        self._connection.executemany(
            "INSERT OR REPLACE INTO commands (record, position, sequence, fingerprint, result) VALUES (?, ?, ?, ?, ?)",
            [(record, to_stored(position), *rest) for record, position, *rest in kept.commands],
        )
        self._connection.execute(
            "DELETE FROM commands WHERE position < ?", (to_stored(forget_commands_before),)
        )

    def _set_up(self) -> None:
        # FULL: Redis is trimmed to what is here, so it must be on disk before it is confirmed.
        prepare_for_writing(self._connection, synchronous="FULL")
        database = Database(self._connection)
        with transaction(self._connection):
            if not database.table("checkpoint").exists():
                columns = dict(checkpoints.CHECKPOINT_COLUMNS)
                database.table("checkpoint").create(columns, pk="only", strict=True)
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                checkpoints.insert_checkpoint(self._connection, _NEW)
        self.checkpoint()


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Inside it, what SQLite finds damaged is ArchiveUnusable."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError, msgspec.MsgspecError) as problem:
        # A subclass is for another time or another program; SQLite's word for damage is the class itself.
        if type(problem) is sqlite3.DatabaseError or not isinstance(problem, sqlite3.Error):
            raise ArchiveUnusable(f"{path} is damaged: {problem}") from problem
        raise


def read_archive_checkpoint(connection: sqlite3.Connection, path: Path) -> Checkpoint:
    """The last entry kept; ArchiveUnusable for a file of something else."""
    found = checkpoints.read_checkpoint(connection)
    if found is None or found[:2] != _NEW[:2]:
        raise ArchiveUnusable(f"{path} is not an archive of this version")
    return found


def to_stored(position: Position) -> bytes:
    """16 bytes that sort as the position does."""
    return position.milliseconds.to_bytes(_HALF_BYTES) + position.counter.to_bytes(_HALF_BYTES)


def from_stored(stored: bytes) -> Position:
    """The position that was stored as these bytes."""
    return Position(int.from_bytes(stored[:_HALF_BYTES]), int.from_bytes(stored[_HALF_BYTES:]))
