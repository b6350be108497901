"""What the SQLite files here have in common: one writer, many readers, and a path that may come to name another."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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


@contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, and read in half the time; the connection is in autocommit mode."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class ReadOnlyConnections:
    """To the file that a path names: as many as are used at once, opened lazily, lent to one thread at a time."""

    def __init__(self, path: Path, first_statement: str = "") -> None:
        """`first_statement` is run on each connection as it is opened, to see whether the file can be read at all."""
        self._path = path
        self._first_statement = first_statement
        self._lock = threading.Lock()
        self._idle: list[_Opened] = []

    @contextmanager
    def lend(self) -> Iterator[tuple[sqlite3.Connection, Path] | None]:
        """To the file that is there now, and where that really lies; None if there is none."""
        file = file_identity(self._path)
        if file is None:
            yield None
            return
        opened = self._take((os.getpid(), *file)) or self._open((os.getpid(), *file))
        try:
            yield opened.connection, opened.file
        finally:
            with self._lock:
                self._idle.append(opened)

    def _take(self, identity: tuple[int, ...]) -> _Opened | None:
        """The one that was used last, for what it has in its cache; all to another file are given up."""
        with self._lock:
            kept = [opened for opened in self._idle if opened.identity == identity]
            given_up = [opened for opened in self._idle if opened.identity != identity]
            self._idle = kept
            taken = kept.pop() if kept else None
        for opened in given_up:
            if opened.identity[0] == os.getpid():  # what was opened before a fork is the parent's to close
                opened.connection.close()  # else the file stays on disk until a collector comes by
        return taken

    def _open(self, identity: tuple[int, ...]) -> _Opened:
        # resolved: what SQLite keeps beside the file must be found when a link has been switched
        resolved = self._path.resolve()
        connection = sqlite3.connect(
            f"{resolved.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        if self._first_statement:
            connection.execute(self._first_statement)
        return _Opened(identity, connection, resolved)


class _Opened(NamedTuple):
    """`identity` is of the process and of the file: neither may be another when the connection is used again."""

    identity: tuple[int, ...]
    connection: sqlite3.Connection
    file: Path
