"""One way to name a moment, wherever one is asked for."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog import START, EventLog, Position
from eventlog.codec import Codec
from eventlog.moments import MOMENT_PATTERNS, InvalidMoment, first_since, last_before, parse_moment
from eventlog.position import LAST

NOBODY = EventLog.connect("redis://127.0.0.1:1", Codec([]))


def up_to(text: str, log: EventLog = NOBODY) -> Position:
    return last_before(parse_moment(text), log)


def since(text: str, log: EventLog = NOBODY) -> Position:
    return first_since(parse_moment(text), log)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("start", START),
        ("now", LAST),
        ("0-0", START),
        ("1795219641181-7", Position(1795219641181, 7)),
        ("1970-01-01T00:00:01Z", Position(999, LAST.counter)),
        ("1970-01-01T01:00:01+01:00", Position(999, LAST.counter)),
        ("1969-12-31T19:00:01-05:00", Position(999, LAST.counter)),
        ("1970-01-01T00:00:00.001Z", Position(0, LAST.counter)),
        ("1970-01-01T00:00:00.000001Z", Position(0, LAST.counter)),
        ("1970-01-01T00:00:00.001001Z", Position(1, LAST.counter)),
        ("1970-01-01T00:00:00Z", START),
        ("1969-12-31T23:59:59Z", START),
        ("0001-01-01T00:00:00+14:00", START),
        ("2026-10-01T00:00Z", Position(1790812799999, LAST.counter)),
        ("2026-10-01T00:00+00:00", Position(1790812799999, LAST.counter)),
        ("2026-10-01T00:00", Position(1790812799999, LAST.counter)),
        ("2026-10-01", Position(1790812799999, LAST.counter)),
        ("9999-12-31T23:59:59.999999Z", Position(253402300799999, LAST.counter)),
        ("9999-12-31T23:59:59-14:00", Position(253402351198999, LAST.counter)),
    ],
)
def test_moment_is_the_last_position_that_counts(text: str, moment: Position) -> None:
    assert up_to(text) == moment


@given(st.integers(1, 253370000000000), st.integers(0, 999), st.integers(-14 * 60, 14 * 60))
def test_entries_count_whose_ids_are_before_the_time(ms: int, microseconds: int, offset_minutes: int) -> None:
    """To the millisecond, however large the number: an id of the same millisecond is not before it."""
    before_offset = datetime(1970, 1, 1) + timedelta(milliseconds=ms, minutes=offset_minutes)  # noqa: DTZ001  # given below
    sign, minutes = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    time = before_offset + timedelta(microseconds=microseconds)
    text = f"{time.isoformat(timespec='microseconds')}{sign}{minutes // 60:02}:{minutes % 60:02}"
    moment = up_to(text)
    assert (Position(ms, 0) <= moment) == (microseconds > 0)
    assert Position(ms - 1, LAST.counter) <= moment < Position(ms + 1, 0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "yesterday",
            "2026-10",
            "20261001",
            "2026-W40-4",
            "2026-10-01T00",
            "2026-10-01+02:00",
            "2026-10-01 02:00",
            "2026-10-01T00:00 02:00",
            "2026-10-01T00:00+0200",
            "2026-10-01T00:00:00.1234567Z",
            "10 m",
            "-10m",
            "2026-13-01T00:00Z",
            "24:00Z",
        ),
        *(
            "1795219641181",
            "1-",
            "-1-0",
            "1-18446744073709551616",
            "Start",
            "²026-10-01T00:00Z",
            "1" * 5000,
        ),
    ],
)
def test_text_that_names_no_moment_is_refused_with_what_does(text: str) -> None:
    with pytest.raises(
        InvalidMoment,
        match=r"is no moment: give a time \(2026-10-01, .*a position .*how long ago .*start or now",
    ):
        parse_moment(text)


@given(st.datetimes(min_value=datetime(1970, 1, 2)))  # noqa: DTZ001  # named without an offset it is UTC
def test_what_is_before_a_time_and_what_is_since_it_leave_nothing_out(time: datetime) -> None:
    assert up_to(time.isoformat()).next() == since(time.isoformat())


def test_entry_of_a_position_is_both_up_to_it_and_since_it(fake_log: EventLog) -> None:
    assert up_to("5-1") == since("5-1") == Position(5, 1)
    assert (since("start"), since("now", fake_log)) == (START, Position(0, 1))


@pytest.mark.parametrize(("age", "seconds"), [("0s", 0), ("90s", 90), ("10m", 600), ("2w", 14 * 86_400)])
def test_how_long_ago_is_by_the_clock_of_redis(fake_log: EventLog, age: str, seconds: int) -> None:
    earliest, found, latest = fake_log.now(), since(age, fake_log), fake_log.now()
    ago = timedelta(seconds=seconds)
    assert milliseconds(earliest - ago) <= found.milliseconds <= milliseconds(latest - ago) + 1
    assert since("999999w", fake_log) == Position(0, 1), "longer ago than there are calendars"


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


@pytest.mark.parametrize("pattern", MOMENT_PATTERNS)
@given(data=st.data())
def test_what_fits_a_pattern_is_a_moment(pattern: str, data: st.DataObject) -> None:
    parse_moment(data.draw(st.from_regex(pattern.replace("$", r"\Z"))))


TIMES = st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
POSITIONS = st.builds(Position, st.integers(0, 10**19 - 1), st.integers(0, 10**19 - 1)).map(str)


@given(
    st.dates().map(date.isoformat) | TIMES | POSITIONS | st.from_regex("[0-9]{1,7}[smhdwy]", fullmatch=True)
)
@example("2024-02-29")
@example("2023-02-29")
@example("2000-02-29")
@example("1900-02-29")
@example("2026-10")
@example("2026-10-12")
@example("0000-01-01")
@example("13-09")
@example("start")
@example("now")
@example("now ")
def test_what_is_a_moment_fits_a_pattern_and_nothing_else_does(text: str) -> None:
    try:
        parse_moment(text)
        is_moment = True
    except InvalidMoment:
        is_moment = False
    assert any(re.search(pattern, text) for pattern in MOMENT_PATTERNS) == is_moment
