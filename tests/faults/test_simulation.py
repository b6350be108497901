"""Simulated histories come out as they must, and builds broken on purpose do not.

What is red tells how to see it again: `python -m tests.faults.simulation SEED`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventlog.redis_client import Script
from tests.eventlog.broken_builds import NoCompareAndSet, SeparateCommits, number_by_ids
from tests.faults.campaign import Outcome, Piece
from tests.faults.simulated_world import WentWrong
from tests.faults.simulation import run_simulations, simulate

STRETCHES, SEEDS_PER_STRETCH = 10, 30


def run_stretch(stretch: int, folder: Path) -> Outcome:
    return run_simulations(Piece(f"20261121-{stretch}", SEEDS_PER_STRETCH, folder))


@pytest.mark.parametrize("stretch", range(STRETCHES))
def test_history_comes_out_as_it_must(stretch: int, tmp_path: Path) -> None:
    outcome = run_stretch(stretch, tmp_path)
    assert (outcome.trials, outcome.wrong) == (SEEDS_PER_STRETCH, [])


def test_same_seed_gives_the_same_history() -> None:
    first, second, other = simulate("1"), simulate("1"), simulate("2")
    assert first.history == second.history != other.history


class EditedPublish(Script):
    """The script that publishes, with one thing in it replaced."""

    def __init__(self, there: str, instead: str) -> None:
        super().__init__("positions", "publish")
        assert self._source.count(there) == 1, there
        self._source = self._source.replace(there, instead)
        self._sha1 = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()


def without(condition: str) -> Callable[[], Script]:
    """A script in which a condition never holds."""
    return lambda: EditedPublish(f"if {condition} then", "if false then")


FILE = "tests.faults.simulated_tails.ProjectionFile"
PUBLISH = "eventlog.log._PUBLISH"
CONTINUITY = "eventlog.continuity"
BROKEN: dict[str, tuple[str, Callable[[], Any]]] = {
    "no compare-and-set": (FILE, lambda: NoCompareAndSet),
    "separate commits": (FILE, lambda: SeparateCommits),
    "continuity by ids": ("eventlog.follower.number_entries", lambda: number_by_ids),
    "no digests": ("eventlog.codec.Entry.digest", lambda: lambda _: ""),
    "no check of the end": (f"{CONTINUITY}._check_end", lambda: lambda *_: None),
    "no check of the count": (f"{CONTINUITY}._check_count", lambda: lambda *_: None),
    "every hole a forgery": (f"{CONTINUITY}._counts_fit", lambda: lambda *_: True),
    "every forgery a hole": (f"{CONTINUITY}._counts_fit", lambda: lambda *_: False),
    "no floor": (PUBLISH, without("is_after(floor, decided_at)")),
    "no guards": (PUBLISH, without("is_after(touched, decided_at)")),
    "forgotten subjects never touched": (PUBLISH, lambda: EditedPublish("or trimmed_to --", "or '0-0' --")),
    "no command record": (PUBLISH, without("before[1]")),
    "no fingerprints": (PUBLISH, without("before[1] ~= fingerprint")),
    "no log id": (PUBLISH, without("known[1] ~= log_id")),
    "decisions on what is gone": (
        PUBLISH,
        lambda: EditedPublish("if decided_at ~= '0-0' and", "if false and"),
    ),
    "foreign entries not counted": (PUBLISH, without("last_own ~= log_end")),
}


@pytest.mark.parametrize("build", BROKEN)
def test_build_broken_on_purpose_is_found(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same seeds that ours passes, and as a wrong history, not as an error of the broken code."""
    where, instead = BROKEN[build]
    monkeypatch.setattr(where, instead())
    outcomes = (run_stretch(stretch, tmp_path) for stretch in range(STRETCHES))
    assert any(WentWrong.__name__ in found for outcome in outcomes for found in outcome.wrong)
