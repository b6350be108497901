"""How soon the next password may be tried, after so many that were wrong; all processes of accounts count together."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from accounts.users_file import open_private, writing
from shared.networks import network_of

FILE_NAME: Final = "failed-logins.db"
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS failures (
        whose TEXT PRIMARY KEY, count INTEGER NOT NULL, waits_until_s REAL NOT NULL, forgotten_at_s REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS forgotten ON failures (forgotten_at_s);
    CREATE TABLE IF NOT EXISTS known_addresses (
        username TEXT, address TEXT, seen_s REAL NOT NULL, PRIMARY KEY (username, address)
    ) STRICT, WITHOUT ROWID;
"""
_REMEMBERED_S: Final = 900.0  # after the last wait was over
_KNOWN_FOR_S: Final = 30 * 86400.0

ResultT = TypeVar("ResultT")

_logger = logging.getLogger(__name__)


class TooManyFailures(Exception):
    """No password is looked at before so many seconds are over."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"wait for {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Limit(NamedTuple):
    """So many failures cost nothing; the next one costs a second of waiting, each further one twice as much."""

    free: int
    longest_wait_s: float

    def wait_s(self, failures: int) -> float:
        beyond = failures - self.free
        return min(2.0 ** min(beyond - 1, 30), self.longest_wait_s) if beyond > 0 else 0.0


class Limits(NamedTuple):
    """Of one user from one address; of one address; of one user from all addresses.

    Where a user has logged in within 30 days, others' failures elsewhere cost that user nothing.
    """

    pair: Limit = Limit(10, 900.0)
    address: Limit = Limit(50, 900.0)
    # A short wait: whoever does not know the password must not be able to keep its owner out for long.
    user: Limit = Limit(50, 60.0)


DEFAULT_LIMITS: Final = Limits()


class Attempt(NamedTuple):
    """A try that began, and until when each of whom it was counted for waits because of it."""

    username: str
    address: str
    waits_until_s: dict[str, float]


class FailedLogins:
    """A try counts as failed when it begins, so that many at once are no way around it."""

    def __init__(
        self, directory: Path, limits: Limits = DEFAULT_LIMITS, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` is in seconds."""
        self._path = directory / FILE_NAME
        self._limits = limits
        self._clock = clock
        self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._memory.executescript(_TABLES)
        self._using_memory = threading.Lock()

    def begin(self, username: str, address: str) -> Attempt:
        """Raise TooManyFailures where it must wait; nothing is counted then."""
        address = network_of(address)
        now_s = self._clock()

        def count(file: sqlite3.Connection) -> Attempt:
            # The second kind is of a clock that was set back since.
            file.execute(
                "DELETE FROM failures WHERE forgotten_at_s <= ? OR forgotten_at_s > ?",
                (now_s, now_s + 2 * _REMEMBERED_S),
            )
            limits = self._limits_of(file, username, address, now_s)
            marks = ", ".join("?" * len(limits))
            found = file.execute(
                f"SELECT max(waits_until_s) FROM failures WHERE whose IN ({marks})",  # question marks
                [*limits],
            ).fetchone()[0]
            if found is not None and found > now_s:
                raise TooManyFailures(math.ceil(found - now_s))
            waits = {whose: self._count(file, whose, limit, now_s) for whose, limit in limits.items()}
            return Attempt(username, address, waits)

        return self._change(count)

    def succeeded(self, attempt: Attempt) -> None:
        """The user starts afresh at this address, and is known there."""
        username, address, _ = attempt
        now_s = self._clock()

        def start_afresh(file: sqlite3.Connection) -> None:
            self._take_back(file, attempt)
            file.execute("DELETE FROM failures WHERE whose = ?", (_pair(username, address),))
            file.execute("DELETE FROM known_addresses WHERE seen_s <= ?", (now_s - _KNOWN_FOR_S,))
            file.execute(
                "INSERT OR REPLACE INTO known_addresses VALUES (?, ?, ?)", (username, address, now_s)
            )

        self._change(start_afresh)

    def take_back(self, attempt: Attempt) -> None:
        """The password was not looked at."""
        self._change(lambda file: self._take_back(file, attempt))

    def _take_back(self, file: sqlite3.Connection, attempt: Attempt) -> None:
        """A wait that another try began meanwhile stays."""
        file.executemany(
            "UPDATE failures SET count = count - 1,"
            " waits_until_s = CASE WHEN waits_until_s = ? THEN 0 ELSE waits_until_s END WHERE whose = ?",
            [(waits_until_s, whose) for whose, waits_until_s in attempt.waits_until_s.items()],
        )

    def _limits_of(
        self, file: sqlite3.Connection, username: str, address: str, now_s: float
    ) -> dict[str, Limit]:
        limits = {
            _pair(username, address): self._limits.pair,
            _address(address): self._limits.address,
        }
        known = file.execute(
            "SELECT 1 FROM known_addresses WHERE username = ? AND address = ? AND seen_s > ?",
            (username, address, now_s - _KNOWN_FOR_S),
        ).fetchone()
        return limits if known else {**limits, _user(username): self._limits.user}

    def _count(self, file: sqlite3.Connection, whose: str, limit: Limit, now_s: float) -> float:
        """Until when it waits for it."""
        found = file.execute("SELECT count FROM failures WHERE whose = ?", (whose,)).fetchone()
        count = (int(found[0]) if found else 0) + 1
        wait_s = limit.wait_s(count)
        waits_until_s = now_s + wait_s if wait_s else 0.0  # now is to come where the clock is set back
        file.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
            (whose, count, waits_until_s, now_s + wait_s + _REMEMBERED_S),
        )
        return waits_until_s

    def _change(self, change: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """In the file; in this process' memory while that cannot be written, for a full disk must lock nobody out."""
        try:
            with open_private(self._path, _TABLES) as file:
                file.execute("PRAGMA synchronous = OFF")  # what a power cut takes is counted anew
                with writing(file):
                    return change(file)
        except sqlite3.Error as problem:
            _logger.warning(
                "failed logins are counted by each process for itself: %s: %s", self._path, problem
            )
        with self._using_memory, writing(self._memory):
            return change(self._memory)


def _pair(username: str, address: str) -> str:
    return _whose("pair", address, username)


def _address(address: str) -> str:
    return _whose("address", address)


def _user(username: str) -> str:
    return _whose("user", username)


def _whose(*parts: str) -> str:
    """Not readable: now and then somebody types a password where the name belongs."""
    return sha256("\0".join(parts).encode()).hexdigest()
