"""The tail as a process: one at a time, ending politely, and doing what commands ask of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import EventLog, ProjectionFile, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.errors import NotBuilt
from eventlog.generations import home_of
from eventlog.parking import Parked
from eventlog.position import Position
from eventlog.tail import acknowledge_parked
from eventlog.tail_lock import TailLock
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.tail_status import DEAD_AFTER_S, TailState, TailStatus, TailStatusFile
from tests.eventlog import tail_process
from tests.eventlog.log_contract import publish
from tests.eventlog.parcels import a_parcel_sent, make_codec, make_post
from tests.eventlog.tally import tally
from tests.make_run import NEVER_S

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a tail of `tally` in a process of its own."""
    started = []

    def start(url: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, tail_process.__file__, url, tmp_path, "ProjectionFile", "0"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.processes
@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT], ids=lambda asked: asked.name)
def test_tail_ends_when_asked_and_says_so(
    start: Callable[[str], subprocess.Popen[bytes]],
    log: EventLog,
    url: str,
    tmp_path: Path,
    asked_by: signal.Signals,
) -> None:
    published = publish(log, a_parcel_sent(1))
    process = start(url)
    wait_until(lambda: TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.FOLLOWING)
    process.send_signal(asked_by)
    assert process.wait(NEVER_S) == 0
    assert TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.STOPPED
    assert ProjectionReader(tmp_path, tally).wait_until_applied(published.position, 0)


@pytest.mark.processes
def test_second_tail_waits_and_takes_over_when_the_first_is_killed(
    start: Callable[[str], subprocess.Popen[bytes]], log: EventLog, url: str, tmp_path: Path
) -> None:
    first = start(url)
    wait_until(lambda: TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.FOLLOWING)
    second = start(url)
    assert second.stderr is not None
    assert b"waiting for it to end" in second.stderr.readline()
    first.kill()
    published = publish(log, a_parcel_sent(1))
    assert ProjectionReader(tmp_path, tally).wait_until_applied(published.position, NEVER_S)
    assert second.poll() is None


@pytest.mark.processes
def test_tail_whose_directory_is_deleted_ends_and_the_next_builds_it_anew(
    start: Callable[[str], subprocess.Popen[bytes]], log: EventLog, url: str, tmp_path: Path
) -> None:
    published = publish(log, a_parcel_sent(1))
    process = start(url)
    reader = ProjectionReader(tmp_path, tally)
    wait_until(lambda: TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.FOLLOWING)
    shutil.rmtree(tmp_path)
    assert process.wait(NEVER_S) != 0
    start(url)

    def built() -> bool:
        try:
            return reader.wait_until_applied(published.position, 0)
        except NotBuilt:
            return False

    wait_until(built)


@pytest.mark.processes
def test_tail_outlives_its_redis(
    start: Callable[[str], subprocess.Popen[bytes]], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Killed and started again, the server has all it acknowledged, and the tail goes on by itself."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        log = EventLog.connect(server.url, make_codec())
        log.create()
        process = start(server.url)
        reader = ProjectionReader(tmp_path, tally)
        for number in range(3):
            published = publish(log, a_parcel_sent(number))
            wait_until(lambda: TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.FOLLOWING)
            assert reader.wait_until_applied(published.position, NEVER_S)
            server.kill()
            wait_until(lambda: TailStatusFile(home_of(tmp_path, tally)).read().state is TailState.RETRYING)
            server.start()
        last = publish(log, a_parcel_sent(9))
        assert reader.wait_until_applied(last.position, NEVER_S)
        with reader.look() as look:
            assert look.find("customers", 7) == {"id": 7, "parcels": 4}
        assert process.poll() is None
        process.terminate()
        process.wait(NEVER_S)
        log.close()


# What commands ask


@pytest.fixture
def parked_file(tmp_path: Path) -> Iterator[ProjectionFile]:
    """Entries 1 and 2 are parked."""
    with closing(ProjectionFile(tmp_path, make_post())) as file:
        before = file.checkpoint()
        parked = [Parked(sequence, Position(sequence, 0), "", "no", "then") for sequence in (1, 2)]
        file.commit(before, before._replace(position=Position(2, 0), sequence=2), file.pending_rows(), parked)
        yield file


def acknowledged(directory: Path) -> list[bool]:
    with ProjectionReader(directory, make_post()).look() as look:
        return [entry.acknowledged_at is not None for entry in look.list_parked()]


def test_without_a_tail_the_command_acknowledges_itself(parked_file: ProjectionFile, tmp_path: Path) -> None:
    assert acknowledge_parked(tmp_path, make_post(), 1, "now", wait_s=0)
    assert acknowledged(tmp_path) == [True, False]
    assert not TailRequest(home_of(tmp_path, make_post()), RequestKind.ACKNOWLEDGE).is_waiting()


def test_with_a_tail_the_command_leaves_it_to_it(parked_file: ProjectionFile, tmp_path: Path) -> None:
    lock = TailLock(home_of(tmp_path, make_post()))
    lock.acquire()
    assert not acknowledge_parked(tmp_path, make_post(), 2, "now", wait_s=0)
    assert acknowledged(tmp_path) == [False, False]
    assert TailRequest(home_of(tmp_path, make_post()), RequestKind.ACKNOWLEDGE).take() == 2
    lock.release()


def test_request_left_while_another_is_carried_out_is_not_lost(tmp_path: Path) -> None:
    request = TailRequest(tmp_path, RequestKind.ACKNOWLEDGE)
    request.leave(1)
    assert request.take() == 1
    request.leave(2)
    request.finish()
    assert request.take() == 2


def test_request_that_a_killed_tail_had_taken_is_taken_again(tmp_path: Path) -> None:
    TailRequest(tmp_path, RequestKind.ACKNOWLEDGE).leave(1)
    assert TailRequest(tmp_path, RequestKind.ACKNOWLEDGE).take() == 1
    assert TailRequest(tmp_path, RequestKind.ACKNOWLEDGE).is_waiting()
    assert TailRequest(tmp_path, RequestKind.ACKNOWLEDGE).take() == 1


def test_request_that_cannot_be_read_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "acknowledge.request").write_text("all of them")
    assert TailRequest(tmp_path, RequestKind.ACKNOWLEDGE).take() is None
    assert list(tmp_path.iterdir()) == []


# What it says of itself


def test_status_is_read_as_it_was_reported(tmp_path: Path) -> None:
    status = TailStatus(TailState.HALTED, message="mend it")
    assert TailStatusFile(tmp_path).report(status)
    assert TailStatusFile(tmp_path).read() == status


def test_status_is_written_only_when_it_changes(tmp_path: Path) -> None:
    file = TailStatusFile(tmp_path)
    assert [
        file.report(TailStatus(state))
        for state in (TailState.FOLLOWING, TailState.FOLLOWING, TailState.RETRYING, TailState.FOLLOWING)
    ] == [True, False, True, True]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"state":"merry"}'], ids=repr)
def test_tail_that_left_nothing_readable_is_dead(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tail.json").write_bytes(content)
    assert TailStatusFile(tmp_path).read().state is TailState.DEAD


@pytest.mark.parametrize(
    ("state", "read_as"),
    [
        (TailState.FOLLOWING, TailState.DEAD),
        (TailState.HALTED, TailState.DEAD),
        (TailState.STOPPED, TailState.STOPPED),
    ],
)
def test_tail_without_a_heartbeat_is_dead_unless_it_was_stopped(
    tmp_path: Path, state: TailState, read_as: TailState
) -> None:
    TailStatusFile(tmp_path).report(TailStatus(state))
    long_ago = time.time() - DEAD_AFTER_S - 1
    os.utime(tmp_path / "tail.json", (long_ago, long_ago))
    assert TailStatusFile(tmp_path).read().state is read_as


def test_heartbeat_is_renewed_and_a_deleted_status_written_anew(tmp_path: Path) -> None:
    file, following = TailStatusFile(tmp_path), TailStatus(TailState.FOLLOWING)
    file.report(following)
    os.utime(tmp_path / "tail.json", (0, 0))
    file.report(following)
    assert file.read() == following
    (tmp_path / "tail.json").unlink()
    again = TailStatusFile(tmp_path)
    again.report(following)
    assert file.read() == following


def test_status_on_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    assert not TailStatusFile(tmp_path / "gone").report(TailStatus(TailState.FOLLOWING))
