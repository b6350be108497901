"""The SQLite file of a projection, as any number of threads and processes read it while its one writer goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from eventlog import checkpoints, parking, tables
from eventlog.checkpoints import Checkpoint
from eventlog.errors import NotBuilt
from eventlog.generations import FILE_NAME, Generations, home_of
from eventlog.parking import Parked
from eventlog.position import Position
from eventlog.projection import Projection
from eventlog.projection_file import damage_named, rebuild_mend, require_usable
from eventlog.row_changes import Key, Row, Table
from eventlog.sqlite_file import ReadOnlyConnections
from eventlog.stored_rows import StoredRows

_FIRST_POLL_S, _LONGEST_POLL_S = 0.001, 0.02


class ProjectionReader:
    """Consistent looks at the generation that is served, or at another; opened lazily."""

    def __init__(self, directory: Path, projection: Projection, generation: Path | None = None) -> None:
        self.directory = directory
        self.projection = projection
        self.home = home_of(directory, projection)
        served = Generations(directory, projection).served_file
        self._path = served if generation is None else generation / FILE_NAME
        self._connections = ReadOnlyConnections(self._path, "SELECT 1 FROM checkpoint")

    @contextmanager
    def look(self) -> Iterator[Look]:
        """One read transaction: rows and checkpoint in it are of the same moment.

        Keep it short: an open reader keeps the WAL from being reused. Raises NotBuilt.
        """
        with damage_named(self._path), self._lent() as (connection, file):
            try:
                connection.execute("BEGIN")
                stored = require_usable(checkpoints.read_checkpoint(connection), self.projection, self._path)
                yield Look(connection, self.projection, stored, file.parent.name)
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

    @contextmanager
    def _lent(self) -> Iterator[tuple[sqlite3.Connection, Path]]:
        with ExitStack() as lent:
            try:
                opened = lent.enter_context(self._connections.lend())
            except sqlite3.OperationalError as problem:
                raise NotBuilt(
                    f"{self._path} cannot be read, or not yet: {problem}. If it stays so: {rebuild_mend(self._path)}"
                ) from problem
            if opened is None:
                raise NotBuilt(
                    f"{self._path} is not there yet: the tail of {self.projection.name} makes it. If it does not: "
                    f"{rebuild_mend(self._path)}"
                )
            yield opened


class Look:
    """What one read transaction sees, of which generation; use it only inside `ProjectionReader.look`."""

    def __init__(
        self, connection: sqlite3.Connection, projection: Projection, checkpoint: Checkpoint, generation: str
    ) -> None:
        self.checkpoint = checkpoint
        self.generation = generation
        self._connection = connection
        self._tables = projection.tables
        self._stored = StoredRows(connection, projection.tables)
        self._found: dict[tuple[str, Key], Row | None] = {}

    def find(self, table: str, key: Key) -> Row | None:
        """The row as a decision and the rules it stands on see it; looked up once."""
        wanted = table, key
        if wanted not in self._found:
            self._found[wanted] = self._stored.find(table, key)
        return self._found[wanted]

    def query(
        self, sql: str, parameters: Iterable[str | int | None] = ()
    ) -> list[tuple[str | int | None, ...]]:
        """All rows of a SELECT, as tuples."""
        return self._connection.execute(sql, tuple(parameters)).fetchall()

    def find_gap(self, table: str, below: int, at_least: int = 0) -> tuple[int, int | None]:
        """Two integer keys of a table between which it has none: the largest under `below`, and the one after it.

        The first is `at_least` where that is higher; the second None where the table ends.
        """
        key = self._key_of(table)
        ((first, after),) = self._connection.execute(
            f"SELECT first, (SELECT min({key}) FROM {table} WHERE {key} > first) FROM"
            f" (SELECT max(?1, coalesce((SELECT max({key}) FROM {table} WHERE {key} < ?2), 0)) AS first)",
            (at_least, below),
        )
        return first, after

    def remember_absent(self, table: str, keys: Iterable[Key]) -> None:
        """Of rows that are known not to be there: none of them is looked up."""
        self._found.update(((table, key), None) for key in keys)

    def iterate(self, table: Table) -> Iterator[tuple[str | int | None, ...]]:
        """Every row in the order of its key, its columns in theirs; reads as it goes."""
        return iter(
            self._connection.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {table.key}"
            )
        )

    def copy_to(self, path: Path) -> None:
        """Write all this look sees, rows and checkpoint, as one SQLite file; it must not be there yet, or be empty."""
        with closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file: nothing is left beside it

    def list_parked(self, *, limit: int = 100, after: int = 0) -> list[Parked]:
        return parking.list_parked(self._connection, limit=limit, after=after)

    def list_impossible_acknowledgements(self) -> list[str]:
        """Those at times that cannot be, a sentence each."""
        return parking.list_impossible(self._connection)

    def find_wrong_tables(self) -> list[str]:
        """Which tables are missing or have other columns, a sentence each."""
        return tables.find_wrong_tables(self._connection, self._tables)

    def find_faults(self) -> list[str]:
        """All that is wrong with the file itself, a sentence each. Reads it all."""
        return list(tables.find_faults(self._connection, self._tables))

    def count_unacknowledged(self) -> int:
        return parking.count_unacknowledged(self._connection)

    def _key_of(self, table: str) -> str:
        return next(each.key for each in self._tables if each.name == table)
