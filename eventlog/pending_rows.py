"""A batch's changes: checked and merged in memory, then written in few statements."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol, cast

from eventlog.row_changes import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    Add,
    Changes,
    Insert,
    Key,
    Row,
    Rows,
    Table,
    Update,
    Value,
)


class InvalidChange(Exception):
    """A handler's change does not fit the rows: its author must mend it."""


_OR_BY_HAND = (
    "its handler is wrong, or a row was changed by hand: `SERVICE verify --repair` builds all anew, or delete its "
    "directory and start its tail again"
)

# What puts a value back: where it stood, under what, and what it was; _ABSENT if nothing.
_Undo = list[tuple[dict[Any, Any], Any, Any]]
_ABSENT = object()

_UNKNOWN: dict[str, Value] = {}  # no row that was looked up is this one

_ROWS_REMEMBERED = 10_000  # of each table, from one batch to the next


class Stored(Rows, Protocol):
    """Where a batch finds the rows that it has not seen yet."""

    def largest_key(self, table: str) -> int | None:
        """Of a table whose keys are integers: above it there is no row. None if the table is empty."""
        ...


class PendingRows:
    """A batch's changes over stored rows: later events of the batch see what earlier ones did.

    Once written it may serve the next batch, which then need not look up again what this one had found.
    """

    def __init__(self, stored: Stored, tables: Iterable[Table]) -> None:
        self._tables = {table.name: _PendingTable(table, stored) for table in tables}
        self._rows = {name: table.rows for name, table in self._tables.items()}

    def find(self, table: str, key: Key) -> Row | None:
        # Asked several times for every event, and mostly for what is here.
        return self._rows[table].get(key) or self._tables[table].find(key)

    def apply(self, changes: Changes) -> None:
        """Take all changes of one event, each on what the ones before it left, or raise and take none."""
        undo: _Undo = []
        try:
            for change in changes:
                table = self._tables[change.table]
                if isinstance(change, Add):
                    table.add(change, undo)
                elif isinstance(change, Insert):
                    table.insert(change, undo)
                else:
                    table.update(change, undo)
        except BaseException:
            for values, key, before in reversed(undo):
                if before is _ABSENT:
                    del values[key]
                else:
                    values[key] = before
            raise

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what the batch changed: per table, one statement per set of changed columns."""
        for table in self._tables.values():
            table.write(connection)

    def begin_next(self) -> None:
        """What was written is stored now: an empty batch again, which remembers some of the rows."""
        for table in self._tables.values():
            table.begin_next()


class _PendingTable:
    """One table's part of a batch. Nothing here is copied to be put back: the undo list says what was."""

    def __init__(self, table: Table, stored: Stored) -> None:
        self._name, self._key = table.name, table.key
        self._names = tuple(table.columns)
        self._types = table.columns
        self._stored = stored
        self.rows: dict[
            Key, dict[str, Value] | None
        ] = {}  # as the changes so far leave them; None: there is none
        self._inserted: dict[Key, dict[str, Value]] = {}
        self._updated: dict[Key, set[str]] = defaultdict(
            set
        )  # its columns; one that was put back may stay in it
        self._counts_up = table.columns[table.key] is int
        self._largest: int | None = None  # no key above it is stored; None while that was not looked up

    def find(self, key: Key) -> dict[str, Value] | None:
        known = self.rows.get(key, _UNKNOWN)
        return self._look_up(key) if known is _UNKNOWN else known

    def _look_up(self, key: Key) -> dict[str, Value] | None:
        # Most keys looked for in vain are new ones, and those count up: a comparison instead of a SELECT.
        if self._counts_up and isinstance(key, int):
            if self._largest is None:
                largest = self._stored.largest_key(self._name)
                self._largest = SMALLEST_INTEGER - 1 if largest is None else largest
            if key > self._largest:
                return None
        found = self._stored.find(self._name, key)
        row = self.rows[key] = None if found is None else dict(found)
        return row

    def begin_next(self) -> None:
        if self._largest is not None and self._inserted:
            self._largest = max(self._largest, *cast(dict[int, Any], self._inserted))
        for key in self._inserted:  # much of what is inserted is not looked for again
            del self.rows[key]
        if len(self.rows) > _ROWS_REMEMBERED:
            self.rows.clear()
        self._inserted.clear()
        self._updated.clear()

    def write(self, connection: sqlite3.Connection) -> None:
        if self._inserted:
            connection.executemany(
                f"INSERT INTO {self._name} ({', '.join(self._names)}) VALUES ({', '.join('?' * len(self._names))})",
                [tuple(row.values()) for row in self._inserted.values()],
            )
        by_columns: dict[tuple[str, ...], list[Key]] = defaultdict(list)
        for key, changed in self._updated.items():
            by_columns[tuple(sorted(changed))].append(key)
        for columns, keys in by_columns.items():
            self._write_updates(connection, columns, keys)

    def _write_updates(
        self, connection: sqlite3.Connection, columns: tuple[str, ...], keys: list[Key]
    ) -> None:
        rows = cast(dict[Key, dict[str, Value]], self.rows)  # what is updated is there
        connection.executemany(
            f"UPDATE {self._name} SET {', '.join(f'{column} = ?' for column in columns)} WHERE {self._key} = ?",
            [(*[rows[key][column] for column in columns], key) for key in keys],
        )

    def add(self, change: Add, undo: _Undo) -> None:
        _, key, column, amount = change
        row = self.rows.get(key) or self.find(key)
        before = None if row is None else row.get(column)
        if row is None or not isinstance(before, int):
            raise InvalidChange(f"add to {self._name} {key!r}.{column}: there is no number; {_OR_BY_HAND}")
        total = before + amount
        if not isinstance(total, int):
            raise InvalidChange(f"add to {self._name} {key!r}.{column}: {amount!r} is not an integer")
        if not SMALLEST_INTEGER <= total <= LARGEST_INTEGER:
            raise InvalidChange(f"add to {self._name} {key!r}.{column}: the sum does not fit 64 bits")
        undo.append((row, column, before))
        row[column] = total
        if key not in self._inserted:
            self._updated[key].add(column)

    def insert(self, change: Insert, undo: _Undo) -> None:
        given = change.row
        if tuple(given) == self._names:
            row = dict(given)
        elif given.keys() == self._types.keys():
            row = {column: given[column] for column in self._names}
        else:
            raise InvalidChange(f"insert into {self._name}: it needs every column of the table, and no other")
        if not self._is_plain(row):
            self._check_values(row)
        key = row[self._key]
        if key is None or self.find(key) is not None:
            raise InvalidChange(
                f"insert of {self._name} {key!r}: it is there already, or its key is empty; {_OR_BY_HAND}"
            )
        undo.append((self.rows, key, None))
        undo.append((self._inserted, key, _ABSENT))
        self.rows[key] = self._inserted[key] = row

    def update(self, change: Update, undo: _Undo) -> None:
        _, key, values = change
        row = self.find(key)
        if row is None:
            raise InvalidChange(f"update of {self._name} {key!r}: it is not there; {_OR_BY_HAND}")
        if self._key in values:
            raise InvalidChange(f"update of {self._name} {key!r}: a key never changes")
        self._check_values(values)
        undo.extend((row, column, row[column]) for column in values)
        row.update(values)
        if key not in self._inserted:
            self._updated[key].update(values)

    def _is_plain(self, row: Row) -> bool:
        """Whether a whole row shows no reason for a closer look: what nearly all rows are, in half the time."""
        for value, expected in zip(row.values(), self._types.values(), strict=True):
            if type(value) is not expected:
                return False
            if expected is int:
                if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:  # type: ignore[operator]  # it is one
                    return False
            elif not value.isascii():  # type: ignore[union-attr]  # likewise text
                return False
        return True

    def _check_values(self, values: Row) -> None:
        for column, value in values.items():
            expected = self._types.get(column)
            if expected is None:
                raise InvalidChange(f"{self._name} has no column {column}")
            if value is None:
                continue
            if not isinstance(value, expected):
                raise InvalidChange(f"{self._name}.{column} is {value!r}: it takes {expected.__name__}")
            if isinstance(value, int):
                if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
                    raise InvalidChange(f"{self._name}.{column} is {value}: it does not fit 64 bits")
            elif not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as problem:
                    raise InvalidChange(f"{self._name}.{column} is not text: {problem}") from problem
