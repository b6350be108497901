"""Replies and requests of Redis are lost, late or cut under load: what was accepted is there, once.

The check is made again on a build that retries without a command record (`builds/client_retries`), and must
find doubled entries there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.fault_proxy import Mode
from tests.faults.network_faults import FAULTY_MODES, shake_network
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SEED = "7"  # its spells are short
CLIENT_RETRIES = Path(__file__).parent / "builds" / "client_retries"


def test_books_balance_when_the_network_fails_in_every_way(tmp_path: Path) -> None:
    """Each mode spoilt something, or it would have proven nothing."""
    outcome = shake_network(Piece(SEED, 200, tmp_path), within_s=NEVER_S)
    assert outcome.wrong == []
    assert outcome.trials >= 200
    assert all(outcome.counts[f"times {mode}"] for mode in FAULTY_MODES), outcome.counts


def test_lost_replies_double_entries_where_the_client_retries_and_no_command_is_remembered(
    tmp_path: Path,
) -> None:
    """Which replies are lost is chance; those of counts and reads double nothing."""

    def doubles(seed: str) -> bool:
        folder = tmp_path / seed
        folder.mkdir()
        piece = Piece(seed, 100, folder, CLIENT_RETRIES)
        return shake_network(piece, [Mode.REPLIES_DROPPED], within_s=NEVER_S).counts["doubled"] > 0

    assert any(doubles(seed) for seed in "1234567")
