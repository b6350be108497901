"""Moments as operators and clients write them: a time, a position, how long ago, `start` or `now`."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from eventlog.durations import ago, parse_duration
from eventlog.errors import EventLogError
from eventlog.log import EventLog
from eventlog.position import LAST, START, WITHOUT_LOG_ID, Position

# `start` and `now` are START and LAST; a timedelta is how long ago, by the clock of Redis.
NamedMoment: TypeAlias = Position | datetime | timedelta

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime can hold
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
_MONTH = re.compile(r"20[0-9]{2}-1[0-2]", re.ASCII)  # a position of 1970, but nobody means that


class InvalidMoment(EventLogError, ValueError):
    """Text that names no moment of a log."""


def parse_moment(text: str) -> NamedMoment:
    """`2026-10-01` is its first moment, and what has no offset is UTC; raises InvalidMoment."""
    if text in ("start", "now"):
        return START if text == "start" else LAST
    age = parse_duration(text)
    if age is not None:
        return age
    moment: Position | datetime | None = None
    with suppress(ValueError):
        if _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text)
        elif not _MONTH.fullmatch(text):
            moment = Position.parse(text)
    if moment is None:
        if "@" in text:
            raise InvalidMoment(f"{text[:100]!r} is no moment: {WITHOUT_LOG_ID}")
        raise InvalidMoment(
            f"{text[:100]!r} is no moment: give a time (2026-10-01, 2026-10-01T12:00Z, 2026-10-01T14:00+02:00), "
            "a position (1795219641181-0), how long ago (10m, 7d), start or now"
        )
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


def last_before(moment: NamedMoment, log: EventLog) -> Position:
    """The position up to which, inclusive, entries count as written: one that is given, or the last before a time.

    Time is that of the ids, which is the clock of Redis.
    """
    if isinstance(moment, Position):
        return moment
    time = ago(log.now(), moment) if isinstance(moment, timedelta) else moment
    # In integers: a float of seconds is off by a millisecond in the far future.
    last_ms = ((time - _EPOCH) // timedelta(microseconds=1) - 1) // 1000
    return Position(last_ms, LAST.counter) if last_ms >= 0 else START


def first_since(moment: NamedMoment, log: EventLog) -> Position:
    """The position from which on, inclusive, entries count as written since then."""
    if moment == LAST:
        moment = log.state().end
    elif isinstance(moment, Position):
        return moment
    return last_before(moment, log).next() or LAST


def time_of(position: Position) -> datetime:
    """When Redis gave a position, by its clock; the last there is for one that lies beyond all calendars."""
    return datetime.fromtimestamp(min(position.milliseconds, _LAST_MS) / 1000, UTC)
