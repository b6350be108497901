"""Two files of one projection at one moment, row by row: what one has that the other has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from eventlog.checkpoints import CHECKPOINT_COLUMNS
from eventlog.parking import PARKED_COLUMNS
from eventlog.projection import Projection
from eventlog.projection_reader import Look
from eventlog.row_changes import Key, Row, Table, Value

FIRST_SHOWN: Final = 10  # differences of each table that are kept whole

# When something was parked, and whether somebody looked at it, is not of the log.
_PARKED = Table(
    "parked",
    "sequence",
    {column: PARKED_COLUMNS[column] for column in ("sequence", "position", "event_type", "reason")},
)

# What was met and not handled; the rest of a checkpoint is the same, or nothing is compared.
_CHECKPOINT = Table(
    "checkpoint", "only", {column: CHECKPOINT_COLUMNS[column] for column in ("only", "passed_over")}
)

_Values = tuple[Value, ...]


class RowDifference(NamedTuple):
    """A row as it is before and after; None where it is not."""

    key: Key
    before: Row | None
    after: Row | None


class TableDifference(NamedTuple):
    """How many rows differ, and the first of them."""

    table: str
    added: int
    removed: int
    changed: int
    first: list[RowDifference]


class Comparison(NamedTuple):
    """Of every table, of what was parked and of the checkpoint.

    `tables` has those that differ, `rows` counts all rows but the checkpoint's.
    """

    tables: list[TableDifference]
    rows: int

    @property
    def is_same(self) -> bool:
        return not self.tables


def compare(before: Look, after: Look, projection: Projection) -> Comparison:
    """What turns one look into the other. Reads as it goes: memory does not grow with the tables."""
    compared = [_compare_table(before, after, table) for table in (*projection.tables, _PARKED)]
    rows = sum(rows for _, rows in compared)
    compared.append(_compare_table(before, after, _CHECKPOINT))
    differing = [found for found, _ in compared if found.added or found.removed or found.changed]
    return Comparison(differing, rows)


def _compare_table(before: Look, after: Look, table: Table) -> tuple[TableDifference, int]:
    columns = tuple(table.columns)
    key_at = columns.index(table.key)
    rows = added = removed = changed = 0
    first: list[RowDifference] = []
    for was, now in _side_by_side(before.iterate(table), after.iterate(table), key_at):
        rows += 1
        if was == now:
            continue
        added += was is None
        removed += now is None
        changed += was is not None and now is not None
        if len(first) < FIRST_SHOWN:
            first.append(_difference(columns, key_at, was, now))
    return TableDifference(table.name, added, removed, changed, first), rows


def _side_by_side(
    before: Iterator[_Values], after: Iterator[_Values], key_at: int
) -> Iterator[tuple[_Values | None, _Values | None]]:
    """Rows of equal keys together; both come in the order of their keys."""
    was, now = next(before, None), next(after, None)
    while was is not None or now is not None:
        if now is None or (was is not None and _key(was, key_at) < _key(now, key_at)):
            yield was, None
            was = next(before, None)
        elif was is None or _key(now, key_at) < _key(was, key_at):
            yield None, now
            now = next(after, None)
        else:
            yield was, now
            was, now = next(before, None), next(after, None)


def _key(row: _Values, key_at: int) -> tuple[bool, Key]:
    key = cast(Key, row[key_at])  # a primary key is never NULL
    return isinstance(key, str), key


def _difference(
    columns: tuple[str, ...], key_at: int, was: _Values | None, now: _Values | None
) -> RowDifference:
    return RowDifference(
        _key(was or now or (), key_at)[1],
        None if was is None else dict(zip(columns, was, strict=True)),
        None if now is None else dict(zip(columns, now, strict=True)),
    )
