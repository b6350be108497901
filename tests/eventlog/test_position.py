"""Positions order as numbers and survive a round trip as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import START, EventLogError, Position
from eventlog.moments import parse_moment

LARGEST = 2**64 - 1
halves = st.integers(0, LARGEST)


@given(halves, halves, halves, halves)
def test_order_is_that_of_the_numbers(a: int, b: int, c: int, d: int) -> None:
    one, other = Position.parse(f"{a}-{b}"), Position.parse(f"{c}-{d}".encode())
    assert (one < other) == ((a, b) < (c, d))
    assert Position.parse(str(one)) == one >= START


def test_text_would_order_them_wrong() -> None:
    assert Position.parse("1000-9") < Position.parse("1000-10")
    assert Position.parse("999-0") < Position.parse("1000-0")


@pytest.mark.parametrize(
    "text",
    ["", "5", "5-", "-5", "1-2-3", "01-0", "1-00", " 1-0", "1-0\n", "+1-0", "1.0-0", "٣-0", "$", "1-*"],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(EventLogError, match="is not a position"):
        Position.parse(text)
    with pytest.raises(ValueError, match="is not a position"):
        Position.parse(text.encode())


def test_log_position_is_refused_with_the_part_that_is_one() -> None:
    """As a header of an answer has it; and so where a moment is asked for."""
    for parse in (Position.parse, parse_moment):
        with pytest.raises(ValueError, match="give what stands before the @"):
            parse("1795276494803-0@21c43c7c")


def test_halves_have_64_bits() -> None:
    assert Position.parse(f"{LARGEST}-{LARGEST}") == (LARGEST, LARGEST)
    with pytest.raises(EventLogError, match="above"):
        Position.parse(f"{LARGEST + 1}-0")


def test_next_is_the_smallest_that_follows() -> None:
    assert Position(5, 0).next() == (5, 1)
    assert Position(5, LARGEST).next() == (6, 0)
    assert Position(LARGEST, LARGEST).next() is None


def test_position_before_another() -> None:
    assert Position(5, 3).previous() == Position(5, 2)
    assert Position(5, 0).previous() == Position(4, 2**64 - 1)
    assert START.previous() == START
