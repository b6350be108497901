"""Frees Redis of what every reader has: no more than was asked for, and nothing that the archive lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from eventlog.archive_reader import ArchiveReader
from eventlog.continuity import LogState, Verdict
from eventlog.durations import ago, parse_duration
from eventlog.errors import TrimRefused, WrongLog
from eventlog.log import EventLog
from eventlog.mends import NO_LOG_MEND
from eventlog.position import LAST, START, Position
from eventlog.readers import Freed, WhyKept

UNSEEN_AFTER: Final = timedelta(hours=1)

_SIZE = re.compile(r"([0-9]{1,9})([kmg]b)", re.ASCII)
_SIZE_UNITS = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}
_COUNT = re.compile(r"[0-9]{1,15}", re.ASCII)


class Keep(NamedTuple):
    """What is to stay in Redis; one of the three is given. `stream_bytes` is what the stream takes in memory."""

    entries: int = 0
    age: timedelta | None = None
    stream_bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """`Keep.parse("100000")` entries, `"7d"` or `"12h"` of them, or `"512mb"`; else ValueError."""
        if _COUNT.fullmatch(text):
            return cls(entries=int(text))
        if age := parse_duration(text):
            return cls(age=age)
        if size := _SIZE.fullmatch(text.lower()):
            return cls(stream_bytes=int(size[1]) * _SIZE_UNITS[size[2]])
        raise ValueError(f"{text!r} is neither entries (100000), nor an age (7d, 12h), nor a size (512mb)")


class UnseenReader(msgspec.Struct, frozen=True):
    """A reader that has not been heard of for over an hour, and still holds what it has not got."""

    name: str
    position: str
    seen_at: datetime


class Trim(msgspec.Struct, frozen=True):
    """What a trim did, or would do; bytes are None where Redis does not say, and after a dry run.

    `first_kept` is None for an empty stream, and `bounded_by` unless a reader is why no more was freed.
    `subjects` were last touched before all that is left, and are forgotten.
    """

    log_id: str
    dry_run: bool
    freed: int
    left: int
    subjects: int
    first_kept: str | None
    why_kept: WhyKept
    bounded_by: str | None
    bytes_before: int | None
    bytes_after: int | None
    unseen: list[UnseenReader]


def trim(
    log: EventLog,
    keep: Keep,
    *,
    archive: ArchiveReader | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trim:
    """Free what may go, in small steps of which each leaves the log whole.

    `progress` is told how many were freed, of how many at most. Given the `archive`, each step first compares what
    would go with it: ArchiveUnusable where it keeps something else.
    Raises what LogReaders.free_some raises, and TrimRefused for a size where Redis does not tell sizes.
    """
    state = log.state()
    if state.log_id is None:
        raise WrongLog(Verdict.REPLACED, "there is no log", NO_LOG_MEND)
    log_id, now = state.log_id, log.now()
    keep_from = _at(ago(now, keep.age)) if keep.age is not None else LAST
    before = after = log.memory.stream_bytes()
    freed = 0
    while True:
        keep_entries = keep.entries if keep.stream_bytes is None else _share(state, after, keep.stream_bytes)
        at_most = freed + _may_go(log, state, archive, keep_entries, keep_from)
        for step in _steps(log, log_id, archive, keep_entries, keep_from, dry_run=dry_run):
            freed += step.entries
            progress(freed, max(freed, at_most))
        after = None if dry_run else log.memory.stream_bytes()
        small_enough = keep.stream_bytes is None or after is None or after <= keep.stream_bytes
        if small_enough or step.why_kept is not WhyKept.KEEP:
            break
        state = log.state()
    now_state = log.state()
    if dry_run:
        subjects = sum(map(len, log.subjects.touched_before(step.first_kept if freed else state.trimmed_to)))
    else:
        subjects = log.subjects.prune(log_id, now_state.trimmed_to)
    return Trim(
        log_id=log_id,
        dry_run=dry_run,
        freed=freed,
        left=state.entries - freed if dry_run else now_state.entries,
        subjects=subjects,
        first_kept=str(step.first_kept) if step.first_kept != START else None,
        why_kept=step.why_kept,
        bounded_by=step.slowest if step.why_kept is WhyKept.READER else None,
        bytes_before=before,
        bytes_after=after,
        unseen=[
            UnseenReader(reader.name, str(reader.position), reader.seen_at)
            for reader in log.readers.list_all()
            if now - reader.seen_at > UNSEEN_AFTER
        ],
    )


def _steps(
    log: EventLog,
    log_id: str,
    archive: ArchiveReader | None,
    keep_entries: int,
    keep_from: Position,
    *,
    dry_run: bool,
) -> Iterator[Freed]:
    """One at least; the last is the one behind which nothing may go."""
    start, already = START, 0
    while True:
        step = log.readers.free_some(
            log_id,
            keep_entries=keep_entries,
            keep_from=keep_from,
            dry_run=True,
            start=start,
            already=already,
        )
        if archive is not None:
            would_go = log.read_back(step.first_kept.previous(), step.entries) if step.entries else []
            archive.require_entries(would_go[::-1])
        if dry_run:
            start, already = step.first_kept, already + step.entries
        elif step.entries:
            freed = log.readers.free_some(log_id, keep_entries=keep_entries, keep_from=step.first_kept)
            # What was looked at has gone as a whole, or less of it may go now.
            step = step._replace(entries=freed.entries) if freed.why_kept is WhyKept.KEEP else freed
        yield step
        if step.why_kept is not WhyKept.MORE:
            return


def _may_go(
    log: EventLog, state: LogState, archive: ArchiveReader | None, keep_entries: int, keep_from: Position
) -> int:
    """How many entries at most; each step asks anew."""
    bounds = [state.entries - keep_entries]
    bounds += [reader.sequence - state.trimmed for reader in log.readers.list_all()]
    if archive is not None and keep_from != LAST:
        bounds.append(archive.count(state.trimmed_to.previous(), keep_from.previous()))
    return max(0, min(bounds))


def _share(state: LogState, there: int | None, wanted: int) -> int:
    """How many entries fit in so many bytes, by what they take on average now."""
    if there is None:
        raise TrimRefused(
            "this Redis does not say what the stream takes in memory: keep a number of entries, or an age"
        )
    return state.entries if there <= wanted else state.entries * wanted // there


def _at(moment: datetime) -> Position:
    return Position(int(moment.timestamp() * 1000), 0)
