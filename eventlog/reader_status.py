"""How far each reader of the log is, and how far behind."""

from __future__ import annotations

from datetime import datetime

import msgspec

from eventlog.continuity import LogState, Verdict
from eventlog.errors import WrongLog
from eventlog.log import EventLog
from eventlog.mends import NO_LOG_MEND
from eventlog.moments import time_of
from eventlog.position import Position
from eventlog.readers import Reader, ReaderKind


class ReaderStatus(msgspec.Struct, frozen=True):
    """`lag_seconds` is the age of the oldest entry the reader has not got, 0 if it has all."""

    name: str
    kind: ReaderKind
    position: str
    sequence: int
    lag_events: int
    lag_seconds: float
    seen_at: datetime
    seen_seconds_ago: float


def list_reader_statuses(log: EventLog) -> list[ReaderStatus]:
    """The slowest first; WrongLog where there is no log."""
    state, now = log.state(), log.now()
    if state.log_id is None:
        raise WrongLog(Verdict.REPLACED, "there is no log", NO_LOG_MEND)
    return [_reader_status(log, reader, state, now) for reader in log.readers.list_all()]


def age_s(log: EventLog, after: Position, now: datetime) -> float:
    """Of the oldest entry behind a position, in seconds by the ids; 0 where there is none."""
    oldest = log.read(after, 1)
    return max(0.0, (now - time_of(oldest[0].position)).total_seconds()) if oldest else 0.0


def _reader_status(log: EventLog, reader: Reader, state: LogState, now: datetime) -> ReaderStatus:
    behind = reader.count_behind(state)
    return ReaderStatus(
        name=reader.name,
        kind=reader.kind,
        position=str(reader.position),
        sequence=reader.sequence,
        lag_events=behind,
        lag_seconds=age_s(log, reader.position, now) if behind else 0.0,
        seen_at=reader.seen_at,
        seen_seconds_ago=max(0.0, (now - reader.seen_at).total_seconds()),
    )
