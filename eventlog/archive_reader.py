"""Questions to an archive, from any number of threads and processes, while it is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from eventlog.archive import FORM_WITHOUT_CHAIN, Kept, NamedCommand, damage_named, read_archive_checkpoint
from eventlog.archive_chain import (
    Row,
    Seal,
    digest_beside,
    first_link,
    follow,
    from_stored,
    read_seal,
    to_stored,
)
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.continuity import Snapshot
from eventlog.counted import counted
from eventlog.errors import ArchiveDisagrees, ArchiveUnusable
from eventlog.position import START, Position
from eventlog.sqlite_file import ReadOnlyConnections

AnswerT = TypeVar("AnswerT")

_CHUNK = 1000


class Sealed(NamedTuple):
    """What an archive's rows must fit, all of one moment; `stray` is the first row that belongs to no entry kept."""

    end: Checkpoint
    seal: Seal | None
    stray: Row | None
    meta: bytes
    commands: bytes


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
        """The entry at a position."""
        found = self.read(position.previous(), position, 1) if position > START else []
        return found[0] if found else None

    def read(self, after: Position, up_to: Position, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as far as `up_to`, with none left out between them, as they were kept.

        ArchiveAltered names the first that is not; a file of the form without a chain shows only what is left out.
        """

        def read(connection: sqlite3.Connection) -> list[Entry]:
            end = read_archive_checkpoint(connection, self.path)
            rows = _select_rows(
                connection,
                end,
                "position > ? AND position <= ? ORDER BY position LIMIT ?",
                (to_stored(after), to_stored(up_to), count),
            )
            before = _select_rows(
                connection, end, "position <= ? ORDER BY position DESC LIMIT 1", (to_stored(after),)
            )
            last = (before[0].sequence, before[0].link) if before else (0, first_link(end.log_id))
            follow(self.path, last, rows, chained=is_chained(end))
            return [entry_of(row) for row in rows]

        return self._ask(read)

    def read_back(self, up_to: Position, count: int) -> list[Entry]:
        """Up to `count` entries that end at a position or before it; the newest first, checked as `read` does."""
        before = self._ask(
            lambda connection: connection.execute(
                "SELECT position FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1 OFFSET ?",
                (to_stored(up_to), count),
            ).fetchone()
        )
        return self.read(from_stored(before[0]) if before else START, up_to, count)[::-1]

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

    def read_rows(self, end: Checkpoint) -> Iterator[list[Row]]:
        """Every row up to a checkpoint as it is stored, in order, 1,000 at a time; it may end early."""
        seen_to = 0
        while seen_to < end.sequence:
            rows = self._ask(
                partial(
                    _select_rows,
                    end=end,
                    which="sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?",
                    values=(seen_to, end.sequence, _CHUNK),
                )
            )
            if not rows:
                return
            yield rows
            seen_to = rows[-1].sequence

    def read_sealed(self) -> Sealed:
        """What is beside the rows. ArchiveUnusable where SQLite finds the file damaged."""

        def read(connection: sqlite3.Connection) -> Sealed:
            _require_sound(connection, self.path)
            connection.execute("BEGIN")
            try:
                return read_sealed(connection, self.path)
            finally:
                connection.execute("ROLLBACK")

        return self._ask(read)

    def require_entries(self, entries: Sequence[Entry]) -> None:
        """ArchiveDisagrees unless it keeps these, which follow each other, just so; names the first that differs."""
        if not entries:
            return
        before = entries[0].position.previous()
        kept = self.read(before, entries[-1].position, len(entries) + 1)
        for index, (there, here) in enumerate(zip_longest(entries, kept)):
            if there != here:
                number = self._ask(lambda connection: _ordinal(connection, before)) + index + 1
                at = (there or here).position
                raise ArchiveDisagrees(f"{self.path} and Redis disagree on entry number {number}, at {at}")

    def require_all(self, log_id: str, sequence: int) -> None:
        """ArchiveUnusable unless it is of this log and has every entry up to a sequence."""

        def require(connection: sqlite3.Connection) -> None:
            self._require_log(connection, log_id)
            there = connection.execute(
                "SELECT count(*) FROM entries WHERE sequence <= ?", (sequence,)
            ).fetchone()[0]
            if there != sequence:
                raise ArchiveUnusable(f"{self.path} has {there} of the first {counted(sequence, 'entry')}")

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
                    f"{self.path} has {archived} of the {counted(trimmed, 'entry')} trimmed from Redis"
                )

        self._ask(require)

    def _require_log(self, connection: sqlite3.Connection, log_id: str | None) -> None:
        found = read_archive_checkpoint(connection, self.path).log_id
        if found != log_id:
            raise ArchiveUnusable(
                f"{self.path} is of log {found}" if found else f"{self.path} has kept nothing yet"
            )

    def _ask(self, question: Callable[[sqlite3.Connection], AnswerT]) -> AnswerT:
        with damage_named(self.path):
            try:
                with self._connections.lend() as opened:
                    if opened is None:
                        raise ArchiveUnusable(f"there is no archive {self.path}")
                    return question(opened[0])
            except sqlite3.OperationalError as problem:
                raise ArchiveUnusable(f"{self.path} cannot be read: {problem}") from problem


def read_sealed(connection: sqlite3.Connection, path: Path) -> Sealed:
    """All in the transaction that the connection is in."""
    end = read_archive_checkpoint(connection, path)
    stray = _select_rows(
        connection, end, "sequence < 1 OR sequence > ? ORDER BY sequence LIMIT 1", (end.sequence,)
    )
    seal = read_seal(connection) if is_chained(end) else None
    return Sealed(end, seal, stray[0] if stray else None, *digest_beside(connection))


def read_last_row(connection: sqlite3.Connection, end: Checkpoint) -> Row | None:
    """The one that the checkpoint is of; None if it is missing."""
    found = _select_rows(connection, end, "sequence = ?", (end.sequence,))
    return found[0] if found else None


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    """ArchiveUnusable with the first that SQLite finds damaged, and with the mend where only an index is."""

    def find(check: str) -> str:
        told: str = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
        return told.removeprefix("*** in database main ***\n").replace("\n", "; ")

    if (found := find("integrity_check")) != "ok":
        # The quick one compares no index with its table.
        mend = f". Only an index is: `sqlite3 {path} reindex`" if find("quick_check") == "ok" else ""
        raise ArchiveUnusable(f"{path} is damaged: {found}{mend}")


def is_chained(end: Checkpoint) -> bool:
    """Whether the file that ends so has a chain."""
    return end.version != FORM_WITHOUT_CHAIN


def _select_rows(
    connection: sqlite3.Connection, end: Checkpoint, which: str, values: Sequence[object]
) -> list[Row]:
    link = "link" if is_chained(end) else "x''"
    found = connection.execute(
        f"SELECT sequence, position, fields, {link} FROM entries WHERE {which}", tuple(values)
    )
    return list(map(Row._make, found.fetchall()))


def _ordinal(connection: sqlite3.Connection, position: Position) -> int:
    """The sequence of the last entry up to a position; 0 if there is none."""
    found = connection.execute(
        "SELECT sequence FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1",
        (to_stored(position),),
    ).fetchone()
    return 0 if found is None else int(found[0])


def entry_of(row: Row) -> Entry:
    """As Redis stored it; msgspec.MsgspecError for fields that are none."""
    position = str(from_stored(row.position))
    return Entry(position.encode(), msgspec.msgpack.decode(row.fields, type=list[bytes]))
