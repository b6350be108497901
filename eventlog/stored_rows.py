"""Looking up the rows of a projection's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from eventlog.row_changes import Key, Row, Table


class StoredRows:
    """The rows as a connection's transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[Table]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._keys = {table.name: table.key for table in tables}
        self._columns = {table.name: tuple(table.columns) for table in tables}
        self._select = {
            table.name: f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {table.key} = ?"
            for table in tables
        }

    def find(self, table: str, key: Key) -> Row | None:
        found = self._cursor.execute(self._select[table], (key,)).fetchone()
        return None if found is None else dict(zip(self._columns[table], found, strict=True))

    def largest_key(self, table: str) -> int | None:
        """Of a table whose keys are integers: above it there is no row. None if the table is empty."""
        found: int | None = self._connection.execute(
            f"SELECT max({self._keys[table]}) FROM {table}"
        ).fetchone()[0]
        return found
