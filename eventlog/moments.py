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

_YEAR: Final = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR: Final = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([2468][048]|0[48]|[13579][26])00)"
_DAY_OF_ANY_YEAR: Final = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_OFFSET: Final = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_TIME_OF_DAY: Final = f"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,6}})?)?{_OFFSET}?"
# What is a moment, in regular expressions that JSON Schema knows too; halves of a position here up to 10^19.
MOMENT_PATTERNS: Final = (
    f"^({_YEAR}-{_DAY_OF_ANY_YEAR}|{_LEAP_YEAR}-02-29)(T{_TIME_OF_DAY})?$",
    "^(?!20[0-9]{2}-1[0-2]$)(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})$",
    "^[0-9]{1,6}[smhdw]$",
    "^(start|now)$",
)


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
