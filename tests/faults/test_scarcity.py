"""Disks that fill up and a Redis without memory: clients are told to wait, and all resumes by itself.

The checks are made again on builds broken on purpose (`builds/`), and must come out wrong there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.scarcity import (
    ONE_DISK,
    REDIS_DISK,
    SQLITE_DISKS,
    Disks,
    can_mount,
    fill_disks,
    starve_redis,
)
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SEED = "20261121"
SHORT_S = (1.5, 2.0)  # an idle tail looks once a second
BUILDS = Path(__file__).parent / "builds"


@pytest.fixture
def mounts(tmp_path: Path) -> None:
    """Skips, and says so, where small disks cannot be had."""
    if not can_mount(tmp_path):
        reason = "not run: as root on Linux, with mounts of its own"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(f"{reason} (REQUIRE_ALL=1)", pytrace=False)
        pytest.skip(reason)


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    "disks",
    [
        pytest.param(REDIS_DISK, id="redis"),
        pytest.param(SQLITE_DISKS, id="sqlite"),
        pytest.param(ONE_DISK, id="all"),
    ],
)
def test_all_resumes_once_a_full_disk_has_space(disks: Disks, tmp_path: Path) -> None:
    outcome = fill_disks(Piece(SEED, 1, tmp_path), disks, SHORT_S, NEVER_S)
    assert (outcome.trials, outcome.wrong) == (1, [])


def test_redis_without_memory_is_read_all_the_same(tmp_path: Path) -> None:
    outcome = starve_redis(Piece(SEED, 1, tmp_path), SHORT_S, NEVER_S)
    assert (outcome.trials, outcome.wrong) == (1, [])


@pytest.mark.usefixtures("mounts")
def test_a_stuck_tail_that_says_it_follows_is_found(tmp_path: Path) -> None:
    outcome = fill_disks(Piece(SEED, 1, tmp_path, BUILDS / "all_is_well"), SQLITE_DISKS, SHORT_S)
    assert "that all is well" in "".join(outcome.wrong), outcome


def test_tails_that_read_in_a_multi_are_held_up_where_redis_has_no_memory(tmp_path: Path) -> None:
    outcome = starve_redis(Piece(SEED, 1, tmp_path, BUILDS / "reads_in_multi"), SHORT_S)
    assert "is retrying" in "".join(outcome.wrong), outcome
