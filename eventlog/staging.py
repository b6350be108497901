"""A log being written back under keys of its own, until one step makes it the log."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from eventlog.archive import NamedCommand
from eventlog.codec import Entry
from eventlog.counted import counted
from eventlog.errors import LogUnavailable, ReseedRefused
from eventlog.position import Position
from eventlog.redis_client import OUT_OF_MEMORY, RedisClient, Script

_SWITCH, _HOLD = Script("positions", "reseed"), Script("hold_reseed")

COUNTER_PREFIX: Final = b"next:"

_LEASE_MS = 10_000  # twice what Redis may take to answer; so long a killed run keeps others waiting
_POLL_S = 0.2

_logger = logging.getLogger(__name__)


class StagedLog(NamedTuple):
    """What the log will say of itself; `counters` are fields of its meta, `commands` how many are named.

    `replace` puts aside what the same log has still, where all of it lies up to `last`; or up to where it was
    `looked_to`, whatever the log has counted.
    """

    log_id: str
    sequence: int
    last: Entry
    adopted_to: bytes
    counters: Mapping[bytes, int]
    named_lifetime_ms: int
    commands: int
    replace: bool
    looked_to: Position | None = None


class Staging:
    """Made by `EventLog.staging`, for one run. Nobody reads what is staged.

    One run at a time holds the place; what it staged under keys of its own, and the place, expire unless it goes on.
    """

    def __init__(self, client: RedisClient, stream: str, own_keys: Sequence[str], record_prefix: str) -> None:
        """`own_keys` are meta, subjects and named commands."""
        self._redis = client
        self._log_keys = [stream, *own_keys]
        self.aside = f"{stream}-aside"
        self._record_prefix = record_prefix
        self._token = secrets.token_urlsafe(12)
        self._place = f"{{{stream}}}:reseed-run"
        self._entries = f"{{{stream}}}:reseed:{self._token}"
        self._commands = f"{self._entries}:commands"

    def begin(self) -> None:
        """Take the place. ReseedRefused while another run has it and goes on; one that was killed is waited for."""
        held_ms = None
        while (other := self._hold()) is not None:
            since, left_ms = other
            if held_ms is None:
                _logger.warning("another reseed began at %s: waiting to see whether it still runs", since)
            elif left_ms > held_ms:
                raise ReseedRefused(f"another reseed is running, since {since}: let it end")
            held_ms = left_ms
            time.sleep(_POLL_S)

    def end(self) -> None:
        """Leave nothing staged, and the place to others."""
        self._redis.execute("DEL", self._entries, self._commands)
        self._redis.run(_HOLD, [self._place], [self._token, _LEASE_MS, 1])

    def _hold(self) -> tuple[str, int] | None:
        """None where the place is ours, for a while; else since when another has it, and for how long still, in ms."""
        with _memory_named():
            outcome, *details = self._redis.run(_HOLD, [self._place], [self._token, _LEASE_MS, 0])
        if outcome == b"held":
            return None
        since = datetime.fromtimestamp(int(details[0]) / 1000, UTC)
        return f"{since:%Y-%m-%d %H:%M:%S} UTC", details[1]

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """In order, under their own ids; ReseedRefused where there is no memory for them."""
        self._add([("XADD", self._entries, entry.id, *entry.fields) for entry in entries])

    def add_commands(self, commands: Sequence[NamedCommand]) -> None:
        """In order, in the form of publish.lua; ReseedRefused where there is no memory for them."""
        self._add(
            [
                (
                    *("XADD", self._commands, str(command.position)),
                    *("record", command.record, "fingerprint", command.fingerprint),
                    *("sequence", command.sequence, "result", command.result),
                )
                for command in commands
            ]
        )

    def _add(self, commands: Sequence[tuple[object, ...]]) -> None:
        if not commands:
            return
        if self._hold() is not None:
            raise _overtaken()
        leases = [("PEXPIRE", key, _LEASE_MS) for key in (self._entries, self._commands)]
        with _memory_named():
            self._redis.execute_all([*commands, *leases])

    def require_room(self, staged: StagedLog) -> None:
        """ReseedRefused where the switch would be refused by what is there now; with nothing staged yet."""
        self._switch(staged)

    def switch(self, staged: StagedLog) -> int:
        """Make what is staged the log, in one step; answers how many named commands are remembered again.

        ReseedRefused, with nothing changed, where there is a log already, or not all was staged.
        """
        newest = self._redis.execute("XREVRANGE", self._entries, "+", "-", "COUNT", 1)
        whole = [Entry(*entry) for entry in newest] == [staged.last]
        remembered = self._switch(staged) if whole else None
        if remembered is None:
            raise _overtaken()
        return remembered

    def _switch(self, staged: StagedLog) -> int | None:
        """None where not all is staged."""
        stream, meta, *_ = self._log_keys
        counters = [word for field, value in staged.counters.items() for word in (field, value)]
        outcome, *details = self._redis.run(
            _SWITCH,
            [*self._log_keys, self._entries, self._commands, self._place, self.aside],
            [
                *(staged.log_id, staged.sequence, staged.last.id, staged.adopted_to),
                *(self._record_prefix, staged.named_lifetime_ms, staged.commands, self._token),
                *(str(staged.looked_to or int(staged.replace)), *counters),
            ],
        )
        match outcome.decode():
            case "restored":
                return int(details[0])
            case "not staged":
                return None
            case "entries":
                raise ReseedRefused(_occupied(stream, meta, details))
            case "another log":
                raise ReseedRefused(
                    f"{meta} says that log {details[0].decode()} was here: make sure that this is the Redis and the "
                    f"stream you mean; if that log may go: redis-cli DEL {meta}; then run it again"
                )
            case "ahead":
                raise ReseedRefused(
                    f"{meta} counts {counted(details[0], 'entry')} and the archive has {staged.sequence}: "
                    f"{details[0] - staged.sequence} would be lost. Restore the Redis data that has them; "
                    f"or accept the loss: `redis-cli DEL '{meta}'`; then run it again"
                )
            case "further":
                raise ReseedRefused(
                    f"the log goes on to {details[0].decode()}, and the archive ends at {staged.last.position}: run "
                    "`eventlog archive --once`, then this again, with the services stopped while they write. Where "
                    "that says rewound, and the log is signed, set EVENT_KEYS_FILE"
                )
            case _:
                key = details[0].decode()
                renamed = f"{key}-{self._token[:6]}"
                raise ReseedRefused(
                    f"key {key!r} is in the way: `redis-cli RENAME '{key}' '{renamed}'`, then run it again"
                )


@contextmanager
def _memory_named() -> Iterator[None]:
    """Inside it, a Redis without memory is ReseedRefused."""
    try:
        yield
    except LogUnavailable as problem:
        if OUT_OF_MEMORY in str(problem):
            raise ReseedRefused(
                "the log does not fit: give Redis more memory (maxmemory), then run it again"
            ) from problem
        raise


def _overtaken() -> ReseedRefused:
    return ReseedRefused(
        f"it stood still for over {_LEASE_MS // 1000} s, so that what was staged is gone: run it again"
    )


def _occupied(stream: str, meta: str, found: list[Any]) -> str:
    count, of_this_log = found[0], found[3]
    first, last = found[1].decode(), found[2].decode()
    there = f"stream {stream!r} has {count} {'entry' if count == 1 else 'entries'}, from {first} to {last}"
    if of_this_log:
        return (
            f"{there}, of this log, and is not what the archive has: `eventlog reseed --replace` writes all back, "
            f"and puts these aside as {stream}-aside"
        )
    return (
        f"{there}: nothing is written over them. Look at them (`redis-cli XRANGE {stream} {first} "
        f"{last}`); if they may go, put them aside: "
        f"`redis-cli RENAMENX {stream} {stream}-aside-$(date +%s)`, then `redis-cli DEL '{meta}'`; then run it again"
    )
