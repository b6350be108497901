"""Who stays logged in: refresh tokens, each good for one use, kept as hashes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from accounts.identity import Authenticated
from accounts.users_file import WHO_MAY_LOG_IN, UsersFile
from shared.permissions import Identity, Role

IDLE: Final = timedelta(days=14)
LONGEST: Final = timedelta(days=30)
_ID_CHARACTERS: Final = 22  # 16 bytes
_SECRET_BYTES: Final = 32


class RefreshToken(NamedTuple):
    """What a client keeps; `good_for` counts from now."""

    token: str
    good_for: timedelta


class Sessions:
    """A session begins at login. Its tokens are one family: the one that is good now, and those used up before."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file = UsersFile(directory)
        self._clock = clock

    def begin(self, authenticated: Authenticated) -> RefreshToken | None:
        """The first token of a new session; None where the user was disabled or given another password in this moment.

        That would have ended it, had it begun before.
        """
        username, password_hash = authenticated.identity.username, authenticated.password_hash
        now_s = self._now_s()
        session_id, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(_SECRET_BYTES)
        idle_until_s, ends_s = now_s + int(IDLE.total_seconds()), now_s + int(LONGEST.total_seconds())
        with self._file.change() as file:
            file.execute("DELETE FROM sessions WHERE min(idle_until_s, ends_s) <= ?", (now_s,))
            begun = file.execute(
                "INSERT INTO sessions SELECT ?, username, ?, ?, ? FROM users"
                f" WHERE username = ? AND password_hash = ? AND username IN {WHO_MAY_LOG_IN}",
                (session_id, _hash(secret), idle_until_s, ends_s, username, password_hash),
            )
        return RefreshToken(session_id + secret, IDLE) if begun.rowcount else None

    def refresh(self, token: str) -> tuple[Identity, RefreshToken] | None:
        """The user as it is now and the next token, for a token that is good now; it is used up by this.

        None for any other. One that was used up before also ends its session: it, or the one after it, was stolen.
        """
        session_id, secret = token[:_ID_CHARACTERS], token[_ID_CHARACTERS:]
        now_s = self._now_s()
        next_secret = secrets.token_urlsafe(_SECRET_BYTES)
        if not self._file.exists():
            return None
        with self._file.change() as file:
            found = file.execute(
                "UPDATE sessions SET secret_hash = ?, idle_until_s = ? WHERE id = ? AND secret_hash = ?"
                f" AND min(idle_until_s, ends_s) > ? AND username IN {WHO_MAY_LOG_IN}"
                " RETURNING username, min(idle_until_s, ends_s) - ?, (SELECT role FROM users"
                " WHERE users.username = sessions.username)",
                (
                    _hash(next_secret),
                    now_s + int(IDLE.total_seconds()),
                    session_id,
                    _hash(secret),
                    now_s,
                    now_s,
                ),
            ).fetchone()
            if found is None:
                file.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
                return None
        username, good_for_s, role = found
        refreshed = RefreshToken(session_id + next_secret, timedelta(seconds=good_for_s))
        return Identity(str(username), Role(role)), refreshed

    def end(self, token: str) -> None:
        """The session of this token, used up or not; nothing where there is none."""
        if self._file.exists():
            with self._file.open() as file:
                file.execute("DELETE FROM sessions WHERE id = ?", (token[:_ID_CHARACTERS],))

    def _now_s(self) -> int:
        return int(self._clock().timestamp())


def _hash(secret: str) -> bytes:
    """Of 32 random bytes: nothing that is slow to compute is needed to keep them from being guessed."""
    return sha256(secret.encode()).digest()
