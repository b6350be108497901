"""The SQLite file of one projection: its rows, its checkpoint and what it parked, in one place.

One process writes it (the tail, which holds the lock); any number of threads and processes read.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from eventlog import checkpoints, parking
from eventlog.checkpoints import Checkpoint
from eventlog.errors import NotBuilt, TailRunning
from eventlog.parking import Parked
from eventlog.position import Position
from eventlog.projection import Projection
from eventlog.row_changes import Key, PendingRows, Row, StoredRows, Table

FILE_NAME: Final = "projection.db"
_LOCK_NAME = "tail.lock"
_BUSY_TIMEOUT_MS = 5000
_FIRST_POLL_S, _LONGEST_POLL_S = 0.001, 0.02
_WAL_LIMIT_BYTES = 4 * 1024 * 1024

_OWN_TABLES = (
    Table("checkpoint", "only", checkpoints.CHECKPOINT_COLUMNS),
    Table("parked", "sequence", parking.PARKED_COLUMNS, [(["sequence"], "acknowledged_at IS NULL")]),
)


class ProjectionFile:
    """The writer's side. Opening makes the directory, the file and its tables where they are missing.

    Raises NotBuilt for a file that must be rebuilt: of another projection or version, damaged, or one that
    passed over events this code handles. `sqlite3.Error` means that nothing was changed.
    """

    def __init__(self, directory: Path, projection: Projection) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.projection = projection
        path = directory / FILE_NAME
        try:
            # Autocommit: every transaction is begun and ended here, in so many words.
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._opened_as = _identity(path)
            with self.damage_named(), _closed_unless_done(self._connection):
                self._set_up()
        except sqlite3.OperationalError as problem:
            if checkpoints.makes_no_sense(problem):
                mend = _rebuild(directory)
            else:
                mend = "Free space on its disk, let this user write there, or end what holds it; then start again."
            raise NotBuilt(f"{path} cannot be set up: {problem}. {mend}") from problem

    def close(self) -> None:
        self._connection.close()

    def damage_named(self) -> AbstractContextManager[None]:
        """Inside it, what SQLite finds damaged is NotBuilt, which says how to rebuild it."""
        return _damage_named(self.directory)

    def checkpoint(self) -> Checkpoint:
        """How far the file is now. NotBuilt if it was deleted since: open it anew to start over."""
        if _identity(self.directory / FILE_NAME) != self._opened_as:
            raise NotBuilt(
                f"{self.directory / FILE_NAME} was deleted or replaced: start the tail again to rebuild it"
            )
        return _checked(checkpoints.read_checkpoint(self._connection), self.projection, self.directory)

    def pending_rows(self) -> PendingRows:
        """An empty batch over the rows as they are."""
        return PendingRows(StoredRows(self._connection, self.projection.tables), self.projection.tables)

    def commit(
        self, before: Checkpoint, after: Checkpoint, rows: PendingRows, parked: Iterable[Parked]
    ) -> None:
        """Write rows, parked entries and checkpoint together, or none of them.

        Raises CheckpointMoved, with nothing written, if the checkpoint is not at `before`.
        """
        with self._transaction():
            self.move_checkpoint(before, after)
            rows.write(self._connection)
            parking.park(self._connection, parked)

    def move_checkpoint(self, before: Checkpoint, after: Checkpoint) -> None:
        """The compare-and-set, inside the transaction that writes the rows."""
        checkpoints.compare_and_set(self._connection, before, after)

    def acknowledge(self, up_to_sequence: int, at: str) -> int:
        """Mark parked entries as seen; answers how many."""
        with self._transaction():
            return parking.acknowledge(self._connection, up_to_sequence, at)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # Immediate: a deferred transaction that reads first fails with BUSY_SNAPSHOT on its first write.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _set_up(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the last commits, rows and checkpoint alike; the log gives them again.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        database = Database(self._connection)
        with self._transaction():
            if not database.table("checkpoint").exists():
                for table in (*_OWN_TABLES, *self.projection.tables):
                    _create(database, table)
                checkpoints.insert_checkpoint(
                    self._connection, Checkpoint(self.projection.name, self.projection.version)
                )
        self.checkpoint()


class ProjectionReader:
    """The readers' side: consistent looks at the file. Opens it lazily, once per thread and process."""

    def __init__(self, directory: Path, projection: Projection) -> None:
        self.directory = directory
        self.projection = projection
        self._opened = threading.local()

    @contextmanager
    def look(self) -> Iterator[Look]:
        """One read transaction: rows and checkpoint in it are of the same moment.

        Keep it short: an open reader keeps the WAL from being reused. Raises NotBuilt.
        """
        with _damage_named(self.directory):
            connection = self._connection()
            try:
                connection.execute("BEGIN")
                stored = _checked(checkpoints.read_checkpoint(connection), self.projection, self.directory)
                yield Look(connection, self.projection, stored)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def wait_until_applied(self, position: Position, timeout_s: float) -> bool:
        """Whether the checkpoint reaches `position` in time. Looks at least once."""
        deadline = time.monotonic() + timeout_s
        pause_s = _FIRST_POLL_S
        while True:
            with self.look() as look:
                if look.checkpoint.position >= position:
                    return True
            if time.monotonic() + pause_s > deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)

    def _connection(self) -> sqlite3.Connection:
        path = self.directory / FILE_NAME
        file = _identity(path)
        if file is None:
            raise NotBuilt(f"{path} is not there yet: the tail of {self.projection.name} makes it")
        identity = (os.getpid(), *file)
        if getattr(self._opened, "identity", None) != identity:
            try:
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
                )
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
                connection.execute("SELECT 1 FROM checkpoint")
            except sqlite3.OperationalError as problem:
                raise NotBuilt(f"{path} cannot be read yet: {problem}") from problem
            self._opened.connection = connection
            self._opened.identity = identity
        opened: sqlite3.Connection = self._opened.connection
        return opened


class Look:
    """What one read transaction sees; use it only inside `ProjectionReader.look`."""

    def __init__(
        self, connection: sqlite3.Connection, projection: Projection, checkpoint: Checkpoint
    ) -> None:
        self.checkpoint = checkpoint
        self._connection = connection
        self._stored = StoredRows(connection, projection.tables)
        self._keys = {table.name: table.key for table in projection.tables}

    def find(self, table: str, key: Key) -> Row | None:
        return self._stored.find(table, key)

    def query(
        self, sql: str, parameters: Iterable[str | int | None] = ()
    ) -> list[tuple[str | int | None, ...]]:
        """All rows of a SELECT, as tuples."""
        return self._connection.execute(sql, tuple(parameters)).fetchall()

    def largest_key(self, table: str, below: int) -> int:
        """The largest integer key of a table under a bound; 0 if there is none."""
        key = self._keys[table]
        found = self.query(f"SELECT max({key}) FROM {table} WHERE {key} < ?", (below,))[0][0]
        return int(found or 0)

    def list_parked(self, *, limit: int = 100, after: int = 0) -> list[Parked]:
        return parking.list_parked(self._connection, limit=limit, after=after)

    def count_unacknowledged(self) -> int:
        return parking.count_unacknowledged(self._connection)


class TailLock:
    """Held by the one process that may write a projection's file; freed by the kernel when it ends."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / _LOCK_NAME
        self._file = self._path.open("a+")

    def acquire(self) -> None:
        """Take the lock, or raise TailRunning at once."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TailRunning(f"{self._path} is held: another tail writes this projection") from None

    def release(self) -> None:
        self._file.close()


def list_remembered_logs(data_directory: Path) -> dict[Path, str]:
    """The log id that each projection file below a directory has read from, by file."""
    remembered = {}
    for path in sorted(data_directory.rglob(FILE_NAME)):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            found = checkpoints.read_checkpoint(connection)
        except sqlite3.Error:
            continue
        finally:
            connection.close()
        if found is not None and found.log_id:
            remembered[path] = found.log_id
    return remembered


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file the path names now; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _create(database: Database, table: Table) -> None:
    created = database.table(table.name).create(dict(table.columns), pk=table.key, strict=True)
    for number, (columns, condition) in enumerate(table.indexes):
        where = f" WHERE {condition}" if condition else ""
        database.execute(
            f"CREATE INDEX {table.name}_{number} ON {created.name} ({', '.join(columns)}){where}"
        )


@contextmanager
def _closed_unless_done(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _damage_named(directory: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
        # A subclass is for another time or another program; SQLite's word for damage is the class itself.
        if type(problem) in {sqlite3.DatabaseError, UnicodeDecodeError}:
            raise NotBuilt(
                f"{directory / FILE_NAME} is damaged: {problem}. {_rebuild(directory)}"
            ) from problem
        raise


def _rebuild(directory: Path) -> str:
    return f"Rebuild it: stop the service, delete {directory}, start it again."


def _checked(checkpoint: Checkpoint | None, projection: Projection, directory: Path) -> Checkpoint:
    """The checkpoint, if its rows are what this code would have made of the same entries."""
    rebuild = _rebuild(directory)
    if checkpoint is None:
        raise NotBuilt(f"{directory / FILE_NAME} has no checkpoint. {rebuild}")
    if (checkpoint.projection, checkpoint.version) != (projection.name, projection.version):
        raise NotBuilt(
            f"{directory / FILE_NAME} holds {checkpoint.projection} version {checkpoint.version}; "
            f"this code is {projection.name} version {projection.version}. {rebuild}"
        )
    missed = checkpoint.passed_over & projection.handled_types
    if missed:
        raise NotBuilt(
            f"{directory / FILE_NAME} passed over {', '.join(sorted(missed))}, which this code handles. {rebuild}"
        )
    return checkpoint
