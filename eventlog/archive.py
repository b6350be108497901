"""The archive: one SQLite file that keeps every entry of a log, and what else it takes to write the log back.

One process writes it (see archiving.py); any number of threads and processes read. Knows nothing of Redis.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from sqlite_utils import Database

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.continuity import NumberedEntry, Snapshot
from eventlog.errors import ArchiveUnusable
from eventlog.position import Position

_NEW = Checkpoint("archive", 1)  # "projection" and version: of this file's form
_BUSY_TIMEOUT_MS = 5000
_WAL_LIMIT_BYTES = 4 * 1024 * 1024
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

AnswerT = TypeVar("AnswerT")


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
            self._opened_as = _identity(path)
            with damage_named(path):
                self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def checkpoint(self) -> Checkpoint:
        """The last entry kept. ArchiveUnusable if the file was moved since: open it anew to begin another."""
        if _identity(self.path) != self._opened_as:
            raise ArchiveUnusable(
                f"{self.path} was moved or deleted: start the archive again to begin another"
            )
        return _checkpoint(self._connection, self.path)

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
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            checkpoints.compare_and_set(self._connection, before, after)
            self._write(entries, kept, forget_commands_before)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _write(self, entries: Sequence[NumberedEntry], kept: Kept, forget_commands_before: Position) -> None:
        self._connection.executemany(
            "INSERT INTO entries (sequence, position, fields) VALUES (?, ?, ?)",
            [
                (found.sequence, _stored(found.entry.position), msgspec.msgpack.encode(found.entry.fields))
                for found in entries
            ],
        )
        self._connection.execute("DELETE FROM meta")
        self._connection.executemany("INSERT INTO meta (field, value) VALUES (?, ?)", list(kept.meta.items()))
        self._connection.executemany(
            "INSERT OR REPLACE INTO commands (record, position, sequence, fingerprint, result) VALUES (?, ?, ?, ?, ?)",
            [(record, _stored(position), *rest) for record, position, *rest in kept.commands],
        )
        self._connection.execute(
            "DELETE FROM commands WHERE position < ?", (_stored(forget_commands_before),)
        )

    def _set_up(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # FULL: Redis is trimmed to what is here, so it must be on disk before it is confirmed.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        database = Database(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")
        if not database.table("checkpoint").exists():
            database.table("checkpoint").create(dict(checkpoints.CHECKPOINT_COLUMNS), pk="only", strict=True)
            for statement in _SCHEMA:
                self._connection.execute(statement)
            checkpoints.insert_checkpoint(self._connection, _NEW)
        self._connection.execute("COMMIT")
        self.checkpoint()


class ArchiveReader:
    """The readers' side. Opens the file with the first question, once per thread and process.

    What cannot be answered is ArchiveUnusable: no file, a damaged one, one that lacks an entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = threading.local()

    def checkpoint(self) -> Checkpoint:
        """The last entry kept."""
        return self._ask(lambda connection: _checkpoint(connection, self.path))

    def find(self, position: Position) -> Entry | None:
        found = self._ask(
            lambda connection: connection.execute(
                "SELECT fields FROM entries WHERE position = ?", (_stored(position),)
            ).fetchone()
        )
        return None if found is None else _entry(position, found[0])

    def read(self, after: Position, up_to: Position, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as far as `up_to`, with none left out between them."""

        def read(connection: sqlite3.Connection) -> list[Entry]:
            rows = connection.execute(
                "SELECT sequence, position, fields FROM entries WHERE position > ? AND position <= ?"
                " ORDER BY position LIMIT ?",
                (_stored(after), _stored(up_to), count),
            ).fetchall()
            expected = _ordinal(connection, after)
            for sequence, _, _ in rows:
                expected += 1
                if sequence != expected:
                    raise ArchiveUnusable(f"{self.path} lacks entry number {expected}")
            return [_entry(_position(position), fields) for _, position, fields in rows]

        return self._ask(read)

    def has(self, after: Position, up_to: Position, count: int) -> bool:
        """Whether `count` entries lie behind `after`, as far as `up_to`; counts none of them."""
        try:
            return after < up_to and self._ask(
                lambda connection: _ordinal(connection, up_to) - _ordinal(connection, after) >= count
            )
        except ArchiveUnusable:
            return False

    def count(self, after: Position, up_to: Position) -> int:
        """How many entries lie behind `after`, up to and including `up_to`. Counts them all."""
        counted: int = self._ask(
            lambda connection: connection.execute(
                "SELECT count(*) FROM entries WHERE position > ? AND position <= ?",
                (_stored(after), _stored(up_to)),
            ).fetchone()[0]
        )
        return counted

    def kept(self) -> Kept:
        """What goes with the entries; the commands in the order in which they were carried out."""

        def read(connection: sqlite3.Connection) -> Kept:
            meta = dict(connection.execute("SELECT field, value FROM meta").fetchall())
            commands = connection.execute(
                "SELECT record, position, sequence, fingerprint, result FROM commands ORDER BY position"
            )
            return Kept(
                meta,
                [NamedCommand(record, _position(at), *rest) for record, at, *rest in commands.fetchall()],
            )

        return self._ask(read)

    def check(self) -> None:
        """ArchiveUnusable unless the file is sound and has every entry up to its checkpoint. Reads it all."""

        def check(connection: sqlite3.Connection) -> None:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise ArchiveUnusable(f"{self.path} is damaged: {found}")
            expected = _checkpoint(connection, self.path).sequence
            there = connection.execute(
                "SELECT count(*), coalesce(min(sequence), 1), coalesce(max(sequence), 0) FROM entries"
                " WHERE sequence <= ?",
                (expected,),
            ).fetchone()
            if there != (expected, 1, expected):
                raise ArchiveUnusable(f"{self.path} has {there[0]} of the {expected} entries it should have")

        self._ask(check)

    def require_all(self, log_id: str, sequence: int) -> None:
        """ArchiveUnusable unless it is of this log and has every entry up to a sequence."""

        def require(connection: sqlite3.Connection) -> None:
            found = _checkpoint(connection, self.path)
            if found.log_id != log_id:
                raise ArchiveUnusable(f"{self.path} is of log {found.log_id or '(none yet)'}")
            there = connection.execute(
                "SELECT count(*) FROM entries WHERE sequence <= ?", (sequence,)
            ).fetchone()[0]
            if there != sequence:
                raise ArchiveUnusable(f"{self.path} has {there} of the first {sequence} entries")

        self._ask(require)

    def complete(self, snapshot: Snapshot, after: Position, count: int) -> Snapshot:
        """The snapshot with what was trimmed of it, as if nothing had been."""
        state = snapshot.state
        try:
            last_trimmed = state.trimmed_to.previous()
            self._require_trimmed_part(state.log_id, last_trimmed, state.trimmed)
            entries = self.read(after, last_trimmed, count)
            at_checkpoint = snapshot.at_checkpoint or self.find(after)
        except ArchiveUnusable as problem:
            return snapshot._replace(unarchived=str(problem))
        seen_to = entries[-1].position if entries else after
        entries += [entry for entry in snapshot.entries if entry.position > seen_to]
        del entries[count:]
        seen_to = entries[-1].position if entries else after
        return Snapshot(state, at_checkpoint, entries, seen_to >= state.end, unarchived="")

    def _require_trimmed_part(self, log_id: str | None, up_to: Position, trimmed: int) -> None:
        """ArchiveUnusable unless it is of this log, and has everything that was trimmed."""

        def require(connection: sqlite3.Connection) -> None:
            found = _checkpoint(connection, self.path)
            if found.log_id != log_id:
                raise ArchiveUnusable(f"{self.path} is of log {found.log_id or '(none yet)'}")
            archived = _ordinal(connection, up_to)
            if archived < trimmed:
                raise ArchiveUnusable(
                    f"{self.path} has {archived} of the {trimmed} entries that were trimmed"
                )

        self._ask(require)

    def _ask(self, question: Callable[[sqlite3.Connection], AnswerT]) -> AnswerT:
        with damage_named(self.path):
            try:
                return question(self._connection())
            except sqlite3.OperationalError as problem:
                raise ArchiveUnusable(f"{self.path} cannot be read: {problem}") from problem

    def _connection(self) -> sqlite3.Connection:
        file = _identity(self.path)
        if file is None:
            raise ArchiveUnusable(f"there is no archive {self.path}")
        identity = (os.getpid(), *file)
        if getattr(self._opened, "identity", None) != identity:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            self._opened.connection = connection
            self._opened.identity = identity
        opened: sqlite3.Connection = self._opened.connection
        return opened


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


def _checkpoint(connection: sqlite3.Connection, path: Path) -> Checkpoint:
    found = checkpoints.read_checkpoint(connection)
    if found is None or found[:2] != _NEW[:2]:
        raise ArchiveUnusable(f"{path} is not an archive of this version")
    return found


def _ordinal(connection: sqlite3.Connection, position: Position) -> int:
    """The sequence of the last entry up to a position; 0 if there is none."""
    found = connection.execute(
        "SELECT sequence FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1",
        (_stored(position),),
    ).fetchone()
    return 0 if found is None else int(found[0])


def _stored(position: Position) -> bytes:
    """16 bytes that sort as the position does."""
    return position.milliseconds.to_bytes(_HALF_BYTES) + position.counter.to_bytes(_HALF_BYTES)


def _position(stored: bytes) -> Position:
    return Position(int.from_bytes(stored[:_HALF_BYTES]), int.from_bytes(stored[_HALF_BYTES:]))


def _entry(position: Position, fields: bytes) -> Entry:
    return Entry(str(position).encode(), msgspec.msgpack.decode(fields, type=list[bytes]))


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file the path names now; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
