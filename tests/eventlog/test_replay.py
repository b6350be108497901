"""What a replay into a scratch file gives is what a projection would have held then, or without some entries."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog import START, Codec, Event, EventLog, Position
from eventlog.checkpoints import Checkpoint
from eventlog.errors import NewerSchema
from eventlog.moments import last_before, parse_moment
from eventlog.position import LAST
from eventlog.replay import TooMuchToReplay, Without, scratch_file
from tests.eventlog.log_contract import STREAM, positions, publish
from tests.eventlog.parcels import (
    AddressChanged,
    ParcelLost,
    ParcelSent,
    a_parcel_sent,
    make_codec,
    make_post,
)
from tests.eventlog.served_post import all_rows, rows_of, send_parcels, serve
from tests.examples import examples
from tests.fake_redis import fake_pool


def a_log() -> tuple[EventLog, redis.Redis]:
    pool: redis.ConnectionPool = fake_pool()
    log = EventLog(pool, make_codec())
    log.create()
    return log, redis.Redis(connection_pool=pool)


@pytest.fixture
def log() -> EventLog:
    return a_log()[0]


@pytest.fixture(autouse=True)
def scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch files of this test lie."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# Moments


# As of


def as_of(log: EventLog, moment: Position, **more: Any) -> tuple[Checkpoint, dict[str, list[Any]]]:
    with scratch_file(log, make_post()) as scratch:
        checkpoint = scratch.replay(moment, **more)
        with scratch.look() as look:
            assert look.checkpoint == checkpoint
            return checkpoint, all_rows(look)


events = st.lists(
    st.builds(a_parcel_sent, st.integers(1, 6), customer_id=st.integers(1, 3), weight_g=st.integers(0, 9))
    | st.builds(ParcelLost, id=st.integers(1, 6))
    | st.just(AddressChanged(customer_id=1, town="Bath", street="A"))
    | st.none(),
    min_size=1,
    max_size=12,
)


def write(log: EventLog, client: redis.Redis, wanted: list[Event | None]) -> None:
    """Publish each; where there is none, something that nobody can read."""
    for event in wanted:
        if event is None:
            client.xadd(STREAM, {"price": "5"})
        else:
            publish(log, event)


@settings(max_examples=examples(12))
@given(events, st.data())
def test_as_of_a_position_is_what_a_projection_of_the_entries_up_to_it_holds(
    wanted: list[Event | None], data: st.DataObject
) -> None:
    log, client = a_log()
    write(log, client, wanted)
    kept = data.draw(st.integers(0, len(wanted)))
    moment = [START, *positions(log)][kept]
    checkpoint, rows = as_of(log, moment)
    shorter, shorter_client = a_log()
    for entry in log.read(START, 100):
        if entry.position <= moment:
            shorter_client.xadd(
                STREAM, dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)), id=entry.id
            )
    shorter.create(adopt=True)
    with tempfile.TemporaryDirectory() as folder:
        serve(shorter, Path(folder))
        assert rows_of(Path(folder)) == rows
    assert (checkpoint.position, checkpoint.sequence) == (moment, kept)


def test_as_of_a_time_is_what_was_written_before_it(log: EventLog) -> None:
    send_parcels(log, 1, 3)
    end = log.state().end
    second = Position(end.milliseconds + 1000, 0)
    time = datetime.fromtimestamp(second.milliseconds / 1000, UTC).isoformat()
    assert as_of(log, last_before(parse_moment(time), log))[0].sequence == 3
    assert as_of(log, last_before(parse_moment("1999-01-01"), log))[0].sequence == 0
    assert as_of(log, last_before(parse_moment("9999-01-01"), log))[0].sequence == 3


def test_as_of_goes_on_from_where_it_is(log: EventLog) -> None:
    sent = [send_parcels(log, number, number) for number in range(1, 6)]
    with scratch_file(log, make_post()) as scratch:
        assert [scratch.replay(position).sequence for position in sent] == [1, 2, 3, 4, 5]


def test_replay_goes_on_from_a_copy_of_a_look(log: EventLog) -> None:
    middle = send_parcels(log, 1, 5)
    send_parcels(log, 6, 9)
    with scratch_file(log, make_post()) as then:
        then.replay(middle)
        with then.look() as was, scratch_file(log, make_post(), was) as now:
            with now.look() as copied:
                assert (copied.checkpoint, all_rows(copied)) == (was.checkpoint, all_rows(was))
            told: list[int] = []
            assert now.replay(on_batch=lambda checkpoint: told.append(checkpoint.sequence)).sequence == 9
            assert told == [9]
            with now.look() as look:
                assert len(all_rows(look)["parcels"]) == 9
            assert len(all_rows(was)["parcels"]) == 5


@pytest.mark.parametrize(("most", "too_much"), [(1100, False), (1099, True), (1, True)])
def test_replay_ends_when_there_is_too_much(log: EventLog, *, most: int, too_much: bool) -> None:
    send_parcels(log, 1, 1100)
    if not too_much:
        assert as_of(log, LAST, most_entries=most)[0].sequence == 1100
        return
    batches: list[int] = []
    with pytest.raises(
        TooMuchToReplay, match=f"more than {most:,} entries lie before that moment"
    ) as refused:
        as_of(log, LAST, most_entries=most, on_batch=lambda now: batches.append(now.sequence))
    assert refused.value.most_entries == most
    assert batches == ([] if most == 1 else [1000])


def test_scratch_leaves_no_file(log: EventLog, scratch_folder: Path) -> None:
    send_parcels(log, 1, 3)
    with scratch_file(log, make_post()) as scratch:
        scratch.replay()
        assert len(list(scratch_folder.iterdir())) == 1
    assert list(scratch_folder.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), scratch_file(log, make_post()) as scratch:
        raise KeyboardInterrupt
    with pytest.raises(TooMuchToReplay):
        as_of(log, LAST, most_entries=1)
    assert list(scratch_folder.iterdir()) == []


# What if


def without(log: EventLog, *left_out: Position) -> dict[str, list[Any]]:
    with scratch_file(log, Without(make_post(), frozenset(left_out))) as scratch:
        scratch.replay()
        with scratch.look() as look:
            return all_rows(look)


def without_positions(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {**rows, "parked": [why for _, *why in rows["parked"]]}


@settings(max_examples=examples(12))
@given(events, st.data())
def test_without_some_entries_is_what_a_log_that_never_had_them_gives(
    wanted: list[Event | None], data: st.DataObject
) -> None:
    """Readable entries and others alike; what was parked on their account is not, and the other way round."""
    left_out = data.draw(st.sets(st.integers(0, len(wanted) - 1)))
    log, client = a_log()
    write(log, client, wanted)
    found = without(log, *(position for number, position in enumerate(positions(log)) if number in left_out))
    other, other_client = a_log()
    write(other, other_client, [event for number, event in enumerate(wanted) if number not in left_out])
    with tempfile.TemporaryDirectory() as folder:
        serve(other, Path(folder))
        assert without_positions(rows_of(Path(folder))) == without_positions(found)


def test_without_nothing_is_the_projection_itself(log: EventLog) -> None:
    send_parcels(log, 1, 5)
    assert without(log) == as_of(log, LAST)[1]


def test_without_an_entry_of_a_newer_schema_the_rest_is_replayed() -> None:
    log, client = a_log()
    publish(log, a_parcel_sent(1), AddressChanged(customer_id=7, town="Bath", street="A"), a_parcel_sent(2))
    newer = positions(log)[1]
    codec = Codec([ParcelSent, type("AddressChanged", (AddressChanged,), {"schema_version": 1})])
    older = EventLog(client.connection_pool, codec)
    with pytest.raises(NewerSchema):
        without(older)
    assert len(without(older, newer)["parcels"]) == 2


def test_without_leaves_the_log_as_it_is(log: EventLog) -> None:
    send_parcels(log, 1, 5)
    before, end = log.read(), log.state()
    without(log, before[2].position)
    assert (log.read(), log.state()) == (before, end)


def test_checkpoint_of_a_what_if_counts_the_entries_left_out(log: EventLog) -> None:
    send_parcels(log, 1, 5)
    end = log.state().end
    with scratch_file(log, Without(make_post(), frozenset({end}))) as scratch:
        assert scratch.replay()[3:5] == (end, 5)
