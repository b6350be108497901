"""Users and their password hashes: in a file of their own, because secrets have no place in a shared log."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from eventlog.counted import counted
from shared.health import Check
from shared.permissions import Identity, Role

FILE_NAME: Final = "users.db"
_BUSY_TIMEOUT_MS = 5000
_MOST_HASHING = 2  # at once and per process: each takes 64 MiB and a core
_HASHING_WAIT_S = 5.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS users"
    " (username TEXT PRIMARY KEY, password_hash TEXT, role TEXT, created_date TEXT) STRICT"
)


class UserExists(Exception):
    """Somebody has this name already."""


class TooBusy(Exception):
    """Too many passwords are being checked; try again."""


class Users:
    """Adds and authenticates users. Safe to share between threads and processes."""

    def __init__(self, directory: Path, hasher: PasswordHasher | None = None) -> None:
        self._path = directory / FILE_NAME
        self._hasher = hasher or PasswordHasher()
        self._hashing = threading.BoundedSemaphore(_MOST_HASHING)
        self._nobodys_hash: str | None = None

    def add(self, username: str, password: str, role: Role) -> None:
        """Raise UserExists if the name is taken; nothing is changed then."""
        with self._hashing_place():
            password_hash = self._hasher.hash(password)
        created_date = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._file() as file:
                file.execute(
                    "INSERT INTO users (username, password_hash, role, created_date) VALUES (?, ?, ?, ?)",
                    (username, password_hash, role.value, created_date),
                )
        except sqlite3.IntegrityError:
            raise UserExists(f"user {username!r} exists already: choose another name") from None

    def authenticate(self, username: str, password: str) -> Identity | None:
        """Who it is, or None; an unknown name takes as long as a wrong password."""
        found = self._find(username)
        with self._hashing_place():
            if self._nobodys_hash is None:
                self._nobodys_hash = self._hasher.hash("nobody has this password")
            password_hash = found[0] if found else self._nobodys_hash
            try:
                self._hasher.verify(password_hash, password)
            except (VerificationError, InvalidHashError):
                return None
        return Identity(username, Role(found[1])) if found else None

    def find(self, username: str) -> Identity | None:
        """The user as it is now; None if there is none."""
        found = self._find(username)
        return Identity(username, Role(found[1])) if found else None

    def check(self) -> Check:
        """For `/health/ready`: whether anybody could log in."""
        try:
            count = self._count()
        except sqlite3.Error as problem:
            return Check("degraded", f"nobody can log in: {problem}", f"restore {self._path} from a backup")
        if not count:
            mend = f"`accounts users add NAME --role admin`; or restore {self._path} from a backup"
            return Check("degraded", "there are no users", mend)
        return Check("ok", counted(count, "user"))

    def _count(self) -> int:
        if not self._path.exists():
            return 0
        with self._file() as file:
            return int(file.execute("SELECT count(*) FROM users").fetchone()[0])

    def _find(self, username: str) -> tuple[str, str] | None:
        # Only adding a user makes the file: an empty one would look as if it had never been lost.
        if not self._path.exists():
            return None
        with self._file() as file:
            found = file.execute(
                "SELECT password_hash, role FROM users WHERE username = ?", (username,)
            ).fetchone()
        return (str(found[0]), str(found[1])) if found else None

    @contextmanager
    def _hashing_place(self) -> Iterator[None]:
        if not self._hashing.acquire(timeout=_HASHING_WAIT_S):
            raise TooBusy("too many passwords are being checked")
        try:
            yield
        finally:
            self._hashing.release()

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: users are few and asked for seldom."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._path.touch(mode=0o600)
        # Each statement is its own transaction: one that reads before it writes fails at once beside another.
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            connection.execute(_TABLE)
            yield connection
        finally:
            connection.close()
