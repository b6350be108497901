"""From the log to the rows: each entry once, in order, and never past one that must not be passed."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from eventlog import (
    Codec,
    EventLog,
    Insert,
    Projection,
    ProjectionFile,
    ProjectionReader,
    RecordedEvent,
    Row,
    Subscription,
    Table,
)
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Verdict
from eventlog.errors import HandlerFailed, LogUnavailable, NewerSchema, NotBuilt, WrongLog
from eventlog.generations import Generations, home_of
from eventlog.subscription import AppliedBatch
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.tail_status import TailState, TailStatusFile
from tests.clock import FIXED_NOW
from tests.eventlog.log_contract import STREAM, add_foreign, publish
from tests.eventlog.parcels import (
    TABLES,
    AddressChanged,
    ParcelLost,
    ParcelSent,
    a_parcel_sent,
    make_codec,
    make_post,
)
from tests.eventlog.running_tail import running, wait_until
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S


@pytest.fixture
def pool() -> redis.ConnectionPool:
    pool: redis.ConnectionPool = fake_pool()
    return pool


@pytest.fixture
def reader(file: ProjectionFile) -> ProjectionReader:
    return ProjectionReader(file.directory, make_post())


def customer(reader: ProjectionReader, number: int = 7) -> Row | None:
    with reader.look() as look:
        return look.find("customers", number)


def make_post_after(step: Callable[[RecordedEvent[ParcelSent]], object]) -> Projection:
    """The usual projection, with a step before it handles each parcel that was sent."""
    post = make_post()
    slower = Projection("post", 1, TABLES)

    @slower.handles(ParcelSent)
    def sent(recorded, rows):  # type: ignore[no-untyped-def]  # the other projection's handler, wrapped
        step(recorded)
        return post.handle(recorded, rows)

    return slower


def sequence_of(reader: ProjectionReader) -> int:
    with reader.look() as look:
        return look.checkpoint.sequence


# The ladder


def test_run_once_applies_one_batch(log: EventLog, file: ProjectionFile, reader: ProjectionReader) -> None:
    publish(log, *(a_parcel_sent(number) for number in range(7)))
    subscription = Subscription(log, file, batch_size=3)
    assert [subscription.run_once() for _ in range(4)] == [3, 3, 1, 0]
    assert customer(reader) == {"id": 7, "parcels": 7, "weight_g": 700}


def test_run_to_head_applies_all_that_is_there(
    log: EventLog, file: ProjectionFile, reader: ProjectionReader
) -> None:
    publish(log, *(a_parcel_sent(number) for number in range(1, 8)), ParcelLost(id=3))
    assert Subscription(log, file, batch_size=3).run_to_head() == 8
    assert customer(reader) == {"id": 7, "parcels": 6, "weight_g": 600}
    with reader.look() as look:
        assert look.checkpoint.position == log.state().end
        assert look.checkpoint.sequence == 8
        assert look.checkpoint.log_id == log.state().log_id
        assert look.checkpoint.digest == log.read()[-1].digest()


def test_each_batch_is_told_once_it_is_committed(
    log: EventLog, file: ProjectionFile, reader: ProjectionReader
) -> None:
    """What was parked is told of with the rest."""
    told: list[tuple[AppliedBatch, int]] = []
    publish(log, *(a_parcel_sent(number) for number in (1, 2)), ParcelLost(id=9), a_parcel_sent(3))
    subscription = Subscription(
        log, file, batch_size=3, on_applied=lambda batch: told.append((batch, sequence_of(reader)))
    )
    subscription.run_to_head()
    assert [sequence for _, sequence in told] == [3, 4]
    batch = told[0][0]
    assert (batch.projection, batch.entries) == ("post", 3)
    assert [recorded.sequence for recorded in batch.recorded] == [1, 2, 3]
    assert [parked.sequence for parked in batch.parked] == [3]
    assert (batch.first, batch.last) == (batch.recorded[0].position, batch.recorded[-1].position)
    assert batch.began_ns <= batch.ended_ns


def test_only_what_was_applied_is_told(log: EventLog, file: ProjectionFile) -> None:
    """The first of a batch is applied, the handler of the second fails."""
    told: list[AppliedBatch] = []
    publish(log, a_parcel_sent(1), a_parcel_sent(2))

    def fail_at_second(recorded: RecordedEvent[ParcelSent]) -> None:
        if recorded.sequence == 2:
            raise ValueError("no")

    failing = ProjectionFile(file.directory / "failing", make_post_after(fail_at_second))
    with closing(failing), pytest.raises(HandlerFailed):
        Subscription(log, failing, on_applied=told.append).run_once()
    assert [recorded.sequence for batch in told for recorded in batch.recorded] == [1]
    assert [(batch.first, batch.last) for batch in told] == [(log.read()[0].position,) * 2]


def test_what_no_entry_could_be_read_of_has_its_positions(
    log: EventLog, file: ProjectionFile, client: redis.Redis
) -> None:
    told: list[AppliedBatch] = []
    for _ in range(2):
        client.xadd(log.stream, {"EventTypeName": "ParcelSent", "Payload": "{"})
    Subscription(log, file, on_applied=told.append).run_to_head()
    (batch,) = told
    assert (batch.entries, [*batch.recorded]) == (2, [])
    assert [batch.first, batch.last] == [entry.position for entry in log.read()]


def test_run_to_head_stops_at_a_position(log: EventLog, file: ProjectionFile) -> None:
    middle = [publish(log, a_parcel_sent(number)).position for number in range(1, 8)][4]
    assert Subscription(log, file, batch_size=3).run_to_head(middle) == 5
    assert file.checkpoint().position == middle
    assert Subscription(log, file, batch_size=3).run_to_head(middle) == 0


def test_run_to_head_tells_how_far_it_is_and_ends_between_batches(
    log: EventLog, file: ProjectionFile
) -> None:
    publish(log, *(a_parcel_sent(number) for number in range(1, 8)))

    def leave(checkpoint: Checkpoint) -> None:
        if checkpoint.sequence == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Subscription(log, file, batch_size=3).run_to_head(on_batch=leave)
    assert file.checkpoint().sequence == 6


def test_nothing_of_a_log_that_was_replaced_while_one_batch_was_read_ahead_is_applied(
    log: EventLog, client: redis.Redis, file: ProjectionFile, reader: ProjectionReader
) -> None:
    """What was read ahead was in the log that is followed, and is applied; the look after it names the other one."""
    publish(log, *(a_parcel_sent(number) for number in range(1, 10)))

    def replace(checkpoint: Checkpoint) -> None:
        if checkpoint.sequence == 3:
            client.flushall()
            log.create()
            publish(log, *(a_parcel_sent(number, customer_id=8) for number in range(20, 40)))

    with pytest.raises(WrongLog) as halted:
        Subscription(log, file, batch_size=3).run_to_head(on_batch=replace)
    assert halted.value.verdict is Verdict.REPLACED
    assert (sequence_of(reader), customer(reader, 8)) == (6, None)


def test_batch_read_ahead_is_read_again_after_one_that_was_not_applied(
    log: EventLog, file: ProjectionFile, reader: ProjectionReader
) -> None:
    publish(log, *(a_parcel_sent(number) for number in range(1, 10)))
    subscription = Subscription(log, file, batch_size=3)
    for sequence in (4, 7):
        with sqlite3.connect(file.path) as other:
            other.execute("CREATE TABLE stopper (x)")
            other.execute(
                f"CREATE TRIGGER stop BEFORE UPDATE ON checkpoint WHEN new.sequence > {sequence}"
                " BEGIN SELECT raise(ABORT, 'stopped'); END"
            )
        with pytest.raises(sqlite3.Error, match="stopped"):
            subscription.run_to_head()
        with sqlite3.connect(file.path) as other:
            other.execute("DROP TABLE stopper")
            other.execute("DROP TRIGGER stop")
    subscription.run_to_head()
    assert sequence_of(reader) == 9
    assert customer(reader) == {"id": 7, "parcels": 9, "weight_g": 900}


def test_batch_size_does_not_change_the_rows(log: EventLog, tmp_path: Path) -> None:
    for number in range(1, 31):
        publish(log, a_parcel_sent(number, customer_id=number % 3, weight_g=number))
        if number % 4 == 0:
            publish(log, ParcelLost(id=number - 1), ParcelLost(id=number - 1))
    contents = []
    for batch_size in (1, 2, 7, 1000):
        with closing(ProjectionFile(tmp_path / str(batch_size), make_post())) as file:
            Subscription(log, file, batch_size=batch_size, clock=lambda: FIXED_NOW).run_to_head()
        with ProjectionReader(tmp_path / str(batch_size), make_post()).look() as look:
            contents.append(
                (
                    look.query("SELECT * FROM customers ORDER BY id"),
                    look.query("SELECT * FROM parcels ORDER BY id"),
                    look.list_parked(),
                    look.checkpoint,
                )
            )
    assert all(content == contents[0] for content in contents)
    assert len(contents[0][2]) == 7


# What it passes, and what it must not pass


def test_refused_event_is_parked_with_reason_and_time(log: EventLog, file: ProjectionFile) -> None:
    published = publish(log, a_parcel_sent(1), a_parcel_sent(1), a_parcel_sent(2))
    Subscription(log, file, clock=lambda: FIXED_NOW).run_to_head()
    reader = ProjectionReader(file.directory, make_post())
    with reader.look() as look:
        (parked,) = look.list_parked()
        assert look.checkpoint.position == published.position
    assert (parked.sequence, parked.event_type, parked.reason) == (
        2,
        "ParcelSent",
        "parcel 1 was sent before",
    )
    assert parked.position == log.read()[1].position
    assert parked.parked_at == "2026-01-02T03:04:05.000+00:00"
    assert customer(reader) == {"id": 7, "parcels": 2, "weight_g": 200}


def test_sum_beyond_64_bits_stops_at_the_event_where_the_handler_does_not_refuse_it(
    log: EventLog, file: ProjectionFile, reader: ProjectionReader
) -> None:
    publish(
        log, a_parcel_sent(1, weight_g=2**63 - 2), a_parcel_sent(2, weight_g=1), a_parcel_sent(3, weight_g=1)
    )
    with pytest.raises(HandlerFailed, match="64 bits"):
        Subscription(log, file).run_once()
    assert customer(reader) == {"id": 7, "parcels": 2, "weight_g": 2**63 - 1}
    assert sequence_of(reader) == 2


@pytest.mark.parametrize("bad", [2**63, "1", None, "\ud800"], ids=repr)
def test_change_that_cannot_be_written_stops_at_its_event(
    log: EventLog, tmp_path: Path, bad: str | int | None
) -> None:
    """The events before it in the same batch are applied; it is the author's to mend."""
    letters = Projection("letters", 1, [Table("letters", "id", {"id": int})])
    letters.handles(ParcelSent)(lambda recorded, _rows: [Insert("letters", {"id": recorded.event.id})])
    letters.handles(ParcelLost)(lambda _recorded, _rows: [Insert("letters", {"id": bad})])
    publish(log, a_parcel_sent(1), ParcelLost(id=1), a_parcel_sent(2))
    with closing(ProjectionFile(tmp_path / "letters", letters)) as file:
        for _ in range(2):
            with pytest.raises(HandlerFailed, match="handler of ParcelLost failed at"):
                Subscription(log, file).run_once()
            assert file.checkpoint().sequence == 1


def test_error_in_a_handler_stops_before_the_entry_and_is_tried_again(log: EventLog, tmp_path: Path) -> None:
    failing = True

    def fail_at_three(recorded: RecordedEvent[ParcelSent]) -> None:
        if failing and recorded.event.id == 3:
            raise ZeroDivisionError("by nothing")

    moody = make_post_after(fail_at_three)
    published = publish(log, *(a_parcel_sent(number) for number in range(1, 5)))
    with closing(ProjectionFile(tmp_path / "moody", moody)) as file:
        subscription = Subscription(log, file)
        for _ in range(2):
            with pytest.raises(
                HandlerFailed, match=r"ParcelSent failed at .*ZeroDivisionError: by nothing"
            ) as failed:
                subscription.run_once()
            assert isinstance(failed.value.__cause__, ZeroDivisionError)
            assert failed.value.position == log.read()[2].position
            assert file.checkpoint().sequence == 2
        failing = False
        assert subscription.run_to_head() == 2
        assert file.checkpoint().position == published.position
        assert file.pending_rows().find("customers", 7) == {"id": 7, "parcels": 4, "weight_g": 400}


def test_rows_that_cannot_be_read_are_not_the_handlers_fault(log: EventLog, tmp_path: Path) -> None:
    unlucky = Projection("post", 1, TABLES)

    @unlucky.handles(ParcelSent)
    def sent(_recorded, _rows):  # type: ignore[no-untyped-def]  # it never answers
        raise sqlite3.OperationalError("disk I/O error")

    publish(log)
    with closing(ProjectionFile(tmp_path / "unlucky", unlucky)) as file:
        with pytest.raises(sqlite3.OperationalError, match="disk"):
            Subscription(log, file).run_once()
        assert file.checkpoint().sequence == 0


def test_batch_is_rolled_back_whole_and_applied_later_when_the_disk_refuses(
    log: EventLog, file: ProjectionFile, reader: ProjectionReader
) -> None:
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    with closing(sqlite3.connect(file.path.resolve(), isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON parcels WHEN new.id = 2 BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(sqlite3.Error, match="full"):
            Subscription(log, file).run_once()
        assert customer(reader) is None
        assert sequence_of(reader) == 0
        other.execute("DROP TRIGGER full")
    assert Subscription(log, file).run_once() == 2
    assert customer(reader) == {"id": 7, "parcels": 2, "weight_g": 200}


def test_types_nothing_handles_are_passed_over_and_remembered(
    log: EventLog, client: redis.Redis, file: ProjectionFile
) -> None:
    """Unknown ones, and known ones this projection has no handler for."""
    publish(log, AddressChanged(customer_id=1, town="Bath", street="A"), a_parcel_sent(1))
    client.xadd(STREAM, {"EventTypeName": "PriceChanged", "Payload": "{}"})
    assert Subscription(log, file).run_to_head() == 3
    assert file.checkpoint().passed_over == {"AddressChanged", "PriceChanged"}
    file.close()
    newer = make_post()
    newer.handles(AddressChanged)(lambda _recorded, _rows: [])
    with pytest.raises(NotBuilt, match="AddressChanged"):
        ProjectionFile(file.directory, newer)


def test_newer_schema_halts_behind_what_stands_before_it(
    log: EventLog, client: redis.Redis, pool: redis.ConnectionPool, tmp_path: Path
) -> None:
    """An old release meets what the new one published; upgraded, it goes on where it stopped."""
    old_codec = Codec([ParcelSent, type("AddressChanged", (AddressChanged,), {"schema_version": 1})])
    old, directory = EventLog(pool, old_codec), tmp_path / "post"
    publish(log, a_parcel_sent(1), AddressChanged(customer_id=7, town="Bath", street="A"), a_parcel_sent(2))
    with closing(ProjectionFile(directory, make_post())) as file:
        for _ in range(2):
            with pytest.raises(
                NewerSchema, match="AddressChanged version 2; this code knows up to 1: upgrade"
            ):
                Subscription(old, file).run_once()
            assert file.checkpoint().sequence == 1
        assert Subscription(log, file).run_to_head() == 2
        assert file.checkpoint().sequence == 3


def test_vanished_server_changes_nothing(file: ProjectionFile, pool: redis.ConnectionPool) -> None:
    gone = EventLog.connect("redis://127.0.0.1:1", make_codec())
    with pytest.raises(LogUnavailable, match="away"):
        Subscription(gone, file).run_once()
    assert file.checkpoint().log_id == ""


# Until stopped


def state_of(directory: Path) -> TailState:
    return TailStatusFile(home_of(directory, make_post())).read().state


def test_tail_follows_reports_and_stops(
    log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eventlog.follower")
    with running(log, tmp_path):
        for number in range(1, 4):
            published = publish(log, a_parcel_sent(number))
            assert ProjectionReader(tmp_path, make_post()).wait_until_applied(published.position, NEVER_S)
        assert state_of(tmp_path) is TailState.FOLLOWING
    assert state_of(tmp_path) is TailState.STOPPED
    assert [record.getMessage() for record in caplog.records][-1] == "post stopped"
    assert customer(ProjectionReader(tmp_path, make_post())) == {"id": 7, "parcels": 3, "weight_g": 300}


def test_tail_makes_known_how_far_it_is(log: EventLog, client: redis.Redis, tmp_path: Path) -> None:
    with running(log, tmp_path):
        wait_until(lambda: [reader.name for reader in log.readers.list_all()] == ["post-v1"])
        last = publish(log, a_parcel_sent(1), a_parcel_sent(2))
        wait_until(lambda: log.readers.list_all()[0].position == last.position)
        assert log.readers.list_all()[0].sequence == 2


def test_tail_that_ends_makes_known_where_it_ended(log: EventLog, tmp_path: Path) -> None:
    """Though it said how far it was less than a second before."""
    with running(log, tmp_path):
        publish(log, a_parcel_sent(1))
        wait_until(lambda: [reader.sequence for reader in log.readers.list_all()] == [1])
        last = publish(log, a_parcel_sent(2))
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(last.position, NEVER_S)
    assert [reader.position for reader in log.readers.list_all()] == [last.position]


def test_tail_that_cannot_make_known_how_far_it_is_follows_all_the_same(
    log: EventLog, client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("{event-stream}:readers", "text")
    with running(log, tmp_path):
        wait_until(lambda: "cannot make known" in caplog.text)
        for number in range(1, 4):
            published = publish(log, a_parcel_sent(number))
            assert ProjectionReader(tmp_path, make_post()).wait_until_applied(published.position, NEVER_S)
        assert state_of(tmp_path) is TailState.FOLLOWING
    assert caplog.text.count("cannot make known") == 1


def test_tail_of_a_log_that_went_makes_nothing_known(
    log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    with running(log, tmp_path):
        wait_until(lambda: len(log.readers.list_all()) == 1)
        client.flushall()
        wait_until(lambda: state_of(tmp_path) is TailState.HALTED)
        assert client.keys("*") == []


def test_tail_with_more_than_a_batch_to_go_says_that_it_catches_up(log: EventLog, tmp_path: Path) -> None:
    """Its second batch waits until the status of after the first was read."""
    second_batch, go_on = threading.Event(), threading.Event()

    def wait_in_the_second(recorded: RecordedEvent[ParcelSent]) -> None:
        if recorded.sequence == 3:
            second_batch.set()
            assert go_on.wait(NEVER_S)

    slow = make_post_after(wait_in_the_second)
    publish(log, *(a_parcel_sent(number) for number in range(5)))
    with running(log, tmp_path, slow, batch_size=2):
        assert second_batch.wait(NEVER_S)
        assert state_of(tmp_path) is TailState.CATCHING_UP
        go_on.set()
        assert ProjectionReader(tmp_path, slow).wait_until_applied(log.state().end, 10)
        wait_until(lambda: state_of(tmp_path) is TailState.FOLLOWING)


def test_tail_does_not_say_that_it_follows_before_it_looked_at_the_log_as_it_is(
    log: EventLog, client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log is replaced while the tail applies its last batch, which was read ahead."""

    def replace_at_the_end(recorded: RecordedEvent[ParcelSent]) -> None:
        if recorded.sequence == 4:
            client.flushall()
            log.create()

    caplog.set_level(logging.INFO)
    publish(log, *(a_parcel_sent(number) for number in range(4)))
    with running(log, tmp_path, make_post_after(replace_at_the_end), batch_size=2):
        wait_until(lambda: state_of(tmp_path) is TailState.HALTED)
    told = [record.getMessage() for record in caplog.records]
    assert any("halted" in message for message in told)
    assert not any("following" in message for message in told)


def test_tail_forgets_what_it_read_ahead_when_a_batch_stops_in_the_middle(
    log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([RuntimeError("once")])

    def fail_once_at_the_fifth(recorded: RecordedEvent[ParcelSent]) -> None:
        if recorded.sequence == 5:
            for failure in failures:
                raise failure

    caplog.set_level(logging.INFO)
    publish(log, *(a_parcel_sent(number) for number in range(1, 10)))
    post = make_post_after(fail_once_at_the_fifth)
    with running(log, tmp_path, post, batch_size=3):
        reader = ProjectionReader(tmp_path, post)
        assert reader.wait_until_applied(log.state().end, 10)
        assert customer(reader) == {"id": 7, "parcels": 9, "weight_g": 900}
    told = [record.getMessage() for record in caplog.records]
    assert any("once" in message for message in told)
    assert not any("halted" in message for message in told)


def test_stop_finishes_the_batch_at_hand_and_begins_no_other(log: EventLog, tmp_path: Path) -> None:
    """Asked in the middle of its first batch, the tail ends with the checkpoint at that batch's end."""
    in_batch, go_on = threading.Event(), threading.Event()

    def wait_in_each(_: RecordedEvent[ParcelSent]) -> None:
        in_batch.set()
        assert go_on.wait(NEVER_S)

    slow = make_post_after(wait_in_each)
    publish(log, *(a_parcel_sent(number) for number in range(10)))
    with running(log, tmp_path, slow, batch_size=4) as run:
        assert in_batch.wait(NEVER_S)
        run.stop.set()
        go_on.set()
    assert sequence_of(ProjectionReader(tmp_path, slow)) == 4


def test_halted_tail_says_why_and_goes_on_by_itself_once_mended(
    log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    publish(log, a_parcel_sent(1))
    with running(log, tmp_path):
        reader = ProjectionReader(tmp_path, make_post())
        assert reader.wait_until_applied(log.state().end, 10)
        client.rename(STREAM, "elsewhere")
        wait_until(lambda: state_of(tmp_path) is TailState.HALTED)
        status = TailStatusFile(home_of(tmp_path, make_post())).read()
        assert status.verdict is Verdict.REPLACED
        assert "eventlog init --adopt" in status.message
        client.rename("elsewhere", STREAM)
        published = publish(log, a_parcel_sent(2))
        assert reader.wait_until_applied(published.position, NEVER_S)
        wait_until(lambda: state_of(tmp_path) is TailState.FOLLOWING)


def test_failing_tail_says_why_and_goes_on_once_mended(log: EventLog, tmp_path: Path) -> None:
    broken = threading.Event()
    broken.set()

    def fail_while_broken(_: RecordedEvent[ParcelSent]) -> None:
        if broken.is_set():
            raise ValueError("not today")

    moody = make_post_after(fail_while_broken)
    published = publish(log, a_parcel_sent(1))
    with running(log, tmp_path, moody):
        wait_until(lambda: state_of(tmp_path) is TailState.RETRYING)
        assert "not today" in TailStatusFile(home_of(tmp_path, make_post())).read().message
        broken.clear()
        assert ProjectionReader(tmp_path, moody).wait_until_applied(published.position, NEVER_S)
        wait_until(lambda: state_of(tmp_path) is TailState.FOLLOWING)


def served_file(directory: Path) -> Path:
    return Generations(directory, make_post()).served_file.resolve()


def test_tail_ends_when_its_file_is_deleted(log: EventLog, tmp_path: Path) -> None:
    """It would go on writing where nobody reads; whoever starts it again builds it anew."""
    with running(log, tmp_path) as run:
        served_file(tmp_path).unlink()
        run.join()
        assert isinstance(run.ended_by, NotBuilt)


def test_tail_halts_when_its_file_is_damaged(log: EventLog, tmp_path: Path) -> None:
    """What it reads from then on would be wrong; it says so, and what mends it."""
    in_second, go_on = threading.Event(), threading.Event()

    def wait_in_the_second(recorded: RecordedEvent[ParcelSent]) -> None:
        if recorded.sequence == 2:
            in_second.set()
            assert go_on.wait(NEVER_S)

    first = publish(log, a_parcel_sent(1)).position
    with running(log, tmp_path, make_post_after(wait_in_the_second)) as run:
        assert ProjectionReader(tmp_path, make_post()).wait_until_applied(first, NEVER_S)
        publish(log, a_parcel_sent(2))  # a batch of its own, which has read nothing yet
        assert in_second.wait(NEVER_S)  # so that it reads nothing while the file is being damaged
        with closing(sqlite3.connect(served_file(tmp_path))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all is read from the file again
        with served_file(tmp_path).open("r+b") as damaged:
            damaged.write(b"\xff" * 8192)
        go_on.set()
        wait_until(lambda: state_of(tmp_path) is TailState.HALTED)
        assert "is damaged" in TailStatusFile(home_of(tmp_path, make_post())).read().message
        assert run.ended_by is None


def test_tail_acknowledges_what_it_is_asked_to(log: EventLog, client: redis.Redis, tmp_path: Path) -> None:
    client.xadd(STREAM, {"price": "5"})
    add_foreign(client)
    with running(log, tmp_path):
        reader = ProjectionReader(tmp_path, make_post())
        assert reader.wait_until_applied(log.state().end, 10)
        request = TailRequest(home_of(tmp_path, make_post()), RequestKind.ACKNOWLEDGE)
        request.leave(1)
        wait_until(lambda: not request.is_waiting())
        with reader.look() as look:
            assert [entry.acknowledged_at is not None for entry in look.list_parked()] == [True, False]
            assert look.count_unacknowledged() == 1
