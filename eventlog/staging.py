"""A log being written back under keys of its own, until one step makes it the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import redis

from eventlog.archive import NamedCommand
from eventlog.codec import Entry
from eventlog.errors import LogUnavailable, ReseedRefused
from eventlog.redis_client import RedisClient, Script

_SWITCH = Script("reseed")

COUNTER_PREFIX: Final = b"next:"


class StagedLog(NamedTuple):
    """What the log will say of itself; `counters` are fields of its meta, `commands` how many are named."""

    log_id: str
    sequence: int
    last: Entry
    adopted_to: bytes
    counters: Mapping[bytes, int]
    named_lifetime_ms: int
    commands: int


class Staging:
    """Made by `EventLog.staging`. Nobody reads what is staged, and a run that was ended leaves it to the next."""

    def __init__(self, client: RedisClient, stream: str, own_keys: Sequence[str], record_prefix: str) -> None:
        """`own_keys` are meta, subjects and named commands."""
        self._redis = client
        self._log_keys = [stream, *own_keys]
        self._record_prefix = record_prefix
        self._entries = f"{{{stream}}}:reseed"
        self._commands = f"{{{stream}}}:reseed-commands"

    def clear(self) -> None:
        """Leave nothing staged."""
        self._redis.execute("DEL", self._entries, self._commands)

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
        try:
            self._redis.execute_all(commands)
        except LogUnavailable as problem:
            if isinstance(problem.__cause__, redis.exceptions.OutOfMemoryError):
                raise ReseedRefused(
                    "the log does not fit: give Redis more memory (maxmemory), then run it again"
                ) from problem
            raise

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
            raise ReseedRefused(
                "what was staged is not what the archive has; did another run meet this one? Run it again, alone"
            )
        return remembered

    def _switch(self, staged: StagedLog) -> int | None:
        """None where not all is staged."""
        stream, meta, *_ = self._log_keys
        counters = [word for field, value in staged.counters.items() for word in (field, value)]
        outcome, *details = self._redis.run(
            _SWITCH,
            [*self._log_keys, self._entries, self._commands],
            [
                *(staged.log_id, staged.sequence, staged.last.id, staged.adopted_to),
                *(self._record_prefix, staged.named_lifetime_ms, staged.commands, *counters),
            ],
        )
        match outcome.decode():
            case "restored":
                return int(details[0])
            case "not staged":
                return None
            case "entries":
                raise ReseedRefused(_occupied(stream, meta, *details))
            case "another log":
                raise ReseedRefused(
                    f"{meta} says that log {details[0].decode()} was here: make sure that this is the Redis and the "
                    f"stream you mean; if that log may go: redis-cli DEL {meta}; then run it again"
                )
            case "ahead":
                raise ReseedRefused(
                    f"{meta} counts {details[0]} entries and the archive has {staged.sequence}: "
                    f"{details[0] - staged.sequence} would be lost. Restore the Redis data that has them; "
                    f"or accept the loss: `redis-cli DEL '{meta}'`; then run it again"
                )
            case _:
                raise ReseedRefused(
                    f"key {details[0].decode()!r} is in the way: rename it, then run it again"
                )


def _occupied(stream: str, meta: str, count: int, first: bytes, last: bytes) -> str:
    return (
        f"stream {stream!r} has {count} {'entry' if count == 1 else 'entries'}, from {first.decode()} to "
        f"{last.decode()}: nothing is written over them. Look at them (`redis-cli XRANGE {stream} {first.decode()} "
        f"{last.decode()}`); if they may go, put them aside: "
        f"`redis-cli RENAME {stream} {stream}-aside`, then `redis-cli DEL '{meta}'`; then run it again"
    )
