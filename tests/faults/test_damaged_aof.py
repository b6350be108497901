"""The file of Redis is damaged: the server refuses it, or readers stay right about what they had read, or say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventlog.broken_builds import number_by_ids
from tests.faults.aof_history import READERS
from tests.faults.campaign import Piece
from tests.faults.damaged_aof import (
    CHANGED_UNREAD,
    CUT_AT_RECORD,
    FLIP,
    FLIP_IN_LAST,
    HALTED,
    KINDS,
    MISSING_UNREAD,
    PARKED_CHANGED,
    damage_aof,
)

pytestmark = pytest.mark.processes

SEED = "20261121"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_wrong_is_served_as_right_after_damage(kind: str, tmp_path: Path) -> None:
    outcome = damage_aof(Piece(SEED, 25, tmp_path), [kind])
    assert (outcome.trials, outcome.wrong) == (25, [])
    if kind == CUT_AT_RECORD:
        halted, lacking = outcome.counts[HALTED], outcome.counts[MISSING_UNREAD]
        assert halted >= outcome.trials, "who had read everything is told each time"
        assert halted + lacking == READERS * outcome.trials, "who had not read what was cut off is counted"


@pytest.mark.parametrize("kind", [FLIP, FLIP_IN_LAST])
def test_no_flip_changes_what_is_applied_of_a_signed_log(kind: str, tmp_path: Path) -> None:
    outcome = damage_aof(Piece(SEED, 40, tmp_path), [kind], signed=True)
    assert (outcome.trials, outcome.wrong) == (40, [])
    assert not outcome.counts.get(CHANGED_UNREAD)
    assert outcome.counts[PARKED_CHANGED]


def test_a_flip_deceives_a_build_that_takes_any_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.signing.Keys.why_unproven", lambda *_: "")
    outcome = damage_aof(Piece(SEED, 40, tmp_path), [FLIP_IN_LAST], signed=True)
    assert any(" was applied, and " in wrong for wrong in outcome.wrong), outcome


@pytest.mark.parametrize("kind", [CUT_AT_RECORD, FLIP_IN_LAST])
def test_damage_deceives_a_build_that_compares_ids_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.follower.number_entries", number_by_ids)
    outcome = damage_aof(Piece(SEED, 20, tmp_path), [kind])
    assert any("nobody says so" in wrong for wrong in outcome.wrong), outcome
