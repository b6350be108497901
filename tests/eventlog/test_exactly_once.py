"""Each event has its effect once: whatever the moment of a crash, and whoever else writes the file.

Each check is made again on a build broken on purpose, and must go red there.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventlog import START, EventLog, ProjectionFile, ProjectionReader, RecordedEvent, Subscription
from eventlog.checkpoints import Checkpoint
from eventlog.errors import CheckpointMoved, NotBuilt
from eventlog.parking import Parked
from eventlog.pending_rows import PendingRows
from eventlog.seen_events import SeenEvents
from tests.eventlog import tail_process
from tests.eventlog.broken_builds import NoCompareAndSet, SeparateCommits
from tests.eventlog.log_contract import publish
from tests.eventlog.parcels import ParcelSent, a_parcel_sent, make_codec
from tests.eventlog.tally import tally
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S

KILLS = 12
SEED = 20261121
ROOT = Path(__file__).parents[2]


def counted_in(directory: Path) -> dict[int, int]:
    """Parcels by customer, as the projection has them."""
    with ProjectionReader(directory, tally).look() as look:
        return {
            int(customer or 0): int(parcels or 0)
            for customer, parcels in look.query("SELECT id, parcels FROM customers")
        }


def counted_from(log: EventLog) -> dict[int, int]:
    """Parcels by customer, counted from the log itself."""
    counts: dict[int, int] = {}
    after = START
    while entries := log.read(after):
        for entry in entries:
            decoded = log.codec.decode(entry, 1, foreign=False)
            assert isinstance(decoded, RecordedEvent)
            assert isinstance(decoded.event, ParcelSent)
            counts[decoded.event.customer_id] = counts.get(decoded.event.customer_id, 0) + 1
        after = entries[-1].position
    return counts


def tail(
    url: str, directory: Path, build: type[ProjectionFile], crash_before: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, tail_process.__file__, url, directory, build.__name__, str(crash_before)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )


# A crash at every statement


def counted_after_crashes(url: str, log: EventLog, directory: Path, build: type[ProjectionFile]) -> bool:
    """Whether the counts are right after a crash before the first statement, the second, and so on.

    Each time two batches are new.
    """
    number = crashes = 0
    while True:
        publish(log, *(a_parcel_sent(number + each, customer_id=each % 2) for each in range(6)))
        number += 6
        ended = tail(url, directory, build, crashes + 1).wait(NEVER_S)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        crashes += 1
    assert crashes >= 8
    return counted_in(directory) == counted_from(log)


@pytest.mark.processes
def test_crash_before_any_statement_counts_nothing_twice_and_loses_nothing(
    url: str, log: EventLog, tmp_path: Path
) -> None:
    assert counted_after_crashes(url, log, tmp_path, ProjectionFile)


@pytest.mark.processes
def test_the_same_crashes_miscount_with_separate_commits(url: str, log: EventLog, tmp_path: Path) -> None:
    assert not counted_after_crashes(url, log, tmp_path, SeparateCommits)


# kill -9 at any moment


@pytest.mark.processes
def test_kill_9_at_any_moment_counts_nothing_twice_and_loses_nothing(
    url: str, log: EventLog, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    with publishing(url):
        for _ in range(KILLS):
            process = tail(url, tmp_path, ProjectionFile, 0)
            try:
                _wait_for_progress(tmp_path)
                _wait_for_entries(log, chance.randrange(1, 30))
            finally:
                process.kill()
                assert process.wait(NEVER_S) == -signal.SIGKILL
    last = tail(url, tmp_path, ProjectionFile, 0)
    try:
        assert ProjectionReader(tmp_path, tally).wait_until_applied(log.state().end, 30)
    finally:
        last.terminate()
        assert last.wait(NEVER_S) == 0
    counted = counted_in(tmp_path)
    assert counted == counted_from(log)
    assert sum(counted.values()) == log.state().sequence


@contextmanager
def publishing(url: str) -> Iterator[None]:
    """Parcels are sent for as long as the block runs."""
    stop = threading.Event()
    log = EventLog.connect(url, make_codec())

    def send() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            publish(log, a_parcel_sent(number, customer_id=number % 5))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        log.close()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _wait_for_progress(directory: Path) -> None:
    """Until the tail has moved the checkpoint from where it is now."""
    reader = ProjectionReader(directory, tally)

    def applied() -> int:
        try:
            with reader.look() as look:
                return look.checkpoint.sequence
        except NotBuilt:
            return 0

    before = applied()
    _wait_until(lambda: applied() > before)


def _wait_for_entries(log: EventLog, count: int) -> None:
    before = log.state().sequence
    _wait_until(lambda: log.state().sequence >= before + count)


# Several writers of one file


def overtaken(build: type[ProjectionFile], meanwhile: Callable[[], object]) -> type[ProjectionFile]:
    """The build, with something happening between its reading a batch and its commit."""

    class Overtaken(build):  # type: ignore[misc,valid-type]  # the class is a parameter
        def commit(
            self,
            before: Checkpoint,
            after: Checkpoint,
            rows: PendingRows,
            parked: Iterable[Parked],
            seen: SeenEvents | None = None,
        ) -> None:
            meanwhile()
            super().commit(before, after, rows, parked, seen)

    return Overtaken


def counted_after_interleaving(build: type[ProjectionFile], directory: Path) -> tuple[bool, int]:
    """Three writers read one checkpoint and commit in turn: whether the counts are right, and how many gave way."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    publish(log, a_parcel_sent(1, customer_id=1), a_parcel_sent(2, customer_id=2))
    gave_way = 0

    def run(writer: type[ProjectionFile], batch_size: int) -> None:
        nonlocal gave_way
        file = writer(directory, tally)
        try:
            Subscription(log, file, batch_size=batch_size).run_to_head()
        except CheckpointMoved:
            gave_way += 1
        finally:
            file.close()

    run(build, 1000)
    publish(log, *(a_parcel_sent(number, customer_id=1 + number % 2) for number in range(2, 8)))
    third = overtaken(build, lambda: run(build, 1000))
    second = overtaken(build, lambda: run(third, 2))
    run(second, 1)
    run(build, 1000)
    return counted_in(directory) == counted_from(log), gave_way


def test_writers_that_were_overtaken_give_way(tmp_path: Path) -> None:
    assert counted_after_interleaving(ProjectionFile, tmp_path) == (True, 2)


def test_the_same_writers_miscount_without_compare_and_set(tmp_path: Path) -> None:
    assert counted_after_interleaving(NoCompareAndSet, tmp_path) == (False, 0)
