"""No request makes a service fail, answer what it does not describe, or write what a reader parks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import accounts.operations
from tests.faults.campaign import Piece
from tests.faults.fuzz import fuzz

SEED = "20261122"


def test_hostile_requests_are_answered_as_described(tmp_path: Path) -> None:
    outcome = fuzz(Piece(SEED, 3_000, tmp_path))
    assert (outcome.trials, outcome.wrong) == (3_000, [])
    assert outcome.counts["entries written"] > 10
    assert {"2xx", "4xx"} <= outcome.counts.keys()


def test_a_reader_of_json_that_gives_up_on_depth_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.request_body.parse_json", json.loads)
    outcome = fuzz(Piece(SEED, 1_000, tmp_path))
    assert any("internal-error" in found for found in outcome.wrong)


def test_an_answer_that_is_not_described_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undescribed = accounts.operations.LIST_ACCOUNTS._replace(problems=[])
    monkeypatch.setattr("accounts.operations.LIST_ACCOUNTS", undescribed)
    outcome = fuzz(Piece(SEED, 1_000, tmp_path))
    assert any("which is not described" in found for found in outcome.wrong)
