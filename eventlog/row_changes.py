"""A projection's tables, and changes of their rows as values; pending_rows.py merges and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

Value = str | int | None
Key = str | int
Row = Mapping[str, Value]

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


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A row that is not there yet, with every column of its table."""

    table: str
    row: Row


class Update(msgspec.Struct, frozen=True, gc=False):
    """New values for some columns of a row that is there."""

    table: str
    key: Key
    values: Row


class Add(msgspec.Struct, frozen=True, gc=False):
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
