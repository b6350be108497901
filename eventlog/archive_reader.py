"""Questions to an archive, from any number of threads and processes, while it is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from eventlog.archive import Kept, NamedCommand, damage_named, from_stored, read_archive_checkpoint, to_stored
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.continuity import Snapshot
from eventlog.errors import ArchiveUnusable
from eventlog.position import Position
from eventlog.sqlite_file import ReadOnlyConnections

AnswerT = TypeVar("AnswerT")


class ArchiveReader:
    """The readers' side. Opens the file with the first question, once per thread and process.

    What cannot be answered is ArchiveUnusable: no file, a damaged one, one that lacks an entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections = ReadOnlyConnections(path)

    def checkpoint(self) -> Checkpoint:
        """The last entry kept."""
        return self._ask(lambda connection: read_archive_checkpoint(connection, self.path))

    def find(self, position: Position) -> Entry | None:
        found = self._ask(
            lambda connection: connection.execute(
                "SELECT fields FROM entries WHERE position = ?", (to_stored(position),)
            ).fetchone()
        )
        return None if found is None else _entry(position, found[0])

    def read(self, after: Position, up_to: Position, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as far as `up_to`, with none left out between them."""

        def read(connection: sqlite3.Connection) -> list[Entry]:
            rows = connection.execute(
                "SELECT sequence, position, fields FROM entries WHERE position > ? AND position <= ?"
                " ORDER BY position LIMIT ?",
                (to_stored(after), to_stored(up_to), count),
            ).fetchall()
            expected = _ordinal(connection, after)
            for sequence, _, _ in rows:
                expected += 1
                if sequence != expected:
                    raise ArchiveUnusable(f"{self.path} lacks entry number {expected}")
            return [_entry(from_stored(position), fields) for _, position, fields in rows]

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
                (to_stored(after), to_stored(up_to)),
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
                [NamedCommand(record, from_stored(at), *rest) for record, at, *rest in commands.fetchall()],
            )

        return self._ask(read)

    def check(self) -> None:
        """ArchiveUnusable unless the file is sound and has every entry up to its checkpoint. Reads it all."""

        def check(connection: sqlite3.Connection) -> None:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise ArchiveUnusable(f"{self.path} is damaged: {found}")
            expected = read_archive_checkpoint(connection, self.path).sequence
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
            self._require_log(connection, log_id)
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
            self._require_log(connection, log_id)
            archived = _ordinal(connection, up_to)
            if archived < trimmed:
                raise ArchiveUnusable(
                    f"{self.path} has {archived} of the {trimmed} entries that were trimmed"
                )

        self._ask(require)

    def _require_log(self, connection: sqlite3.Connection, log_id: str | None) -> None:
        found = read_archive_checkpoint(connection, self.path).log_id
        if found != log_id:
            raise ArchiveUnusable(f"{self.path} is of log {found or '(none yet)'}")

    def _ask(self, question: Callable[[sqlite3.Connection], AnswerT]) -> AnswerT:
        with damage_named(self.path):
            try:
                opened = self._connections.current()
                if opened is None:
                    raise ArchiveUnusable(f"there is no archive {self.path}")
                return question(opened[0])
            except sqlite3.OperationalError as problem:
                raise ArchiveUnusable(f"{self.path} cannot be read: {problem}") from problem


def _ordinal(connection: sqlite3.Connection, position: Position) -> int:
    """The sequence of the last entry up to a position; 0 if there is none."""
    found = connection.execute(
        "SELECT sequence FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1",
        (to_stored(position),),
    ).fetchone()
    return 0 if found is None else int(found[0])


def _entry(position: Position, fields: bytes) -> Entry:
    return Entry(str(position).encode(), msgspec.msgpack.decode(fields, type=list[bytes]))
