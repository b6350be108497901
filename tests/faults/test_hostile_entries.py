"""Whatever another writer adds, what the rules allow is applied, the rest is set aside, and nothing ends.

The same check is made on builds broken on purpose, which must come out wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.hostile_entries import Ending, a_newer_version, attack, the_last_position
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SEED = "20261121"
BUILDS = Path(__file__).parent / "builds"


@pytest.mark.parametrize("ending", [a_newer_version, the_last_position])
def test_hostile_entries_leave_what_the_rules_come_to(ending: Ending, tmp_path: Path) -> None:
    outcome = attack(Piece(SEED, 400, tmp_path), ending, within_s=NEVER_S)
    assert (outcome.trials, outcome.wrong) == (400, [])


@pytest.mark.parametrize(
    ("build", "sign"),
    [
        ("deleted_is_live", "wrongly applied (no "),
        ("malformed_ends_the_tail", "ended"),
        ("newer_is_malformed", "not halted"),
    ],
)
def test_the_same_entries_are_too_much_for_a_broken_build(build: str, sign: str, tmp_path: Path) -> None:
    outcome = attack(Piece(SEED, 400, tmp_path, BUILDS / build), a_newer_version, within_s=4)
    assert any(sign in found for found in outcome.wrong), outcome.wrong
