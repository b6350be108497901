"""Users and their password hashes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from accounts.users_file import WHO_MAY_LOG_IN, UsersFile
from eventlog.counted import counted
from shared.health import Check
from shared.permissions import Identity, Role

_MOST_HASHING = 2  # at once and per process: each takes 64 MiB and a core
_HASHING_WAIT_S = 5.0


class UserExists(Exception):
    """Somebody has this name already."""

    def __init__(self, username: str) -> None:
        super().__init__(f"user {username!r} exists already: choose another name")


class NotAllowed(Exception):
    """Whoever asks for it may not log in any more, or has another role than its token says."""


class NoSuchUser(Exception):
    """Nobody has this name."""

    def __init__(self, username: str) -> None:
        super().__init__(f"there is no user {username[:100]!r}: `accounts users list` shows who there is")


class LastAdmin(Exception):
    """Nobody else could do what only admins may."""


class TooBusy(Exception):
    """Too many passwords are being checked; try again."""


class Authenticated(NamedTuple):
    """Who gave the right password, and the hash that it was verified with: another one ends what it would begin."""

    identity: Identity
    password_hash: str


class ListedUser(NamedTuple):
    """As `accounts users list` shows it; the date it was disabled is empty where it may log in."""

    username: str
    role: Role
    created_date: str
    disabled_date: str


class Users:
    """Adds and authenticates users. Safe to share between threads and processes."""

    def __init__(self, directory: Path) -> None:
        self._file = UsersFile(directory)
        self._hasher = PasswordHasher()  # argon2id
        self._hashing = threading.BoundedSemaphore(_MOST_HASHING)
        self._nobodys_hash: str | None = None

    def add(self, username: str, password: str, role: Role, *, asked_by: Identity | None = None) -> None:
        """Raise UserExists if the name is taken, NotAllowed where `asked_by` is not current; nothing is changed then.

        That is looked at as it is added: to hash a password takes long enough for somebody to be disabled.
        """
        password_hash = self._hash(password)
        try:
            with self._file.change() as file:
                if asked_by is not None and not _is_current(file, asked_by):
                    raise NotAllowed
                file.execute(
                    "INSERT INTO users (username, password_hash, role, created_date) VALUES (?, ?, ?, ?)",
                    (username, password_hash, role.value, _now()),
                )
        except sqlite3.IntegrityError:
            raise UserExists(username) from None

    def is_current(self, identity: Identity) -> bool:
        """Whether the user may still log in, and still has this role."""
        if not self._file.exists():
            return False
        with self._file.open() as file:
            return _is_current(file, identity)

    def authenticate(self, username: str, password: str) -> Authenticated | None:
        """Who it is, or None; an unknown or disabled name takes as long as a wrong password.

        None also where the user was disabled or given another password meanwhile: to verify one takes long enough.
        """
        found = self._find(username)
        with self._hashing_place():
            if self._nobodys_hash is None:
                self._nobodys_hash = self._hasher.hash("nobody has this password")
            password_hash = found[0] if found else self._nobodys_hash
            try:
                self._hasher.verify(password_hash, password)
            except (VerificationError, InvalidHashError):
                return None
        if not found or found[2] or self._find(username) != found:
            return None
        return Authenticated(Identity(username, Role(found[1])), password_hash)

    def find(self, username: str) -> Identity | None:
        """The user as it is now, disabled or not; None if there is none."""
        found = self._find(username)
        return Identity(username, Role(found[1])) if found else None

    def list_users(self) -> list[ListedUser]:
        """By name."""
        if not self._file.exists():
            return []
        with self._file.open() as file:
            rows = file.execute(
                "SELECT username, role, created_date, coalesce(disabled_date, '')"
                " FROM users LEFT JOIN disabled_users USING (username) ORDER BY username"
            ).fetchall()
        return [
            ListedUser(username, Role(role), created, disabled) for username, role, created, disabled in rows
        ]

    def change_password(self, username: str, password: str) -> None:
        """Also ends every session of the user. Raise NoSuchUser."""
        password_hash = self._hash(password)
        with self._changing(username) as file:
            file.execute("UPDATE users SET password_hash = ? WHERE username = ?", (password_hash, username))
            file.execute("DELETE FROM sessions WHERE username = ?", (username,))

    def disable(self, username: str) -> None:
        """No login and no refresh from now on; the sessions are ended. Raise NoSuchUser, LastAdmin."""
        with self._changing(username) as file:
            admins = file.execute(
                f"SELECT username FROM users WHERE role = ? AND username IN {WHO_MAY_LOG_IN}",
                (Role.ADMIN.value,),
            ).fetchall()
            if admins == [(username,)]:
                raise LastAdmin(
                    f"{username} is the last admin who may log in: enable another, or add one with"
                    " `accounts users add NAME --role admin --generate`, then disable this one"
                )
            file.execute("INSERT OR IGNORE INTO disabled_users VALUES (?, ?)", (username, _now()))
            file.execute("DELETE FROM sessions WHERE username = ?", (username,))

    def enable(self, username: str) -> None:
        """It may log in again. Raise NoSuchUser."""
        with self._changing(username) as file:
            file.execute("DELETE FROM disabled_users WHERE username = ?", (username,))

    def check(self) -> Check:
        """For `/health/ready`: whether anybody could log in."""
        try:
            count = sum(not user.disabled_date for user in self.list_users())
        except sqlite3.Error as problem:
            return Check(
                "degraded", f"nobody can log in: {problem}", f"restore {self._file.path} from a backup"
            )
        if not count:
            mend = f"`accounts users add NAME --role admin`; or restore {self._file.path} from a backup"
            return Check("degraded", "there are no users who may log in", mend)
        return Check("ok", counted(count, "user"))

    def _find(self, username: str) -> tuple[str, str, bool] | None:
        """The hash, the role, and whether the user is disabled."""
        if not self._file.exists():
            return None
        with self._file.open() as file:
            found = file.execute(
                "SELECT password_hash, role, username IN (SELECT username FROM disabled_users)"
                " FROM users WHERE username = ?",
                (username,),
            ).fetchone()
        return (str(found[0]), str(found[1]), bool(found[2])) if found else None

    @contextmanager
    def _changing(self, username: str) -> Iterator[sqlite3.Connection]:
        if self._find(username) is None:
            raise NoSuchUser(username)
        with self._file.change() as file:
            yield file

    def _hash(self, password: str) -> str:
        with self._hashing_place():
            return self._hasher.hash(password)

    @contextmanager
    def _hashing_place(self) -> Iterator[None]:
        if not self._hashing.acquire(timeout=_HASHING_WAIT_S):
            raise TooBusy("too many passwords are being checked")
        try:
            yield
        finally:
            self._hashing.release()


def _is_current(file: sqlite3.Connection, identity: Identity) -> bool:
    found = file.execute(
        f"SELECT 1 FROM users WHERE username = ? AND role = ? AND username IN {WHO_MAY_LOG_IN}",
        (identity.username, identity.role.value),
    ).fetchone()
    return found is not None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
