"""Looks at a log, its machine and its projections, and says what is wrong, with the mend; changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from eventlog.archiving import ARCHIVE_NAME
from eventlog.continuity import LogState
from eventlog.doctor.disks import examine_disks
from eventlog.doctor.entries import ENTRY_NAMES, examine_entries
from eventlog.doctor.exposed import examine_modes
from eventlog.doctor.findings import Finding, Limits, Name, Severity, not_looked_at, with_all_clear
from eventlog.doctor.followers import FOLLOWER_NAMES, examine_archive, examine_follower
from eventlog.doctor.places import list_followers, remembers_log
from eventlog.doctor.readers import READER_NAMES, examine_readers
from eventlog.doctor.server import SERVER_NAMES, examine_server
from eventlog.errors import EventLogError, LogUnavailable, PermissionMissing, WrongLog
from eventlog.log import EventLog
from eventlog.mends import mend_of

DEFAULT_LIMITS: Final = Limits()

_PATIENCE_S: Final = 3.0  # with a Redis that hangs
_LOOK_NAMES: Final = (Name.REDIS_AWAY, Name.LOG_DAMAGED)


def examine(
    log: EventLog,
    data_dir: Path,
    limits: Limits = DEFAULT_LIMITS,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Finding]:
    """The log, its server, the disks, and every projection below `data_dir`.

    Takes some seconds where a tail is behind or Redis hangs.
    """
    log = log.with_patience(_PATIENCE_S)
    try:
        return _examine(log, data_dir, limits, clock)
    finally:
        log.close()


def look_at_log(log: EventLog) -> tuple[LogState | None, list[Finding]]:
    """What the log says of itself, or why it cannot be read."""
    try:
        return log.state(), with_all_clear(_LOOK_NAMES, [])
    except WrongLog as problem:
        damaged = Finding(Name.LOG_DAMAGED, Severity.PROBLEM, problem.explanation, problem.mend)
        return None, with_all_clear(_LOOK_NAMES, [damaged])
    except EventLogError as problem:
        name = Name.PERMISSIONS_MISSING if isinstance(problem, PermissionMissing) else Name.REDIS_AWAY
        away = Finding(name, Severity.PROBLEM, str(problem), mend_of(problem))
        return None, [away, *not_looked_at([Name.LOG_DAMAGED], "the log cannot be read")]


def _examine(log: EventLog, data_dir: Path, limits: Limits, clock: Callable[[], datetime]) -> list[Finding]:
    followers, found = list_followers(data_dir)
    state, of_log = look_at_log(log)
    found += of_log
    if state is None:
        found += not_looked_at((*ENTRY_NAMES, *READER_NAMES), "the log cannot be read")
    else:
        found += examine_readers(log, state)
        found += examine_entries(log, state, followed=any(map(remembers_log, followers)))
    redis_dir: Path | None = None
    try:
        of_server, redis_dir = examine_server(log, state.end if state else None, limits, clock)
        found += of_server
    except LogUnavailable:
        found += not_looked_at(SERVER_NAMES, "Redis is away")
    found += examine_disks(data_dir, redis_dir, limits)
    found += examine_modes(data_dir)
    for follower in followers:
        found += examine_follower(follower, log, state, limits)
    found += examine_archive(data_dir / ARCHIVE_NAME, log, state, limits)
    if not followers:
        found += not_looked_at(FOLLOWER_NAMES, f"no projection that can be read lies below {data_dir}")
    return found
