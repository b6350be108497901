"""How long a reader of the log leaves entries to gather before it takes them together."""

from __future__ import annotations

import pytest

from eventlog.follower import Follower, gather_for_s


@pytest.mark.parametrize(("applied", "in_s"), [(1, 30.0), (1, 0.005), (2, 0.0065), (6, 0.02), (900, 1.0)])
def test_what_comes_at_an_ordinary_pace_is_shown_as_soon_as_ever(applied: int, in_s: float) -> None:
    assert gather_for_s(applied, in_s, Follower.gather_s) == Follower.gather_s


@pytest.mark.parametrize(("applied", "in_s"), [(12, 0.006), (35, 0.017)])
def test_what_comes_thick_and_fast_is_taken_together(applied: int, in_s: float) -> None:
    assert Follower.gather_s < gather_for_s(applied, in_s, Follower.gather_s) <= 0.02


def test_a_reader_for_which_nobody_waits_never_looks_more_often_than_it_would() -> None:
    assert gather_for_s(100, 0.05, 0.05) == 0.05
