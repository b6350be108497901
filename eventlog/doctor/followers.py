"""Who follows the log: whether each projection can be read, is of this log, and keeps up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eventlog.archive_check import check_end
from eventlog.archive_status import describe_archive, find_archive_status
from eventlog.checkpoints import Checkpoint, read_checkpoint
from eventlog.continuity import Divergence, LogState, Verdict, number_entries
from eventlog.counted import counted
from eventlog.doctor.findings import Finding, Limits, Name, Severity, not_looked_at, with_all_clear
from eventlog.doctor.places import Follower, opened, unreadable_file
from eventlog.doctor.tails import TAIL_NAMES, examine_tail, moves
from eventlog.errors import ArchiveUnusable, EventLogError, LogUnavailable, NotBuilt, WrongLog
from eventlog.follower import BATCH_SIZE
from eventlog.log import EventLog
from eventlog.mends import wrong_log
from eventlog.parking import count_unacknowledged, list_impossible
from eventlog.projection import Projection
from eventlog.projection_file import require_usable
from eventlog.readers import ReaderKind
from eventlog.tables import find_faults

LAGGING_ENTRIES: Final = 10_000

_LOG: Final = (Name.LOG_REPLACED, Name.LOG_REWOUND, Name.LOG_TRIMMED, Name.FAR_BEHIND, Name.TAIL_STUCK)
FOLLOWER_NAMES: Final = (Name.PROJECTION_UNREADABLE, Name.PARKED_ENTRIES, *_LOG, *TAIL_NAMES)

_UNUSABLE_MEND: Final = (
    "`eventlog archive --check` says more. What it keeps beside the entries, `eventlog archive` renews by itself; "
    "else put a copy of it back, or, where nothing was trimmed, move DATA_DIR/archive aside: another is built"
)

_DIVERGED: Final = {
    Verdict.REPLACED: Name.LOG_REPLACED,
    Verdict.REWOUND: Name.LOG_REWOUND,
    Verdict.TRIMMED: Name.LOG_TRIMMED,
}


def examine_follower(
    follower: Follower, log: EventLog, state: LogState | None, limits: Limits
) -> list[Finding]:
    """`state` is None where the log cannot be read. Reads all of the file, and waits where the tail is behind."""
    found = examine_tail(follower, limits)
    try:
        with opened(follower.file) as connection:
            checkpoint = require_usable(read_checkpoint(connection), follower.projection, follower.file)
            faults = list(find_faults(connection, follower.projection.tables)) or list_impossible(connection)
            parked = 0 if faults else count_unacknowledged(connection)
        if faults:
            found.append(
                unreadable_file(follower.label, f"{follower.file}: {'; '.join(faults)}", follower.service)
            )
        found += _labelled(follower, judge_parked(parked, follower.projection.name, follower.service))
        if state is None:
            found += not_looked_at(_LOG, f"{follower.label}: the log cannot be read")
        else:
            found += _judge_place(follower, checkpoint, log, state, limits, of_tail=found)
    except (NotBuilt, sqlite3.Error, UnicodeDecodeError) as problem:
        what = str(problem) if isinstance(problem, NotBuilt) else f"{follower.file} cannot be read: {problem}"
        found.append(unreadable_file(follower.label, what, follower.service))
        found += not_looked_at((Name.PARKED_ENTRIES, *_LOG), f"{follower.label}: its file cannot be read")
    except (LogUnavailable, WrongLog) as problem:
        found += not_looked_at(_LOG, f"{follower.label}: {problem}")
    return with_all_clear(FOLLOWER_NAMES, found)


def examine_archive(archive: Path, log: EventLog, state: LogState | None, limits: Limits) -> list[Finding]:
    """The process that writes it, and whether it is of this log, where there is or should be one.

    Whether its entries are as they were kept takes reading them all, which is not done here.
    """
    if not archive.exists():
        return _judge_absent_archive(archive, log, state)
    follower = Follower(
        "archive", archive, archive.parent, Projection("archive", 1, ()), kind=ReaderKind.ARCHIVE
    )
    found = examine_tail(follower, limits)
    try:
        with opened(archive) as connection:
            checkpoint = check_end(connection, archive)
        found += not_looked_at(
            [Name.ARCHIVE_UNUSABLE], "every single entry of the archive: `eventlog archive --check` does"
        )
        if state is not None:
            found += _judge_place(follower, checkpoint, log, state, limits, of_tail=found)
    except (ArchiveUnusable, sqlite3.Error) as problem:
        what = (
            str(problem) if isinstance(problem, ArchiveUnusable) else f"{archive} cannot be read: {problem}"
        )
        found.append(Finding(Name.ARCHIVE_UNUSABLE, Severity.PROBLEM, f"archive: {what}", _UNUSABLE_MEND))
    except (LogUnavailable, WrongLog) as problem:
        found += not_looked_at(_LOG, f"archive: {problem}")
    return with_all_clear([Name.ARCHIVE_AWAY], found)


def judge_parked(count: int, projection: str, service: str | None) -> Finding | None:
    """None where somebody has looked at every parked entry; `eventlog` can do it where no service has a command."""
    if not count:
        return None
    look = f"{service} parked list" if service else "eventlog parked"
    acknowledge = f"{service} parked acknowledge" if service else f"eventlog parked acknowledge {projection}"
    return Finding(
        Name.PARKED_ENTRIES,
        Severity.PROBLEM,
        f"{counted(count, 'entry')} parked, unacknowledged",
        f"look at `{look}`, then `{acknowledge}`",
    )


def judge_lag(state: LogState, checkpoint: Checkpoint) -> Finding | None:
    """None where the projection is about as far as the log."""
    behind = count_behind(state, checkpoint)
    if behind <= LAGGING_ENTRIES:
        return None
    mend = "wait; if it grows, see the tail's log"
    return Finding(Name.FAR_BEHIND, Severity.WARNING, f"{counted(behind, 'event')} behind", mend)


def count_behind(state: LogState, checkpoint: Checkpoint) -> int:
    """How many events the projection has not applied, foreign ones that wait to be counted aside."""
    return max(0, state.sequence - checkpoint.sequence)


def _judge_absent_archive(archive: Path, log: EventLog, state: LogState | None) -> list[Finding]:
    try:
        status = find_archive_status(log, archive, state) if state is not None else None
    except EventLogError as problem:
        return not_looked_at([Name.ARCHIVE_AWAY], str(problem))
    if status is None or status.keeps:
        return with_all_clear([Name.ARCHIVE_AWAY, Name.ARCHIVE_UNUSABLE], [])
    return [Finding(Name.ARCHIVE_AWAY, Severity.PROBLEM, f"archive: {describe_archive(status)}", status.mend)]


def _judge_place(
    follower: Follower,
    checkpoint: Checkpoint,
    log: EventLog,
    state: LogState,
    limits: Limits,
    *,
    of_tail: list[Finding],
) -> Iterator[Finding]:
    """The judgement that the tail makes before each batch; then whether it moves, where it is not known to be dead."""
    dead = any(finding.name is Name.TAIL_DEAD for finding in of_tail)
    snapshot = log.snapshot(checkpoint.position, BATCH_SIZE)
    numbered = number_entries(checkpoint, snapshot, log.count_entries)
    if isinstance(numbered, Divergence):
        wrong = wrong_log(numbered, checkpoint, follower.kind)
        detail = f"{follower.label}: {wrong.explanation}"
        yield Finding(_DIVERGED[wrong.verdict], Severity.PROBLEM, detail, wrong.mend)
        return
    yield from _labelled(follower, judge_lag(state, checkpoint))
    if numbered and not dead and not moves(follower, checkpoint, limits.stuck_after_s):
        yield Finding(
            Name.TAIL_STUCK,
            Severity.PROBLEM,
            f"{follower.label}: the log goes on to {snapshot.state.end}; the tail says that it follows, and stayed at "
            f"{checkpoint.position} for {limits.stuck_after_s:g} s",
            "kill -9 the tail: its supervisor starts another; if that is stuck too, see its log and its disk",
        )


def _labelled(follower: Follower, finding: Finding | None) -> list[Finding]:
    return [] if finding is None else [finding._replace(detail=f"{follower.label}: {finding.detail}")]
