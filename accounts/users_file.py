"""The SQLite file of users and of who is logged in: secrets have no place in a shared log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eventlog.private_files import make_private_database, make_private_directory

FILE_NAME: Final = "users.db"
WHO_MAY_LOG_IN: Final = "(SELECT username FROM users EXCEPT SELECT username FROM disabled_users)"
_BUSY_TIMEOUT_MS: Final = 5000
# Disabled users have a table of their own, so that files of before need no change.
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS users (
        username TEXT PRIMARY KEY, password_hash TEXT, role TEXT, created_date TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS disabled_users (username TEXT PRIMARY KEY, disabled_date TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY, username TEXT NOT NULL, secret_hash BLOB NOT NULL,
        idle_until_s INTEGER NOT NULL, ends_s INTEGER NOT NULL
    ) STRICT;
"""


class UsersFile:
    """Connections for one use each: users are few and asked for seldom. Safe between threads and processes."""

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / FILE_NAME

    def exists(self) -> bool:
        """Only adding a user makes it: an empty one would look as if it had never been lost."""
        return self.path.exists()

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Each statement is its own transaction: one that reads before it writes fails at once beside another."""
        with open_private(self.path, _TABLES) as connection:
            yield connection

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Several statements, all or none."""
        with open_private(self.path, _TABLES) as connection, writing(connection):
            yield connection


@contextmanager
def open_private(path: Path, tables: str) -> Iterator[sqlite3.Connection]:
    """A file that its owner alone may read, made if it is not there; sqlite3.Error where it cannot be used."""
    make_private_directory(path.parent)
    make_private_database(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.executescript(tables)
        yield connection
    finally:
        connection.close()


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that nobody else writes beside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk
            connection.execute("ROLLBACK")
        raise
