"""Another generation is served from one moment to the next: never half, never a step back, never against a refusal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from eventlog import EventLog, ProjectionFile, ProjectionReader, RecordedEvent, Subscription
from eventlog.checkpoints import require_no_step_back
from eventlog.errors import EventLogError, LogUnavailable, NotBuilt, SwitchRefused, WrongLog
from eventlog.generations import FILE_NAME, Generations, discard, home_of
from eventlog.position import LAST, Position
from eventlog.rebuild import build_generation, catch_up
from eventlog.tail import follow_projection, switch_generation
from eventlog.tail_lock import TailLock
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.tail_status import TailState, TailStatusFile
from tests.eventlog import switching_process
from tests.eventlog.log_contract import META, STREAM, publish
from tests.eventlog.parcels import ParcelLost, ParcelSent, make_codec, make_post
from tests.eventlog.running_tail import running, wait_until
from tests.eventlog.served_post import (
    acknowledge,
    build,
    damage,
    edited,
    generation_numbers,
    rows_of,
    seen,
    send_parcels,
    sequence_of,
    serve,
    served_number,
)
from tests.eventlog.test_subscription import make_post_after
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S

ROOT = Path(__file__).parents[2]
MARK_G = 10**12


@pytest.fixture
def pool() -> redis.ConnectionPool:
    pool: redis.ConnectionPool = fake_pool()
    return pool


@pytest.fixture
def request_of(tmp_path: Path) -> TailRequest:
    """The request for a switch."""
    return TailRequest(home_of(tmp_path, make_post()), RequestKind.SWITCH)


def switch(log: EventLog, directory: Path, generation: Path, wait_s: float = 20) -> bool:
    return switch_generation(log, directory, make_post(), generation, wait_s)


def mark(directory: Path, generation: Path) -> None:
    """Make a generation that can be told from the others, by two rows in two tables."""
    with edited(directory, generation) as connection:
        connection.execute("UPDATE customers SET weight_g = weight_g - ? WHERE id = 0", (MARK_G,))
        connection.execute("UPDATE parcels SET weight_g = weight_g - ? WHERE id = 1", (MARK_G,))


def is_marked(directory: Path) -> bool:
    return any(weight_g < 0 for _, _, weight_g in rows_of(directory)["customers"])


def no_tail(_log: EventLog, _directory: Path) -> Iterator[None]:
    yield


def a_tail(log: EventLog, directory: Path) -> Iterator[None]:
    with running(log, directory):
        yield


# By the tail, or by whoever asks


@pytest.mark.parametrize("tail", [no_tail, a_tail])
def test_generation_is_served_and_followed(
    log: EventLog, tmp_path: Path, tail: Callable[[EventLog, Path], Iterator[None]], request_of: TailRequest
) -> None:
    send_parcels(log, 1, 30)
    serve(log, tmp_path)
    built = build(log, tmp_path)
    mark(tmp_path, built)
    with contextmanager(tail)(log, tmp_path):
        assert switch(log, tmp_path, built)
        assert (served_number(tmp_path), is_marked(tmp_path)) == (2, True)
        assert not request_of.is_waiting()
    send_parcels(log, 31, 33)
    serve(log, tmp_path)
    assert len(rows_of(tmp_path)["parcels"]) == 33
    assert Generations(tmp_path, make_post()).previous() == built.with_name("1")


def test_tail_goes_on_with_what_it_switched_to_and_leaves_the_other_as_it_was(
    log: EventLog, tmp_path: Path
) -> None:
    send_parcels(log, 1, 30)
    serve(log, tmp_path)
    built = build(log, tmp_path)
    with running(log, tmp_path):
        assert switch(log, tmp_path, built)
        last = send_parcels(log, 31, 40)
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, NEVER_S)
    assert sequence_of(tmp_path, built) == 40
    assert sequence_of(tmp_path, built.with_name("1")) == 30


@pytest.mark.parametrize("tail", [no_tail, a_tail])
def test_generation_that_is_many_batches_behind_is_caught_up_first(
    log: EventLog, tmp_path: Path, tail: Callable[[EventLog, Path], Iterator[None]]
) -> None:
    first = send_parcels(log, 1, 10)
    send_parcels(log, 11, 1020)
    serve(log, tmp_path)
    old = build(log, tmp_path, first)
    with contextmanager(tail)(log, tmp_path):
        assert switch(log, tmp_path, old)
        assert sequence_of(tmp_path) == 1020
    assert rows_of(tmp_path) == rows_of(tmp_path, old.with_name("1"))


def test_only_what_is_served_is_caught_up_with(log: EventLog, tmp_path: Path) -> None:
    """A stopped tail's file is behind the log; the switch changes what is served, not how far it is."""
    middle = send_parcels(log, 1, 20)
    send_parcels(log, 21, 30)
    serve(log, tmp_path, up_to=middle)
    assert switch(log, tmp_path, build(log, tmp_path, Position(0, 0)))
    assert sequence_of(tmp_path) == 20


def test_generation_that_is_ahead_may_be_served(log: EventLog, tmp_path: Path) -> None:
    """As a restored backup is, where what is served was rebuilt only in part."""
    middle = send_parcels(log, 1, 20)
    send_parcels(log, 21, 30)
    serve(log, tmp_path, up_to=middle)
    assert switch(log, tmp_path, build(log, tmp_path))
    assert sequence_of(tmp_path) == 30


@pytest.mark.parametrize("kept", ["damaged", "deleted", None])
def test_where_nothing_that_can_be_read_is_served_the_generation_is_brought_to_the_head(
    log: EventLog, tmp_path: Path, kept: str | None
) -> None:
    middle = send_parcels(log, 1, 20)
    send_parcels(log, 21, 30)
    if kept:
        serve(log, tmp_path)
        file = Generations(tmp_path, make_post()).served_file
        damage(file) if kept == "damaged" else file.unlink()
    assert switch(log, tmp_path, build(log, tmp_path, middle))
    assert sequence_of(tmp_path) == 30


def test_tail_of_a_damaged_file_halts_and_takes_the_switch(log: EventLog, tmp_path: Path) -> None:
    send_parcels(log, 1, 20)
    serve(log, tmp_path)
    built = build(log, tmp_path)
    with running(log, tmp_path) as tail:
        with edited(tmp_path) as connection:
            connection.execute("UPDATE checkpoint SET digest = CAST(x'ff' AS TEXT)")
        status = TailStatusFile(home_of(tmp_path, make_post()))
        wait_until(lambda: status.read().state is TailState.HALTED)
        assert "verify --repair" in status.read().message
        assert switch(log, tmp_path, built)
        last = send_parcels(log, 21, 22)
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, NEVER_S)
        assert tail.ended_by is None
    assert (served_number(tmp_path), sequence_of(tmp_path)) == (2, 22)


def test_what_was_acknowledged_meanwhile_stays_so(log: EventLog, tmp_path: Path) -> None:
    publish(log, ParcelLost(id=1), ParcelLost(id=2))
    serve(log, tmp_path)
    built = build(log, tmp_path)
    at = acknowledge(tmp_path, 1)
    assert switch(log, tmp_path, built)
    assert seen(tmp_path) == [at, None]


def test_tail_that_builds_a_new_version_knows_what_was_acknowledged_in_the_old(
    log: EventLog, tmp_path: Path
) -> None:
    publish(log, ParcelLost(id=1), ParcelLost(id=2), ParcelLost(id=3))
    serve(log, tmp_path)
    first = acknowledge(tmp_path, 1)
    newer, stop = make_post(2), threading.Event()
    reader = ProjectionReader(tmp_path, newer)

    def follow() -> threading.Thread:
        thread = threading.Thread(target=follow_projection, args=(log, tmp_path, newer, stop, 20))
        thread.start()
        return thread

    thread = follow()
    wait_until(lambda: TailStatusFile(home_of(tmp_path, newer)).read().state is TailState.FOLLOWING)
    assert reader.wait_until_applied(log.state().end, 20)
    assert seen(tmp_path, projection=newer) == [first, None, None]

    second = acknowledge(tmp_path, 2)  # in the old one, which is what people look at still
    stop.set()
    thread.join(20)
    stop.clear()
    thread = follow()
    wait_until(lambda: seen(tmp_path, projection=newer) == [first, second, None])
    stop.set()
    thread.join(20)


def test_switch_to_what_is_served_changes_nothing(log: EventLog, tmp_path: Path) -> None:
    send_parcels(log, 1, 3)
    serve(log, tmp_path)
    built = build(log, tmp_path)
    assert switch(log, tmp_path, built)
    assert switch(log, tmp_path, built)
    assert (served_number(tmp_path), generation_numbers(tmp_path)) == (2, [1, 2])
    assert Generations(tmp_path, make_post()).previous() == built.with_name("1")


@pytest.mark.usefixtures("served")
def test_switch_to_what_is_served_is_done_even_while_the_log_is_away(log: EventLog, tmp_path: Path) -> None:
    """As for what a killed tail had switched to already."""
    gone = EventLog.connect("redis://127.0.0.1:1", make_codec())
    built = build(log, tmp_path)
    with pytest.raises(LogUnavailable):
        switch(gone, tmp_path, built)
    assert switch(log, tmp_path, built)
    assert switch(gone, tmp_path, built)


def test_rollback_is_a_switch_to_the_one_before_and_twice_is_back_again(
    log: EventLog, tmp_path: Path
) -> None:
    generations = Generations(tmp_path, make_post())
    send_parcels(log, 1, 30)
    serve(log, tmp_path)
    built = build(log, tmp_path)
    mark(tmp_path, built)
    assert switch(log, tmp_path, built)
    last = 30
    for expected in (1, 2, 1):
        send_parcels(log, last + 1, last + 1010)
        last += 1010
        serve(log, tmp_path)
        previous = generations.previous()
        assert previous is not None
        catch_up(log, tmp_path, make_post(), previous, lambda _done, _total: None)
        assert switch(log, tmp_path, previous)
        assert (served_number(tmp_path), sequence_of(tmp_path)) == (expected, last)
        assert is_marked(tmp_path) == (expected == 2)


# Readers


def test_readers_never_fail_never_go_back_and_never_see_a_mixture(log: EventLog, tmp_path: Path) -> None:
    """While publisher, tail and switches to and fro go on: all rows of one generation, as of its checkpoint."""
    send_parcels(log, 1, 300)
    serve(log, tmp_path)
    generations = [build(log, tmp_path), build(log, tmp_path)]
    mark(tmp_path, generations[1])
    stop = threading.Event()
    problems: list[BaseException] = []
    looks = [0] * 3
    reader = ProjectionReader(tmp_path, make_post())

    def read(number: int) -> None:
        last = 0
        try:
            while not stop.is_set():
                with reader.look() as look:
                    sequence = look.checkpoint.sequence
                    (parcels,) = look.query("SELECT count(*), sum(weight_g) FROM parcels")
                    (customers,) = look.query("SELECT sum(parcels), sum(weight_g) FROM customers")
                assert sequence >= last
                weight_g = sequence * (sequence + 1) // 2
                assert parcels == customers
                assert parcels in {(sequence, weight_g), (sequence, weight_g - MARK_G)}
                last = sequence
                looks[number] += 1
        except BaseException as problem:  # noqa: BLE001  # whatever it was, the test names it
            problems.append(problem)

    def publish_on() -> None:
        number = 300
        while not stop.is_set():
            send_parcels(log, number + 1, number + 2)
            number += 2
            stop.wait(0.005)  # else it is only ahead of the tail, and takes the others' time

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    threads.append(threading.Thread(target=publish_on))
    with running(log, tmp_path):
        for thread in threads:
            thread.start()
        try:
            for each in range(8):
                before = min(looks)
                assert switch(log, tmp_path, generations[each % 2])
                assert is_marked(tmp_path) == bool(each % 2)
                wait_until(lambda before=before: min(looks) > before + 2 or bool(problems))  # type: ignore[misc]  # of this round
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
    assert problems == []


# Refusals


@pytest.fixture
def served(log: EventLog, tmp_path: Path) -> int:
    send_parcels(log, 1, 20)
    return serve(log, tmp_path).sequence


@pytest.mark.parametrize("tail", [no_tail, a_tail])
@pytest.mark.parametrize("harm", ["missing", "damaged", "of another version", "empty"])
@pytest.mark.usefixtures("served")
def test_generation_that_cannot_be_served_is_refused_with_the_reason(
    log: EventLog, tmp_path: Path, tail: Callable[[EventLog, Path], Iterator[None]], harm: str
) -> None:
    built = build(log, tmp_path)
    reason = ""
    match harm:
        case "missing":
            assert discard(built)
            reason = "has no generation 2; there are: 1"
        case "damaged":
            damage(built / FILE_NAME)
            reason = "is damaged"
        case "of another version":
            with edited(tmp_path, built) as connection:
                connection.execute("UPDATE checkpoint SET version = 9")
            reason = "holds post version 9"
        case "empty":
            (built / FILE_NAME).write_bytes(b"not a database" * 1000)
            reason = "is damaged"
    before = rows_of(tmp_path)
    with contextmanager(tail)(log, tmp_path):
        with pytest.raises(EventLogError, match=reason):
            switch(log, tmp_path, built)
        assert (served_number(tmp_path), rows_of(tmp_path)) == (1, before)
        last = send_parcels(log, 21, 21)
    serve(log, tmp_path)
    assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, 0)


def test_refusal_by_the_tail_reaches_whoever_asked_and_nobody_after(
    log: EventLog, tmp_path: Path, served: int
) -> None:
    bad, good = build(log, tmp_path), build(log, tmp_path)
    damage(bad / FILE_NAME)
    with running(log, tmp_path):
        with pytest.raises(SwitchRefused, match="is damaged"):
            switch(log, tmp_path, bad)
        assert switch(log, tmp_path, good)
        with pytest.raises(SwitchRefused, match="is damaged"):
            switch(log, tmp_path, bad)
    tail = TailLock(home_of(tmp_path, make_post()))
    tail.acquire()
    assert not switch(log, tmp_path, bad, wait_s=0)
    tail.release()
    assert (served_number(tmp_path), sequence_of(tmp_path)) == (3, served)


@pytest.mark.usefixtures("served")
def test_generation_that_somebody_builds_is_refused(log: EventLog, tmp_path: Path) -> None:
    built = build(log, tmp_path)
    lock = TailLock(built)
    lock.acquire()
    with pytest.raises(SwitchRefused, match="generation 2 is being built: wait until it is done"):
        switch(log, tmp_path, built)
    lock.release()
    assert switch(log, tmp_path, built)


@pytest.mark.usefixtures("served")
def test_generation_of_another_log_is_refused(log: EventLog, client: redis.Redis, tmp_path: Path) -> None:
    built = build(log, tmp_path)
    with edited(tmp_path, built) as connection:
        connection.execute("UPDATE checkpoint SET log_id = 'another'")
    with pytest.raises(WrongLog, match="the checkpoint is of log another"):
        switch(log, tmp_path, built)
    assert served_number(tmp_path) == 1


@pytest.mark.usefixtures("served")
def test_generation_that_the_log_cannot_bring_so_far_is_refused(
    log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    """The log was rewound behind what is served: whole in itself, and shorter."""
    fresh = EventLog(client.connection_pool, make_codec())
    backup = {key: client.dump(key) for key in (STREAM, META)}
    send_parcels(log, 21, 25)
    serve(log, tmp_path)
    for key, content in backup.items():
        assert isinstance(content, bytes)
        client.restore(key, 0, content, replace=True)
    built = build(fresh, tmp_path)
    with pytest.raises(SwitchRefused, match=r"served as of number 25 .* stands at number 20"):
        switch(log, tmp_path, built)
    send_parcels(log, 21, 30)
    with pytest.raises(SwitchRefused, match="the log is no longer what is served"):
        switch(log, tmp_path, build(log, tmp_path, Position(0, 0)))
    assert (served_number(tmp_path), sequence_of(tmp_path)) == (1, 25)


def test_step_back_is_refused_and_a_step_ahead_in_the_same_log_is_not(log: EventLog, tmp_path: Path) -> None:
    middle = send_parcels(log, 1, 5)
    serve(log, tmp_path, up_to=middle)
    with ProjectionReader(tmp_path, make_post()).look() as look:
        here = look.checkpoint
    require_no_step_back(here, here)
    require_no_step_back(here, here._replace(sequence=6, position=LAST, digest="x"))
    for behind in (
        here._replace(sequence=4),
        here._replace(sequence=6, log_id="another"),
        here._replace(digest="x"),
        here._replace(position=LAST),
    ):
        with pytest.raises(SwitchRefused):
            require_no_step_back(here, behind)


# Withdrawn, and asked for by several


@pytest.mark.usefixtures("served")
def test_switch_that_is_not_done_in_time_is_not_done_later(
    log: EventLog, tmp_path: Path, request_of: TailRequest
) -> None:
    built = build(log, tmp_path)
    tail = TailLock(home_of(tmp_path, make_post()))
    tail.acquire()
    assert not switch(log, tmp_path, built, wait_s=0)
    assert not request_of.is_waiting()
    tail.release()
    with running(log, tmp_path):
        last = send_parcels(log, 21, 21)
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, NEVER_S)
    assert served_number(tmp_path) == 1


def test_switch_that_the_tail_has_begun_is_not_done_once_it_is_withdrawn(
    log: EventLog, tmp_path: Path
) -> None:
    """The tail catches up the generation when whoever asked loses patience, and switches no more."""
    begun, go_on, switching = threading.Event(), threading.Event(), threading.Event()
    first = send_parcels(log, 1, 5)
    send_parcels(log, 6, 20)
    serve(log, tmp_path)
    built = build(log, tmp_path, first)

    def wait(_: RecordedEvent[ParcelSent]) -> None:
        if switching.is_set():
            begun.set()
            assert go_on.wait(NEVER_S)

    slow = make_post_after(wait)
    with running(log, tmp_path, slow):
        switching.set()
        assert not switch(log, tmp_path, built, wait_s=0.3)
        assert begun.wait(NEVER_S)
        switching.clear()
        go_on.set()
        last = send_parcels(log, 21, 21)
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, NEVER_S)
    assert served_number(tmp_path) == 1
    assert switch(log, tmp_path, built)


@pytest.mark.usefixtures("served")
def test_interrupted_command_leaves_what_is_served_and_asks_for_nothing(
    log: EventLog, tmp_path: Path, request_of: TailRequest
) -> None:
    """Ctrl-C in the middle of its own catching up, where no tail runs."""
    built = build(log, tmp_path, Position(0, 0))

    def interrupt(_: RecordedEvent[ParcelSent]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        switch_generation(log, tmp_path, make_post_after(interrupt), built, NEVER_S)
    assert not request_of.is_waiting()
    assert (served_number(tmp_path), sequence_of(tmp_path)) == (1, 20)
    assert switch(log, tmp_path, built)


@pytest.mark.processes
def test_command_that_is_interrupted_while_it_waits_for_the_tail_asks_for_nothing(
    url: str, tmp_path: Path, request_of: TailRequest
) -> None:
    log = EventLog.connect(url, make_codec())
    log.create()
    send_parcels(log, 1, 5)
    serve(log, tmp_path)
    build(log, tmp_path)
    tail = TailLock(home_of(tmp_path, make_post()))
    tail.acquire()
    asking = (
        "import sys; from pathlib import Path; from tests.eventlog.parcels import *; from eventlog import EventLog;"
        "from eventlog.generations import Generations; from eventlog.tail import switch_generation as switch;"
        "log, home = EventLog.connect(sys.argv[1], make_codec()), Path(sys.argv[2]);"
        "switch(log, home, make_post(), Generations(home, make_post()).find(2), 60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", asking, url, tmp_path], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        wait_until(request_of.is_waiting)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=NEVER_S)
    finally:
        process.kill()
        process.wait(NEVER_S)
    tail.release()
    log.close()
    assert not request_of.is_waiting()
    assert served_number(tmp_path) == 1


@pytest.mark.usefixtures("served")
def test_who_was_overtaken_by_another_request_is_told(log: EventLog, tmp_path: Path) -> None:
    """Two ask at once: what the first is told is not that its generation is served."""
    first, second = build(log, tmp_path), build(log, tmp_path)
    tail = TailLock(home_of(tmp_path, make_post()))
    tail.acquire()
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(switch(log, tmp_path, first))
        except SwitchRefused as refused:
            answers.append(str(refused))

    thread = threading.Thread(target=ask)
    request = TailRequest(home_of(tmp_path, make_post()), RequestKind.SWITCH)
    thread.start()
    wait_until(request.is_waiting)
    request.leave(int(second.name))
    tail.release()
    thread.join(20)
    assert served_number(tmp_path) == 3
    assert answers == ["another generation than 2 was asked for meanwhile: `generations switch 2` asks again"]


# Killed in the middle


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("linked", [False, True])
def test_switch_that_a_killed_tail_had_begun_is_finished_by_the_next(
    log: EventLog, tmp_path: Path, request_of: TailRequest, *, linked: bool
) -> None:
    built = build(log, tmp_path)
    request_of.leave(2)
    assert request_of.take() == 2
    if linked:
        Generations(tmp_path, make_post()).switch(built)
    with running(log, tmp_path):
        wait_until(lambda: not request_of.is_waiting())
        last = send_parcels(log, 21, 22)
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last, NEVER_S)
    assert served_number(tmp_path) == 2
    assert request_of.refusal() == ""
    assert Generations(tmp_path, make_post()).previous() == built.with_name("1")


@pytest.mark.processes
def test_crash_at_any_step_of_a_switch_leaves_one_of_both_served_and_the_next_tail_finishes_it(
    url: str, tmp_path: Path, request_of: TailRequest
) -> None:
    """Before each statement, rename, link and deletion in turn; each time the generation is some batches behind."""
    log = EventLog.connect(url, make_codec())
    log.create()
    send_parcels(log, 1, 10)
    publish(log, ParcelLost(id=99))
    serve(log, tmp_path)
    at = acknowledge(tmp_path, 11)
    build(log, tmp_path)
    number, crashes, asked = 11, 0, 2
    while True:
        send_parcels(log, number, number + 4)
        number += 5
        serve(log, tmp_path)
        before = sequence_of(tmp_path)
        request_of.leave(asked)
        ended = subprocess.run(
            [sys.executable, switching_process.__file__, url, tmp_path, str(crashes + 1)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            check=False,
            timeout=NEVER_S,
        ).returncode
        assert served_number(tmp_path) in {1, 2}
        assert sequence_of(tmp_path) >= before
        assert len(rows_of(tmp_path)["parcels"]) == before - 1
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        crashes += 1
        with running(log, tmp_path):
            wait_until(lambda: not request_of.is_waiting())
        assert request_of.refusal() == ""
        assert served_number(tmp_path) == asked
        assert seen(tmp_path) == [at]
        built = build_generation(log, tmp_path, make_post(), lambda _done, _total: None)
        assert built.comparison is not None
        assert built.comparison.is_same
        assert discard(built.generation)
        asked = 3 - asked
    assert crashes >= 20
    assert served_number(tmp_path) == asked
    log.close()


# Opening what is served


def test_tail_whose_link_was_switched_by_another_ends_and_writes_no_more(
    log: EventLog, tmp_path: Path
) -> None:
    send_parcels(log, 1, 3)
    serve(log, tmp_path)
    with closing(ProjectionFile(tmp_path, make_post())) as file:
        Generations(tmp_path, make_post()).switch(build(log, tmp_path))
        send_parcels(log, 4, 5)
        with pytest.raises(NotBuilt, match="deleted or replaced"):
            Subscription(log, file).run_once()
    assert sequence_of(tmp_path, Generations(tmp_path, make_post()).find(1)) == 3
