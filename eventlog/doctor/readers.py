"""The readers that the log knows: which of them are gone, and what is kept for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventlog.continuity import LogState
from eventlog.counted import counted
from eventlog.doctor.findings import Finding, Name, Severity, not_looked_at, with_all_clear
from eventlog.durations import short_duration
from eventlog.errors import LogUnavailable, ReaderUnreadable
from eventlog.log import EventLog
from eventlog.trimming import UNSEEN_AFTER

READER_NAMES: Final = (Name.READER_GONE, Name.READER_UNREADABLE)


def examine_readers(log: EventLog, state: LogState) -> list[Finding]:
    try:
        return with_all_clear(READER_NAMES, _judge_readers(log, state))
    except ReaderUnreadable as problem:
        mend = f"`eventlog readers remove {problem.name}`; one that is alive makes itself known again"
        detail = f"what reader {problem.name!r} made known of itself cannot be read: nothing can be trimmed"
        found = [Finding(Name.READER_UNREADABLE, Severity.PROBLEM, detail, mend)]
        return found + not_looked_at([Name.READER_GONE], "a reader cannot be read")
    except LogUnavailable as problem:
        return not_looked_at(READER_NAMES, str(problem))


def _judge_readers(log: EventLog, state: LogState) -> Iterator[Finding]:
    now = log.now()
    for reader in log.readers.list_all():
        unseen = now - reader.seen_at
        if unseen <= UNSEEN_AFTER:
            continue
        held = min(reader.count_behind(state), state.entries)
        yield Finding(
            Name.READER_GONE,
            Severity.WARNING,
            f"{reader.name} ({reader.kind}, at {reader.position}) was last heard of at "
            f"{reader.seen_at:%Y-%m-%d %H:%M:%S} UTC, {short_duration(unseen.total_seconds())} ago: "
            f"`eventlog trim` keeps {counted(held, 'entry')} that it has not got{_size(log, state, held)}",
            f"start it; or, if it is gone for good: eventlog readers remove {reader.name}",
        )


def _size(log: EventLog, state: LogState, held: int) -> str:
    """What so many entries take on average; nothing where Redis does not say."""
    stream_bytes = log.memory.stream_bytes()
    if not held or not stream_bytes:
        return ""
    return f", about {stream_bytes * held / state.entries / 1024**2:,.1f} MiB"
