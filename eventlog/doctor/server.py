"""The server that holds the log: whether it keeps what it acknowledged, has room, is safe, and has the right time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from eventlog.doctor.advisories import AS_OF, list_holes
from eventlog.doctor.findings import Finding, Limits, Name, Severity, not_looked_at, with_all_clear
from eventlog.errors import OPERATOR, LogUnavailable, PermissionMissing, WeakDurability, mend_for
from eventlog.log import DURABLE_SETTINGS, Durability, EventLog
from eventlog.permissions import TO_OPERATE
from eventlog.position import Position
from eventlog.server_state import ServerState

_WEAK: Final = {
    "appendonly": (Name.AOF_OFF, "a restart loses the log"),
    "appendfsync": (Name.FSYNC_NOT_ALWAYS, "a crash loses acknowledged events"),
    "no-appendfsync-on-rewrite": (
        Name.FSYNC_PAUSED_BY_REWRITE,
        "a crash during a rewrite of the AOF loses acknowledged events",
    ),
    "maxmemory-policy": (Name.EVICTION_POLICY, "Redis may delete the log when its memory is full"),
}
# Redis that is told in its file to keep an AOF reads no other file, and begins with nothing.
_AROUND_RESTART: Final = {
    "appendonly": ", which may begin empty then: `eventlog archive --once` before, `eventlog reseed` after"
}
_SETTINGS: Final = (*(name for name, _ in _WEAK.values()), Name.DURABILITY_UNPROVEN)
_PERMISSIONS: Final = (Name.PERMISSIONS_MISSING, Name.STRANGERS_MAY_WRITE)
_STATE: Final = (Name.REDIS_MEMORY, Name.REDIS_OUTDATED, Name.CLOCKS_DIFFER, Name.IDS_AHEAD_OF_CLOCK)
SERVER_NAMES: Final = (*_SETTINGS, *_PERMISSIONS, *_STATE)


def examine_server(
    log: EventLog, end: Position | None, limits: Limits, clock: Callable[[], datetime]
) -> tuple[list[Finding], Path | None]:
    """And the server's directory, where this user may see it. Raises LogUnavailable where Redis is away.

    `end` is the position of the log's last entry, None where it is not known.
    """
    found = with_all_clear(_SETTINGS, judge_durability(log))
    found += with_all_clear(_PERMISSIONS, _judge_permissions(log))
    try:
        server = log.server_state()
    except LogUnavailable as refusal:
        return found + not_looked_at(_STATE, f"the server does not tell: {refusal}"), None
    judged = [
        *_judge_memory(server, limits),
        *_judge_release(server),
        *_judge_clocks(server, clock(), limits),
        *_judge_ids(server, end, limits),
    ]
    return found + with_all_clear(_STATE, judged), server.directory


def judge_durability(log: EventLog) -> list[Finding]:
    """Nothing where an acknowledged event is known to be on disk. Raises LogUnavailable."""
    try:
        durability = log.check_durability()
    except WeakDurability as weak:
        return [
            Finding(
                _WEAK[setting][0],
                Severity.PROBLEM,
                f"{setting} is {value!r}: {_WEAK[setting][1]}, so writes are refused",
                f"write `{setting} {DURABLE_SETTINGS[setting]}` into redis.conf, and start Redis anew"
                f"{_AROUND_RESTART.get(setting, '')}",
            )
            for setting, value in weak.settings.items()
        ]
    if durability is Durability.UNPROVEN:
        mend = "let CONFIG GET be read, or check appendfsync by hand"
        return [Finding(Name.DURABILITY_UNPROVEN, Severity.WARNING, "durability unproven", mend)]
    return []


def _judge_permissions(log: EventLog) -> Iterator[Finding]:
    try:
        missing = log.permissions.list_missing(TO_OPERATE)
        why = f"user {log.permissions.user!r} may not run {', '.join(missing)}" if missing else ""
    except PermissionMissing as refusal:
        why = f"user {refusal.user!r} may not {refusal.what}"
    if why:
        detail = f"{why}, which `eventlog init`, `trim`, `reseed` and `readers remove` need"
        mend = mend_for(log.permissions.user, OPERATOR)
        yield Finding(Name.PERMISSIONS_MISSING, Severity.WARNING, detail, mend)
    if log.permissions.may_strangers_write():
        detail = "whoever reaches Redis may write to the log, and delete it, without a password"
        mend = "give Redis the users of deploy/users.acl: docs/how-to/secure-redis.md"
        yield Finding(Name.STRANGERS_MAY_WRITE, Severity.WARNING, detail, mend)


def _judge_memory(server: ServerState, limits: Limits) -> Iterator[Finding]:
    limit = server.maxmemory_bytes
    if limit and server.used_memory_bytes >= limit * limits.memory_share:
        yield Finding(
            Name.REDIS_MEMORY,
            Severity.WARNING,
            f"Redis uses {server.used_memory_bytes:,} of {limit:,} bytes; beyond that, writes are refused",
            "raise maxmemory, or trim what is archived",
        )


def _judge_release(server: ServerState) -> Iterator[Finding]:
    holes = list_holes(server.program, server.version)
    if holes:
        version = ".".join(map(str, server.version))
        known = ", ".join(f"{hole.identifier} ({hole.what})" for hole in holes)
        line = [fixed for hole in holes for fixed in hole.fixed_in if fixed[:2] == server.version[:2]]
        wanted = max(line) if line else max(fixed for hole in holes for fixed in hole.fixed_in)
        yield Finding(
            Name.REDIS_OUTDATED,
            Severity.WARNING,
            f"{server.program} {version} has known holes, as of {AS_OF}: {known}",
            f"install {server.program} {'.'.join(map(str, wanted))} or later. A distribution may have mended its "
            "package under the old number (apt changelog redis-server); let nobody else reach the port",
        )


def _judge_clocks(server: ServerState, now: datetime, limits: Limits) -> Iterator[Finding]:
    ahead_s = now.timestamp() - server.clock_ms / 1000
    if abs(ahead_s) > limits.clock_difference_s:
        where = "ahead of" if ahead_s > 0 else "behind"
        yield Finding(
            Name.CLOCKS_DIFFER,
            Severity.WARNING,
            f"this machine's clock is {abs(ahead_s):.0f} s {where} that of Redis, which ids are made with",
            "set both by a time server (timedatectl)",
        )


def _judge_ids(server: ServerState, end: Position | None, limits: Limits) -> Iterator[Finding]:
    ahead_s = (end.milliseconds - server.clock_ms) / 1000 if end else 0.0
    if ahead_s > limits.clock_difference_s:
        yield Finding(
            Name.IDS_AHEAD_OF_CLOCK,
            Severity.WARNING,
            f"the last entry, {end}, is {ahead_s:.0f} s ahead of the clock of Redis",
            "set the clock by a time server. Order and sums are right; ids go on from there until the clock has come "
            "so far, and until then they do not tell when something was written",
        )
