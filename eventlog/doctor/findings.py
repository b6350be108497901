"""What a doctor says: findings by stable names; docs/runbook.md has a row for each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """A `problem` stays wrong until somebody mends it; a `warning` breaks no promise now, and may become one.

    `ok` was looked for and not found.
    """

    PROBLEM = "problem"
    WARNING = "warning"
    NOT_LOOKED_AT = "not-looked-at"
    OK = "ok"


class Name(StrEnum):
    """What may be wrong with a log, its machine and its projections. Scripts hang on these words."""

    REDIS_AWAY = "redis-away"
    AOF_OFF = "aof-off"
    FSYNC_NOT_ALWAYS = "fsync-not-always"
    FSYNC_PAUSED_BY_REWRITE = "fsync-paused-by-rewrite"
    EVICTION_POLICY = "eviction-policy"
    DURABILITY_UNPROVEN = "durability-unproven"
    PERMISSIONS_MISSING = "permissions-missing"
    STRANGERS_MAY_WRITE = "strangers-may-write"
    REDIS_MEMORY = "redis-memory"
    REDIS_OUTDATED = "redis-outdated"
    CLOCKS_DIFFER = "clocks-differ"
    IDS_AHEAD_OF_CLOCK = "ids-ahead-of-clock"
    LOG_MISSING = "log-missing"
    LOG_DAMAGED = "log-damaged"
    ENTRIES_MISSING = "entries-missing"
    WRITES_REFUSED = "writes-refused"
    LOG_REPLACED = "log-replaced"
    LOG_REWOUND = "log-rewound"
    LOG_TRIMMED = "log-trimmed"
    PROJECTION_UNREADABLE = "projection-unreadable"
    PARKED_ENTRIES = "parked-entries"
    FAR_BEHIND = "far-behind"
    TAIL_DEAD = "tail-dead"
    TAIL_STOPPED = "tail-stopped"
    TAIL_HALTED = "tail-halted"
    TAIL_RETRYING = "tail-retrying"
    TAIL_STUCK = "tail-stuck"
    SECOND_TAIL = "second-tail"
    WAL_GROWN = "wal-grown"
    READER_GONE = "reader-gone"
    READER_UNREADABLE = "reader-unreadable"
    ARCHIVE_AWAY = "archive-away"
    ARCHIVE_UNUSABLE = "archive-unusable"
    DISK_NEARLY_FULL = "disk-nearly-full"
    DATA_DIR_MISSING = "data-dir-missing"
    READABLE_BY_OTHERS = "readable-by-others"


class Finding(NamedTuple):
    """One thing looked for: what was seen, and what to do about it."""

    name: StrEnum
    severity: Severity
    detail: str = ""
    mend: str = ""


class Limits(NamedTuple):
    """Where it begins to be wrong."""

    free_bytes: int = 500_000_000
    free_share: float = 0.05
    memory_share: float = 0.9
    wal_bytes: int = 64 * 1024 * 1024
    clock_difference_s: float = 60.0
    stuck_after_s: float = 3.0  # a tail that works moves several times a second


def with_all_clear(looked_for: Iterable[StrEnum], found: Iterable[Finding]) -> list[Finding]:
    """The findings, and `ok` for each name that none of them bears."""
    findings = list(found)
    names = {finding.name for finding in findings}
    return findings + [Finding(name, Severity.OK) for name in looked_for if name not in names]


def not_looked_at(names: Iterable[StrEnum], why: str) -> list[Finding]:
    return [Finding(name, Severity.NOT_LOOKED_AT, why) for name in names]
