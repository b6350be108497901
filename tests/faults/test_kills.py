"""`kill -9` of any one process under load: what was accepted is there, once.

Each check is made again on builds broken on purpose (`builds/`), which must come out wrong: a check that
cannot fail proves nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.paused_tails import pause_tails
from tests.faults.process_kills import (
    Kill,
    kill_all,
    kill_processes,
    kill_server,
    kill_tail,
    kill_top,
    kill_worker,
    kill_worker_and_tail,
)
from tests.faults.redis_kills import kill_redis
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SEED = "20261121"
BUILDS = Path(__file__).parent / "builds"


@pytest.mark.needs("strace")
def test_books_balance_when_redis_is_killed_again_and_again(tmp_path: Path) -> None:
    outcome = kill_redis(Piece(SEED, 20, tmp_path), patience_s=NEVER_S, recovers_within_s=NEVER_S)
    assert (outcome.trials, outcome.wrong) == (20, [])


@pytest.mark.needs("strace")
def test_the_same_kills_lose_what_was_acknowledged_where_redis_syncs_once_a_second(tmp_path: Path) -> None:
    outcome = kill_redis(Piece(SEED, 12, tmp_path, BUILDS / "everysec"), patience_s=5)
    assert outcome.counts["lost"] > 0, outcome


@pytest.mark.parametrize("kind", [kill_worker, kill_server, kill_tail])
def test_books_balance_when_a_process_is_killed_again_and_again(kind: Kill, tmp_path: Path) -> None:
    outcome = kill_processes(Piece(SEED, 20, tmp_path), [kind], recovers_within_s=NEVER_S)
    assert (outcome.trials, outcome.wrong) == (20, [])


def test_books_balance_when_several_processes_are_killed_at_once(tmp_path: Path) -> None:
    outcome = kill_processes(
        Piece(SEED, 6, tmp_path), [kill_worker_and_tail, kill_top, kill_all], recovers_within_s=NEVER_S
    )
    assert (outcome.trials, outcome.wrong) == (6, [])
    assert all(outcome.counts[kind] for kind in ("of worker and tail", "of top", "of all")), outcome


def test_the_same_kills_unbalance_a_build_with_separate_commits(tmp_path: Path) -> None:
    outcome = kill_processes(Piece(SEED, 20, tmp_path, BUILDS / "separate_commits"), [kill_tail])
    forgotten = ("confirmed up to", "is not shown", "the projections have", "There is no customer")
    assert any(sign in found for found in outcome.wrong for sign in forgotten), outcome


def test_books_balance_with_three_tails_and_no_lock(tmp_path: Path) -> None:
    """The compare-and-set of the checkpoint alone keeps several writers of one file apart."""
    outcome = pause_tails(Piece(SEED, 60, tmp_path), accepted_per_pause=10)
    assert (outcome.trials, outcome.wrong) == (60, [])


def test_three_tails_unbalance_a_build_without_compare_and_set(tmp_path: Path) -> None:
    outcome = pause_tails(Piece(SEED, 60, tmp_path, BUILDS / "no_compare_and_set"), accepted_per_pause=10)
    assert outcome.wrong
