"""A batch's changes: checked and merged in memory, then written in few statements."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter, length_hint
from typing import Annotated, Any, Protocol, cast

import msgspec
from msgspec import convert

from eventlog.row_changes import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    Add,
    Change,
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
        self._known = {name: table.rows.get for name, table in self._tables.items()}
        # How each kind of change is taken into each table.
        self._takes: dict[tuple[str, type[Change]], Callable[[Any], None]] = {}
        for name, table in self._tables.items():
            self._takes |= {
                (name, Add): table.add,
                (name, Insert): table.insert,
                (name, Update): table.update,
            }

    def find(self, table: str, key: Key) -> Row | None:
        row = self._known[table](key, _UNKNOWN)
        return self._tables[table].look_up(key) if row is _UNKNOWN else row

    def apply(self, changes: Changes) -> None:
        """Take all changes of one event, each on what the ones before it left, or raise and take none."""
        takes = self._takes
        left = iter(changes)
        try:
            for change in left:
                takes[change.table, type(change)](change)
        except BaseException:
            failed = len(changes) - length_hint(left) - 1
            self._take_back(changes[:failed])
            raise

    def _take_back(self, changes: Sequence[Change]) -> None:
        for change in reversed(changes):
            self._tables[change.table].take_back(change)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what the batch changed: per table, one statement for new rows and one per changed column."""
        for table in self._tables.values():
            table.write(connection)

    def begin_next(self) -> None:
        """What was written is stored now: an empty batch again, which remembers some of the rows."""
        for table in self._tables.values():
            table.begin_next()


@cache
def _make_row_type(columns: tuple[tuple[str, type[int | str]], ...]) -> type[msgspec.Struct]:
    """What the values of a row are, to check them in one call; making it takes as long as checking some hundred."""
    checked = {int: Annotated[int, msgspec.Meta(ge=SMALLEST_INTEGER, le=LARGEST_INTEGER)], str: str}
    fields = [(name, checked[kind]) for name, kind in columns]
    return msgspec.defstruct("Row", fields, array_like=True, forbid_unknown_fields=True, gc=False)


def _values_getter(columns: Iterable[str]) -> Callable[[Row], tuple[Any, ...]]:
    match tuple(columns):
        case ():
            return lambda _: ()
        case (only,):
            return lambda row: (row[only],)
        case several:
            return itemgetter(*several)


class _PendingTable:
    """One table's part of a batch. Nothing is copied to be put back: changes are taken back by their opposite."""

    def __init__(self, table: Table, stored: Stored) -> None:
        self._name, self._key = table.name, table.key
        self._types = table.columns
        self._in_order = _values_getter(table.columns)
        self._row_type = _make_row_type(tuple(table.columns.items()))
        self._texts = _values_getter([column for column, kind in table.columns.items() if kind is str])
        self._stored = stored
        # No key above it is stored; known once it was looked up, where keys are integers.
        self._largest = math.inf
        self._largest_is_known = False
        # As the changes so far leave them, once they were looked up; None: there is none.
        self.rows: dict[Key, dict[str, Value] | None] = {}
        # New rows as they were inserted, in the order of the columns; most are never looked up.
        self._inserted: dict[Key, tuple[Value, ...]] = {}
        # Of each column the keys of the rows that it was changed in, new ones too; or was, and was put back.
        self._updated: dict[str, set[Key]] = {column: set() for column in table.columns}
        self._replaced: list[dict[str, Value]] = []  # what each update of the batch found there

    def look_up(self, key: Key) -> dict[str, Value] | None:
        """A row that no look has met yet; from now on it is known, or known to be missing."""
        new = self._inserted.get(key)
        if new is not None:
            inserted = self.rows[key] = dict(zip(self._types, new, strict=True))
            return inserted
        if not self._largest_is_known:
            self._find_largest()
        # Most keys looked for in vain are new ones, and those count up: a comparison instead of a SELECT.
        if isinstance(key, int) and key > self._largest:
            return None
        found = self._stored.find(self._name, key)
        row = self.rows[key] = None if found is None else dict(found)
        return row

    def _find_largest(self) -> None:
        if self._types[self._key] is int:
            largest = self._stored.largest_key(self._name)
            self._largest = -math.inf if largest is None else largest
        self._largest_is_known = True

    def begin_next(self) -> None:
        if self._inserted and self._largest < math.inf:
            self._largest = max(self._largest, *cast(dict[int, Any], self._inserted))
        if len(self.rows) > _ROWS_REMEMBERED:
            self.rows.clear()
        self._inserted.clear()
        self._replaced.clear()
        for keys in self._updated.values():
            keys.clear()

    def write(self, connection: sqlite3.Connection) -> None:
        rows = cast(dict[Key, dict[str, Value]], self.rows)  # what is changed is there
        if self._inserted:
            for key in self._inserted.keys() & rows.keys():  # they were looked up, and may have changed
                self._inserted[key] = self._in_order(rows[key])
            connection.executemany(
                f"INSERT INTO {self._name} ({', '.join(self._types)}) VALUES ({', '.join('?' * len(self._types))})",
                self._inserted.values(),
            )
        for column, changed in self._updated.items():
            keys = changed.difference(self._inserted)
            if keys:
                connection.executemany(
                    f"UPDATE {self._name} SET {column} = ? WHERE {self._key} = ?",
                    [(rows[key][column], key) for key in keys],
                )

    def add(self, change: Add) -> None:
        key, column = change.key, change.column
        row = self.rows.get(key, _UNKNOWN) or self.look_up(key)
        try:
            total = row[column] + change.amount  # type: ignore[index,operator]  # most are; the rest is named below
            if SMALLEST_INTEGER <= total <= LARGEST_INTEGER and type(total) is int:
                row[column] = total  # type: ignore[index]  # likewise
                self._updated[column].add(key)
                return
        except (TypeError, KeyError):
            pass
        raise InvalidChange(f"add to {self._name} {key!r}.{column}: {self._why_not_added(row, change)}")

    def _why_not_added(self, row: Row | None, change: Add) -> str:
        before = None if row is None else row.get(change.column)
        if not isinstance(before, int):
            return f"there is no number; {_OR_BY_HAND}"
        amount: object = change.amount
        if not isinstance(amount, int):
            return f"{amount!r} is not an integer"
        return "the sum does not fit 64 bits"

    def insert(self, change: Insert) -> None:
        row = change.row
        values = self._in_order_checked(row)
        key: Key = row[self._key]  # type: ignore[assignment]  # where it is None, that is named below
        # Above the largest there is none; the rest is looked up.
        if not (type(key) is int and key > self._largest and key not in self._inserted):
            self._require_missing(key)
        self._inserted[key] = values

    def _require_missing(self, key: Key) -> None:
        before = self.rows.get(key, _UNKNOWN)
        if before is _UNKNOWN:
            before = self.look_up(key)
        if before is not None or key is None:
            raise InvalidChange(
                f"insert of {self._name} {key!r}: it is there already, or its key is empty; {_OR_BY_HAND}"
            )
        self.rows.pop(key, None)  # it is missing no more

    def _in_order_checked(self, row: Row) -> tuple[Value, ...]:
        try:
            values = self._in_order(row)
            convert(values, self._row_type)  # in a third of the time that a look at each value takes
            if len(row) == len(values) and "".join(self._texts(row)).isascii():
                return values
        except (KeyError, msgspec.ValidationError):
            pass
        self._check_row(row)
        return self._in_order(row)

    def update(self, change: Update) -> None:
        key, values = change.key, change.values
        row = self.rows.get(key, _UNKNOWN) or self.look_up(key)
        if row is None:
            raise InvalidChange(f"update of {self._name} {key!r}: it is not there; {_OR_BY_HAND}")
        if self._key in values:
            raise InvalidChange(f"update of {self._name} {key!r}: a key never changes")
        self._check_values(values)
        self._replaced.append({column: row[column] for column in values})
        row.update(values)
        for column in values:
            self._updated[column].add(key)

    def take_back(self, change: Change) -> None:
        """Undo the last change that was taken."""
        if isinstance(change, Add):
            self.add(Add(change.table, change.key, change.column, -change.amount))
        elif isinstance(change, Insert):
            key = cast(Key, change.row[self._key])
            self.rows.pop(key, None)
            del self._inserted[key]
            for keys in self._updated.values():
                keys.discard(key)
        else:
            cast(dict[str, Value], self.rows[change.key]).update(self._replaced.pop())

    def _check_row(self, row: Row) -> None:
        if row.keys() != self._types.keys():
            raise InvalidChange(f"insert into {self._name}: it needs every column of the table, and no other")
        self._check_values(row)

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
