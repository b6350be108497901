"""What is served is changed for another generation under load, whatever is killed meanwhile, and nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.switches import TRIALS, switch_under_load

pytestmark = pytest.mark.processes

SEED = "20261121"
BUILDS = Path(__file__).parent / "builds"


def test_no_read_fails_or_goes_back_while_generations_are_switched(tmp_path: Path) -> None:
    trials = len(TRIALS) + 3
    outcome = switch_under_load(Piece(SEED, trials, tmp_path))
    assert (outcome.trials, outcome.wrong) == (trials, [])
    assert outcome.counts["reads"] > 100


def test_the_same_switches_go_back_in_time_where_nothing_is_caught_up_first(tmp_path: Path) -> None:
    outcome = switch_under_load(Piece(SEED, 4, tmp_path, BUILDS / "switched_unprepared"))
    assert any("read at" in found for found in outcome.wrong), outcome
