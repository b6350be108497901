"""Clocks that jump under load: writes go on, tails are known to be alive, and who is signed in notices no correction.

The check is made again on a build that measures pauses on the wall clock (`builds/wall_clock`), and must come
out wrong there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.clock_jumps import MACHINE, OFFSETS_S, SERVICES, jump_clocks
from tests.make_run import NEVER_S

pytestmark = [pytest.mark.processes, pytest.mark.needs("gcc")]

SEED = "20261121"
WALL_CLOCK = Path(__file__).parent / "builds" / "wall_clock"


def test_books_balance_when_the_clock_jumps_there_and_back(tmp_path: Path) -> None:
    jumps = 2 * len(OFFSETS_S)
    outcome = jump_clocks(Piece(SEED, jumps, tmp_path), MACHINE, patience_s=NEVER_S, resumes_within_s=NEVER_S)
    assert (outcome.trials, outcome.wrong) == (jumps, [])


def test_pauses_on_the_wall_clock_make_a_living_tail_look_dead(tmp_path: Path) -> None:
    outcome = jump_clocks(Piece(SEED, 1, tmp_path, WALL_CLOCK), SERVICES, offsets_s=[-3600], patience_s=6)
    assert "until both tails were known to be alive" in "".join(outcome.wrong), outcome
