"""Row changes as values: looked up, merged over a batch, and written in few statements."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

Value = str | int | None
Key = str | int
Row = Mapping[str, Value]

_OR_BY_HAND = (
    "its handler is wrong, or a row was changed by hand: `SERVICE verify --repair` builds all anew, or delete its "
    "directory and start its tail again"
)
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1  # what SQLite keeps as an integer


class Table(NamedTuple):
    """A table of a projection: column types are int or str, `key` is its primary key.

    Every column may be NULL but the key. `indexes` are lists of columns; an index may carry a
    condition as SQL: `(("account_id", "id"), "deleted = 0")`.
    """

    name: str
    key: str
    columns: Mapping[str, type[int | str]]
    indexes: Sequence[tuple[Sequence[str], str]] = ()


class Insert(NamedTuple):
    """A row that is not there yet, with every column of its table."""

    table: str
    row: Row


class Update(NamedTuple):
    """New values for some columns of a row that is there."""

    table: str
    key: Key
    values: Row


class Add(NamedTuple):
    """An amount added to an integer column of a row that is there.

    The handler looks first whether the sum fits 64 bits, and refuses the event if it does not.
    """

    table: str
    key: Key
    column: str
    amount: int


Change = Insert | Update | Add
Changes = Sequence[Change]


class Rows(Protocol):
    """Where handlers and deciders look rows up; what they get is not theirs to modify."""

    def find(self, table: str, key: Key) -> Row | None:
        """The row as the changes so far leave it; None if it never was there."""
        ...


class InvalidChange(Exception):
    """A handler's change does not fit the rows: its author must mend it."""


class StoredRows:
    """The rows of a projection's file, as its connection's transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, tables: Iterable[Table]) -> None:
        self._connection = connection
        self._columns = {table.name: tuple(table.columns) for table in tables}
        self._select = {
            table.name: f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {table.key} = ?"
            for table in tables
        }

    def find(self, table: str, key: Key) -> Row | None:
        found = self._connection.execute(self._select[table], (key,)).fetchone()
        return None if found is None else dict(zip(self._columns[table], found, strict=True))


class _Saved(NamedTuple):
    """A row as it was before a change: None if it was not there; which of its columns were to be updated."""

    table: str
    key: Key
    row: dict[str, Value] | None
    columns: frozenset[str]


class PendingRows:
    """A batch's changes over stored rows: later events of the batch see what earlier ones did."""

    def __init__(self, stored: Rows, tables: Iterable[Table]) -> None:
        self._stored = stored
        tables = tuple(tables)
        self._keys = {table.name: table.key for table in tables}
        self._columns = {table.name: table.columns for table in tables}
        self._rows: dict[str, dict[Key, dict[str, Value] | None]] = {name: {} for name in self._keys}
        self._inserted: dict[str, dict[Key, dict[str, Value]]] = {name: {} for name in self._keys}
        self._updated: dict[str, dict[Key, set[str]]] = {name: defaultdict(set) for name in self._keys}

    def find(self, table: str, key: Key) -> Row | None:
        rows = self._rows[table]
        try:
            return rows[key]
        except KeyError:
            found = self._stored.find(table, key)
            rows[key] = None if found is None else dict(found)
            return rows[key]

    def apply(self, changes: Changes) -> None:
        """Take all changes of one event, each on what the ones before it left, or raise and take none."""
        taken: list[_Saved] = []
        try:
            for change in changes:
                self._check(change)
                taken.append(self._saved(change))
                self._take(change)
        except BaseException:
            for saved in reversed(taken):
                self._restore(saved)
            raise

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what the batch changed: per table, one statement per set of changed columns."""
        for table, inserted in self._inserted.items():
            if inserted:
                rows = list(inserted.values())
                columns = list(rows[0])
                connection.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                    [tuple(row[column] for column in columns) for row in rows],
                )
        for table, updated in self._updated.items():
            by_columns: dict[tuple[str, ...], list[Key]] = defaultdict(list)
            for key, changed in updated.items():
                by_columns[tuple(sorted(changed))].append(key)
            for columns_set, keys in by_columns.items():
                self._write_updates(connection, table, columns_set, keys)

    def _write_updates(
        self, connection: sqlite3.Connection, table: str, columns: tuple[str, ...], keys: list[Key]
    ) -> None:
        assignments = ", ".join(f"{column} = ?" for column in columns)
        values = []
        for key in keys:
            row = self._rows[table][key]
            if row is not None:
                values.append((*(row[column] for column in columns), key))
        connection.executemany(f"UPDATE {table} SET {assignments} WHERE {self._keys[table]} = ?", values)

    def _check(self, change: Change) -> None:
        match change:
            case Insert(table, row):
                if row.keys() != self._columns[table].keys():
                    raise InvalidChange(
                        f"insert into {table}: it needs every column of the table, and no other"
                    )
                self._check_values(table, row)
                key = row[self._keys[table]]
                if key is None or self.find(table, key) is not None:
                    raise InvalidChange(
                        f"insert of {table} {key!r}: it is there already, or its key is empty; {_OR_BY_HAND}"
                    )
            case Update(table, key, values):
                if self.find(table, key) is None:
                    raise InvalidChange(f"update of {table} {key!r}: it is not there; {_OR_BY_HAND}")
                if self._keys[table] in values:
                    raise InvalidChange(f"update of {table} {key!r}: a key never changes")
                self._check_values(table, values)
            case Add(table, key, column, amount):
                found = self.find(table, key)
                before = found[column] if found is not None else None
                if not isinstance(before, int):
                    raise InvalidChange(f"add to {table} {key!r}.{column}: there is no number; {_OR_BY_HAND}")
                if not SMALLEST_INTEGER <= before + amount <= LARGEST_INTEGER:
                    raise InvalidChange(f"add to {table} {key!r}.{column}: the sum does not fit 64 bits")

    def _check_values(self, table: str, values: Row) -> None:
        for column, value in values.items():
            expected = self._columns[table].get(column)
            if expected is None:
                raise InvalidChange(f"{table} has no column {column}")
            if value is not None and not isinstance(value, expected):
                raise InvalidChange(f"{table}.{column} is {value!r}: it takes {expected.__name__}")
            if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
                raise InvalidChange(f"{table}.{column} is {value}: it does not fit 64 bits")
            if isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as problem:
                    raise InvalidChange(f"{table}.{column} is not text: {problem}") from problem

    def _saved(self, change: Change) -> _Saved:
        table = change.table
        key = cast(Key, change.row[self._keys[table]]) if isinstance(change, Insert) else change.key
        row = self._rows[table][key]
        columns = self._updated[table].get(key, ())
        return _Saved(table, key, None if row is None else dict(row), frozenset(columns))

    def _restore(self, saved: _Saved) -> None:
        table, key, row, columns = saved
        if row is None:
            self._rows[table][key] = None
            self._inserted[table].pop(key, None)
        else:
            cast(dict[str, Value], self._rows[table][key]).update(row)
        self._updated[table].pop(key, None)
        if columns:
            self._updated[table][key] = set(columns)

    def _take(self, change: Change) -> None:
        if isinstance(change, Insert):
            row = dict(change.row)
            key = cast(Key, row[self._keys[change.table]])  # `_check` refused None
            self._rows[change.table][key] = self._inserted[change.table][key] = row
            return
        row_now = cast(dict[str, Value], self._rows[change.table][change.key])  # `_check` found it
        if isinstance(change, Update):
            row_now.update(change.values)
            columns: Iterable[str] = change.values
        else:
            row_now[change.column] = (
                cast(int, row_now[change.column]) + change.amount
            )  # `_check` found a number
            columns = (change.column,)
        if change.key not in self._inserted[change.table]:
            self._updated[change.table][change.key].update(columns)
