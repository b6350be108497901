"""The archive: one SQLite file that keeps every entry of a log, and what else it takes to write the log back.

One process writes it (see archiving.py); archive_reader.py is for those that read. Knows nothing of Redis.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from eventlog import checkpoints
from eventlog.archive_chain import (
    COMMAND_COLUMNS,
    CREATE_SEAL,
    NO_COMMANDS,
    Seal,
    add_commands,
    digest_beside,
    first_link,
    meta_digest,
    next_link,
    read_seal,
    to_stored,
    write_seal,
)
from eventlog.archive_upgrade import add_chain
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import NumberedEntry
from eventlog.errors import ArchiveAltered, ArchiveUnusable
from eventlog.position import START, Position
from eventlog.private_files import make_private_database, make_private_directory
from eventlog.sqlite_file import file_identity, prepare_for_writing, transaction

_FORM: Final = 2
FORM_WITHOUT_CHAIN: Final = 1
_NEW = Checkpoint("archive", _FORM)  # "projection" and version: of this file's form

# In one statement: the file may be given its chain between two.
_HIDES_ITS_CHAIN: Final = (
    f"SELECT 1 FROM checkpoint WHERE version = {FORM_WITHOUT_CHAIN}"
    " AND EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'seal')"
)

_SCHEMA = (
    (
        "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, position BLOB NOT NULL UNIQUE, fields BLOB NOT NULL,"
        " link BLOB NOT NULL) STRICT"
    ),
    CREATE_SEAL,
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

    A file of the form without a chain is given one first; killed meanwhile, it goes on from there next time.

    Raises ArchiveUnusable for a file that is damaged, or something else. `sqlite3.Error` means that nothing
    was changed.
    """

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        make_private_database(path)
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._looked_beside_at: int | None = None  # SQLite's number of what other connections wrote
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

        Raises, with nothing written, CheckpointMoved if the checkpoint is not at `before`, and ArchiveAltered if the
        seal is not of the last entry: what follows it would fit no chain.
        """
        with transaction(self._connection):
            checkpoints.compare_and_set(self._connection, before, after)
            seal = self._seal(after.log_id)
            if before.sequence and seal.link != self._last_link(before):
                raise ArchiveAltered(
                    self.path, before.sequence, before.position, "is not the last one that was kept"
                )
            link = self._write_entries(seal.link, entries)
            self._write_beside(seal._replace(link=link), kept, forget_commands_before)

    def altered_beside(self) -> bool:
        """Whether meta or named commands are not as they were sealed.

        It looks the first time, and then after any other process wrote to the file.
        """
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._looked_beside_at:
            return False
        seal = read_seal(self._connection)
        altered = seal is not None and seal[1:] != digest_beside(self._connection)
        if not altered:
            self._looked_beside_at = version
        return altered

    def renew_beside(self, at: Checkpoint, kept: Kept) -> None:
        """Keep this, of the log as of the checkpoint, instead of the meta and named commands that are in the file.

        Raises CheckpointMoved, with nothing written, if the checkpoint is elsewhere.
        """
        with transaction(self._connection):
            checkpoints.compare_and_set(self._connection, at, at)
            self._connection.execute("DELETE FROM commands")
            self._write_beside(self._seal(at.log_id)._replace(commands=NO_COMMANDS), kept, START)

    def _write_beside(self, seal: Seal, kept: Kept, forget_commands_before: Position) -> None:
        """What goes with the entries, and the seal over both."""
        commands = self._write_commands(seal.commands, kept.commands, forget_commands_before)
        self._connection.execute("DELETE FROM meta")
        self._connection.executemany("INSERT INTO meta (field, value) VALUES (?, ?)", list(kept.meta.items()))
        write_seal(self._connection, Seal(seal.link, meta_digest(kept.meta), commands))

    def _seal(self, log_id: str) -> Seal:
        return read_seal(self._connection) or Seal(first_link(log_id), b"", NO_COMMANDS)

    def _last_link(self, end: Checkpoint) -> bytes | None:
        found = self._connection.execute("SELECT link FROM entries WHERE sequence = ?", (end.sequence,))
        return next((link for (link,) in found), None)

    def _write_entries(self, link: bytes, entries: Sequence[NumberedEntry]) -> bytes:
        """The last link, from the one before them on."""
        rows = []
        for found in entries:
            position, fields = to_stored(found.entry.position), msgspec.msgpack.encode(found.entry.fields)
            link = next_link(link, found.sequence, position, fields)
            rows.append((found.sequence, position, fields, link))
        self._connection.executemany(
            "INSERT INTO entries (sequence, position, fields, link) VALUES (?, ?, ?, ?)", rows
        )
        return link

    def _write_commands(
        self, digest: bytes, commands: Sequence[NamedCommand], forget_before: Position
    ) -> bytes:
        """The digest of all that are remembered now."""
        rows = [(record, to_stored(position), *rest) for record, position, *rest in commands]
        gone = []
        for record, row in zip((command.record for command in commands), rows, strict=True):
            gone += self._forget("record = ?", record)  # it was done again when its day was over
            self._connection.execute(f"INSERT INTO commands ({COMMAND_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
        gone += self._forget("position < ?", to_stored(forget_before))
        return add_commands(digest, rows, gone)

    def _forget(self, which: str, value: str | bytes) -> list[tuple[object, ...]]:
        return self._connection.execute(
            f"DELETE FROM commands WHERE {which} RETURNING {COMMAND_COLUMNS}",
            (value,),
        ).fetchall()

    def _set_up(self) -> None:
        from sqlite_utils import Database  # noqa: PLC0415  # all that starts would wait for it

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
        found = self.checkpoint()
        if found.version == FORM_WITHOUT_CHAIN:
            add_chain(self._connection, self.path, found, form=_FORM)


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
    """The last entry kept, in a file of either form; ArchiveUnusable for a file of something else.

    ArchiveAltered where a file with a chain says that it has none: the step that ends add_chain writes seal and form.
    """
    found = checkpoints.read_checkpoint(connection)
    if (
        found is None
        or found.projection != _NEW.projection
        or not FORM_WITHOUT_CHAIN <= found.version <= _FORM
    ):
        raise ArchiveUnusable(f"{path} is not an archive of this version")
    if found.version == FORM_WITHOUT_CHAIN and connection.execute(_HIDES_ITS_CHAIN).fetchone():
        raise ArchiveAltered(path, None, START, "(the number of its form) was altered")
    return found
