"""Slow and silent clients do not keep others from being answered. The same is made on a build broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.slow_clients import attack

pytestmark = pytest.mark.processes

SEED = "20261122"
BUILDS = Path(__file__).parent / "builds"


def test_two_thousand_silent_and_a_thousand_slow_clients_stop_nobody(tmp_path: Path) -> None:
    outcome = attack(Piece(SEED, 3_000, tmp_path), asked_for_s=8)
    assert (outcome.trials, outcome.wrong) == (3_000, [])
    assert outcome.counts["silent connected"] >= 2_000
    assert outcome.counts["slow bodies told it is 408"] > 0


def test_bodies_that_keep_their_place_in_line_stop_who_writes(tmp_path: Path) -> None:
    outcome = attack(Piece(SEED, 3_000, tmp_path, BUILDS / "bodies_keep_their_place"), asked_for_s=4)
    assert any("POST /customers" in found for found in outcome.wrong), outcome.counts
