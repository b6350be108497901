"""The tables of a projection's file: made, and looked at whether they still are as they were made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from eventlog.checkpoints import CHECKPOINT_COLUMNS
from eventlog.parking import PARKED_COLUMNS
from eventlog.row_changes import Table
from eventlog.seen_events import SEEN_TABLES

_OWN_TABLES: Final = (
    Table("checkpoint", "only", CHECKPOINT_COLUMNS),
    Table("parked", "sequence", PARKED_COLUMNS, [(["sequence"], "acknowledged_at IS NULL")]),
)
_MOST_NAMED: Final = 10  # damaged places of a file

# What is made, by kind and name: the columns of a table, the SQL of anything else.
_Schema = dict[tuple[str, str], Any]


def create_tables(connection: sqlite3.Connection, tables: Iterable[Table]) -> None:
    """Those of a projection, and those that every file has, inside the caller's transaction."""
    from sqlite_utils import Database  # noqa: PLC0415  # every start would wait for it, and few make tables

    database = Database(connection)
    for table in (*_OWN_TABLES, *tables):
        created = database.table(table.name).create(dict(table.columns), pk=table.key, strict=True)
        for number, (columns, condition) in enumerate(table.indexes):
            where = f" WHERE {condition}" if condition else ""
            connection.execute(
                f"CREATE INDEX {table.name}_{number} ON {created.name} ({', '.join(columns)}){where}"
            )


def find_wrong_tables(connection: sqlite3.Connection, tables: Iterable[Table]) -> list[str]:
    """Which tables are missing, or have other columns than they were made with; a sentence each."""
    return [sentence for kind, sentence in _compare(connection, tables) if kind == "table"]


def find_faults(connection: sqlite3.Connection, tables: Iterable[Table]) -> Iterator[str]:
    """All that is wrong with a file but its rows: its tables and indexes, and what SQLite finds damaged. Reads it all.

    Without tables only what every file has is looked at.
    """
    yield from (sentence for _, sentence in _compare(connection, tables))
    for (found,) in connection.execute(f"PRAGMA integrity_check({_MOST_NAMED})"):
        if found != "ok":
            yield f"it is damaged: {' '.join(found.split())}"


def _compare(connection: sqlite3.Connection, tables: Iterable[Table]) -> Iterator[tuple[str, str]]:
    tables = tuple(tables)
    with closing(sqlite3.connect(":memory:")) as made:
        create_tables(made, tables)
        found = _read_schema(connection)
        for name in SEEN_TABLES.keys() & {name for _, name in found}:
            made.execute(SEEN_TABLES[name])
        expected = _read_schema(made)
    for (kind, name), how in expected.items():
        if (kind, name) not in found:
            yield kind, f"{kind} {name} is missing"
        elif found[kind, name] != how:
            yield kind, f"{kind} {name} is not as it was made"
    if tables:
        yield from (
            (kind, f"{kind} {name} is none of its own") for kind, name in found.keys() - expected.keys()
        )


def _read_schema(connection: sqlite3.Connection) -> _Schema:
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    ).fetchall()
    return {
        (kind, name): _read_columns(connection, name) if kind == "table" else sql for kind, name, sql in made
    }


def _read_columns(connection: sqlite3.Connection, table: str) -> Any:
    columns = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (table,)).fetchall()
    strict = connection.execute("SELECT strict FROM pragma_table_list WHERE name = ?", (table,)).fetchall()
    return columns, strict
