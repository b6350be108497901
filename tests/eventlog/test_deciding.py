"""A command ends in an append or a refusal, and a refusal only on what the log says now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
import redis

from eventlog import (
    Command,
    EventLog,
    ProjectionFile,
    ProjectionReader,
    Published,
    Refused,
    Rows,
    Subscription,
)
from eventlog.continuity import Verdict
from eventlog.deciding import IDS_FOLLOWED_BELOW, Decision, DecisionMaker, NewId, NotFresh, Origin
from eventlog.errors import CommandReused, WrongLog
from eventlog.generations import home_of
from eventlog.tail_status import TailState, TailStatus, TailStatusFile
from tests.eventlog.log_contract import add_foreign, publish, sequences
from tests.eventlog.parcels import ParcelLost, a_parcel_sent, make_post
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S


@pytest.fixture
def pool() -> redis.ConnectionPool:
    pool: redis.ConnectionPool = fake_pool()
    return pool


@pytest.fixture
def maker(log: EventLog, file: ProjectionFile) -> DecisionMaker:
    """Decides on a projection that has read the log once, and is not followed."""
    Subscription(log, file).run_to_head()
    report(file, TailStatus(TailState.FOLLOWING))
    return DecisionMaker(log, ProjectionReader(file.directory, make_post()), fresh_within_s=0.1)


def report(file: ProjectionFile, status: TailStatus) -> None:
    TailStatusFile(home_of(file.directory, file.projection)).report(status)


def has_read(reader: ProjectionReader) -> bool:
    with reader.look() as look:
        return bool(look.checkpoint.log_id)


@contextmanager
def followed(log: EventLog, file: ProjectionFile) -> Iterator[DecisionMaker]:
    """Decides with a tail at work."""
    stop = threading.Event()
    reader = ProjectionReader(file.directory, make_post())

    def follow() -> None:
        own = ProjectionFile(file.directory, make_post())
        Subscription(log, own).run_forever(stop, wake_every_ms=10)
        own.close()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        while not has_read(reader):
            assert reader.wait_until_applied(log.state().end, 10)
        yield DecisionMaker(log, reader)
    finally:
        stop.set()
        thread.join(NEVER_S)


Decide = Callable[[Rows], Decision | Refused]


def lose(parcel_id: int) -> Decide:
    def decide(rows: Rows) -> Decision | Refused:
        parcel = rows.find("parcels", parcel_id)
        if parcel is None or parcel["lost"]:
            return Refused("no such parcel")
        subject = f"parcel-{parcel_id}"
        return Decision([ParcelLost(id=parcel_id)], guards=[subject], touches=[subject], result="lost")

    return decide


def a_command(key: str = "key") -> Command:
    return Command(key, "body", named=True)


def carry_out(
    maker: DecisionMaker, decide: Decide, command: Command, origin: Origin | None = None
) -> Published | Refused:
    """A command that needs no new id."""
    return maker.carry_out(lambda _new_id: None, lambda _request, rows: decide(rows), command, origin)


def test_accepted_command_is_published_with_its_origin(log: EventLog, file: ProjectionFile) -> None:
    publish(log, a_parcel_sent(1))
    with followed(log, file) as maker:
        outcome = carry_out(maker, lose(1), a_command(), Origin("ada", "order-1", "key"))
    assert isinstance(outcome, Published)
    assert (outcome.sequence, outcome.result, outcome.replayed) == (2, "lost", False)
    assert b'"actor":"ada"' in log.read()[1].fields[7]


def test_refusal_on_what_the_log_says_now_is_answered(maker: DecisionMaker, client: redis.Redis) -> None:
    assert carry_out(maker, lose(1), a_command()) == Refused("no such parcel")
    assert sequences(client) == []


def test_refusal_on_a_projection_that_is_behind_is_not_answered(
    maker: DecisionMaker, log: EventLog, client: redis.Redis
) -> None:
    """The parcel was sent, and the projection has not heard of it."""
    publish(log, a_parcel_sent(1))
    with pytest.raises(NotFresh, match="has not applied"):
        carry_out(maker, lose(1), a_command())
    assert sequences(client) == [1]


def test_what_was_just_published_can_be_built_on_at_once(log: EventLog, file: ProjectionFile) -> None:
    with followed(log, file) as maker:
        for number in range(50):
            publish(log, a_parcel_sent(number))
            assert isinstance(carry_out(maker, lose(number), a_command(str(number))), Published)


def test_command_is_decided_again_when_its_guard_was_touched(log: EventLog, file: ProjectionFile) -> None:
    """Two lose the same parcel: the second is refused, on what the first did."""
    publish(log, a_parcel_sent(1))
    with followed(log, file) as maker:
        decided: list[bool] = []

        def decide(rows: Rows) -> Decision | Refused:
            decision = lose(1)(rows)
            if not decided:
                publish(log, ParcelLost(id=1), touches=["parcel-1"])
            decided.append(isinstance(decision, Decision))
            return decision

        assert carry_out(maker, decide, a_command()) == Refused("no such parcel")
    assert decided[0]
    assert not decided[-1]
    assert log.state().sequence == 2


def test_foreign_entry_makes_it_decide_again(
    log: EventLog, file: ProjectionFile, client: redis.Redis
) -> None:
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    with followed(log, file) as maker:
        add_foreign(client)
        assert carry_out(maker, lose(1), a_command()) == Refused("no such parcel")
        assert isinstance(carry_out(maker, lose(2), a_command("other")), Published)


def test_command_done_before_gets_its_answer_though_it_would_be_refused_now(
    log: EventLog, file: ProjectionFile
) -> None:
    publish(log, a_parcel_sent(1))
    with followed(log, file) as maker:
        first = carry_out(maker, lose(1), a_command())
        assert isinstance(first, Published)
        again = carry_out(maker, lose(1), a_command())
        assert again == first._replace(replayed=True)
        with pytest.raises(CommandReused):
            carry_out(maker, lose(1), Command("key", "another body"))


def test_projection_that_has_not_read_the_log_yet_decides_nothing(
    log: EventLog, file: ProjectionFile, client: redis.Redis
) -> None:
    """Just built, it is empty for a moment: that is no other log."""
    maker = DecisionMaker(log, ProjectionReader(file.directory, make_post()), fresh_within_s=0.2)
    for decide in (lose(1), lambda _rows: Decision([a_parcel_sent(1)])):
        with pytest.raises(NotFresh, match="has not read the log yet"):
            carry_out(maker, decide, a_command())
    assert sequences(client) == []


def test_halted_projection_decides_nothing(
    maker: DecisionMaker, file: ProjectionFile, client: redis.Redis
) -> None:
    report(file, TailStatus(TailState.HALTED, Verdict.REWOUND, "restore it"))
    with pytest.raises(NotFresh, match=r"halted.*restore it"):
        carry_out(maker, lambda _rows: Decision([a_parcel_sent(1)]), a_command())
    assert sequences(client) == []


@pytest.mark.parametrize("accepting", [True, False])
def test_nothing_is_decided_on_a_log_that_was_replaced(
    maker: DecisionMaker, log: EventLog, client: redis.Redis, accepting: bool
) -> None:
    client.flushall()
    log.create()
    decide: Decide = lambda _rows: Decision([a_parcel_sent(1)]) if accepting else Refused("no")  # noqa: E731
    with pytest.raises(WrongLog):
        carry_out(maker, decide, a_command())
    assert sequences(client) == []


def test_new_ids_are_above_those_of_the_rows_but_not_above_huge_foreign_ones(
    log: EventLog, file: ProjectionFile
) -> None:
    publish(log, a_parcel_sent(41), a_parcel_sent(10**17))

    def send(new_id: NewId) -> int:
        return new_id("parcels")

    def decide(number: int, _rows: Rows) -> Decision | Refused:
        return Decision([a_parcel_sent(number)], result=str(number))

    with followed(log, file) as maker:
        outcomes = [maker.carry_out(send, decide, a_command(key)) for key in ("a", "b")]
    assert [isinstance(outcome, Published) and outcome.result for outcome in outcomes] == ["42", "43"]


def test_new_ids_in_a_row_pass_over_a_foreign_one_among_them(log: EventLog, file: ProjectionFile) -> None:
    highest = IDS_FOLLOWED_BELOW - 1
    publish(log, a_parcel_sent(highest), a_parcel_sent(highest + 2))

    def decide(first: int, _rows: Rows) -> Decision:
        return Decision([a_parcel_sent(first + number) for number in range(3)], result=str(first))

    with followed(log, file) as maker:
        outcome = maker.carry_out(lambda new_id: new_id("parcels", 3), decide, a_command())
    assert int(outcome.result) > highest + 2


def test_new_ids_wanted_at_once_are_never_given_twice(log: EventLog, file: ProjectionFile) -> None:
    def take(maker: DecisionMaker, count: int) -> range:
        outcome = maker.carry_out(
            lambda new_id: new_id("parcels", count),
            lambda first, _rows: Decision([a_parcel_sent(first)], result=str(first)),
            Command.unnamed(),
        )
        assert isinstance(outcome, Published)
        return range(int(outcome.result), int(outcome.result) + count)

    with followed(log, file) as maker, ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(partial(take, maker), [1, 7, 1, 100, 2] * 8))
    given = [number for ids in taken for number in ids]
    assert len(set(given)) == len(given) == sum([1, 7, 1, 100, 2] * 8)
