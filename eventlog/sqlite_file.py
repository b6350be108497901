"""What the SQLite files here have in common: one writer, many readers, and a path that may come to name another."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY_TIMEOUT_MS = 5000
_WAL_LIMIT_BYTES = 4 * 1024 * 1024


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file the path names now; None if there is none, or it cannot be reached."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def prepare_for_writing(connection: sqlite3.Connection, synchronous: str) -> None:
    """`synchronous` is NORMAL or FULL: whether a power cut may take the last commits."""
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing; the connection is in autocommit mode."""
    # Immediate: a deferred transaction that reads first fails with BUSY_SNAPSHOT on its first write.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class ReadOnlyConnections:
    """One for each thread and process, opened lazily to the file that the path names then."""

    def __init__(self, path: Path, first_statement: str = "") -> None:
        """`first_statement` is run on each connection as it is opened, to see whether the file can be read at all."""
        self._path = path
        self._first_statement = first_statement
        self._opened = threading.local()

    def current(self) -> tuple[sqlite3.Connection, Path] | None:
        """To the file that is there now, and where that really lies; None if there is none."""
        file = file_identity(self._path)
        if file is None:
            return None
        identity = (os.getpid(), *file)
        if getattr(self._opened, "identity", None) != identity:
            # resolved: what SQLite keeps beside the file must be found when a link has been switched
            resolved = self._path.resolve()
            connection = sqlite3.connect(f"{resolved.as_uri()}?mode=ro", uri=True, isolation_level=None)
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            if self._first_statement:
                connection.execute(self._first_statement)
            self._opened.current = connection, resolved
            self._opened.identity = identity
        current: tuple[sqlite3.Connection, Path] = self._opened.current
        return current
