"""A new generation is built beside what is served, compared at one position, and harms nothing when it fails."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog import EventLog, Position, Projection, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.errors import HandlerFailed, LogUnavailable, NotBuilt, SwitchRefused, WrongLog
from eventlog.generations import Generations, home_of
from eventlog.readers import ReaderKind
from eventlog.rebuild import Built, build_generation, catch_up
from eventlog.tail_lock import TailLock, is_held
from tests.eventlog.conftest import emptied_url
from tests.eventlog.log_contract import META, STREAM, publish
from tests.eventlog.parcels import TABLES, ParcelLost, ParcelSent, make_codec, make_post
from tests.eventlog.running_tail import running, wait_until
from tests.eventlog.served_post import (
    acknowledge,
    add_unreadable,
    all_rows,
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
from tests.fake_redis import fake_pool


def ignore(_done: int, _total: int) -> None:
    pass


def rebuild(log: EventLog, directory: Path, projection: Projection | None = None) -> Built:
    return build_generation(log, directory, projection or make_post(), ignore)


def differences(built: Built) -> dict[str, tuple[int, int, int]]:
    """Rows added, removed and changed, by table."""
    assert built.comparison is not None
    return {table.table: (table.added, table.removed, table.changed) for table in built.comparison.tables}


class RebuildContract(ABC):
    """On each kind of server."""

    @pytest.fixture
    @abstractmethod
    def pool(self) -> Any:
        """Connections to a server of this kind, emptied."""

    def test_rebuild_is_a_reader_that_nothing_is_trimmed_of_while_it_runs(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 20)
        known: list[list[tuple[str, ReaderKind, int]]] = []

        def look_at_readers(_done: int, _total: int) -> None:
            known.append([(reader.name, reader.kind, reader.sequence) for reader in log.readers.list_all()])

        build_generation(log, tmp_path, make_post(), look_at_readers)
        assert known == [[("post-v1-rebuild-1", ReaderKind.REBUILD, 0)]], "once a second is enough"
        assert log.readers.list_all() == []

        def fail(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_generation(log, tmp_path, make_post(), fail)
        assert log.readers.list_all() == []

    # What is built

    def test_built_generation_is_equal_to_what_is_served(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 30)
        add_unreadable(client)
        publish(log, ParcelLost(id=3), ParcelLost(id=3))
        served = serve(log, tmp_path)
        built = rebuild(log, tmp_path)
        assert built.comparison is not None
        assert built.comparison.is_same
        assert built.comparison.rows == 30 + 11 + 2
        assert built.checkpoint == served
        assert rows_of(tmp_path, built.generation) == rows_of(tmp_path)
        assert served_number(tmp_path) == 1
        assert not is_held(built.generation)

    def test_hand_edited_rows_are_named_as_the_log_has_them(self, log: EventLog, tmp_path: Path) -> None:
        send_parcels(log, 1, 20)
        serve(log, tmp_path)
        with edited(tmp_path) as connection:
            connection.execute("UPDATE customers SET weight_g = 1 WHERE id = 5")
            connection.execute("DELETE FROM parcels WHERE id = 7")
            connection.execute("INSERT INTO parcels VALUES (99, 1, 2, 0)")
        built = rebuild(log, tmp_path)
        assert differences(built) == {"customers": (0, 0, 1), "parcels": (1, 1, 0)}
        assert built.comparison is not None
        changed, (back, gone) = (table.first for table in built.comparison.tables)
        assert [(row.key, row.before, row.after) for row in changed] == [
            (5, {"id": 5, "parcels": 2, "weight_g": 1}, {"id": 5, "parcels": 2, "weight_g": 5 + 16})
        ]
        assert (back.key, back.before, back.after) == (
            7,
            None,
            {"id": 7, "customer_id": 7, "weight_g": 7, "lost": 0},
        )
        assert (gone.key, gone.before, gone.after) == (
            99,
            {"id": 99, "customer_id": 1, "weight_g": 2, "lost": 0},
            None,
        )

    def test_parked_entries_that_differ_are_named(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        add_unreadable(client)
        publish(log, ParcelLost(id=1))
        serve(log, tmp_path)
        with edited(tmp_path) as connection:
            connection.execute("UPDATE parked SET reason = 'because' WHERE sequence = 2")
        built = rebuild(log, tmp_path)
        assert differences(built) == {"parked": (0, 0, 1)}
        assert built.comparison is not None
        (row,) = built.comparison.tables[0].first
        assert row.key == 2
        assert row.before is not None
        assert row.before["reason"] == "because"

    def test_served_file_that_is_behind_is_met_where_it_stands(self, log: EventLog, tmp_path: Path) -> None:
        """Its tail is stopped; the log goes on, and the comparison is not off by what came since."""
        middle = send_parcels(log, 1, 25)
        send_parcels(log, 26, 60)
        serve(log, tmp_path, up_to=middle)
        built = rebuild(log, tmp_path)
        assert built.comparison is not None
        assert built.comparison.is_same
        assert (built.checkpoint.position, built.checkpoint.sequence) == (middle, 25)
        assert sequence_of(tmp_path) == 25

    def test_many_batches_behind_the_head_it_goes_exactly_as_far_as_what_is_served(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        middle = send_parcels(log, 1, 2500)
        send_parcels(log, 2501, 3000)
        serve(log, tmp_path, up_to=middle)
        told: list[tuple[int, int]] = []
        built = build_generation(log, tmp_path, make_post(), lambda done, total: told.append((done, total)))
        assert built.checkpoint.sequence == 2500
        assert built.comparison is not None
        assert built.comparison.is_same
        assert told[-1][0] <= 2500
        assert {total for _, total in told} == {2500}
        assert [done for done, _ in told] == sorted(done for done, _ in told)

    def test_served_file_that_has_applied_nothing_equals_one_that_applies_nothing(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 5)
        serve(log, tmp_path, up_to=Position(0, 0))
        built = rebuild(log, tmp_path)
        assert built.comparison is not None
        assert built.comparison.is_same
        assert built.checkpoint.sequence == 0

    # What there is nothing to compare with

    def test_where_nothing_is_served_it_is_built_up_to_the_head(self, log: EventLog, tmp_path: Path) -> None:
        send_parcels(log, 1, 12)
        built = rebuild(log, tmp_path)
        assert built.comparison is None
        assert built.checkpoint.position == log.state().end
        assert len(rows_of(tmp_path, built.generation)["parcels"]) == 12
        assert served_number(tmp_path) is None

    def test_damaged_served_file_is_compared_with_nothing(self, log: EventLog, tmp_path: Path) -> None:
        send_parcels(log, 1, 12)
        serve(log, tmp_path)
        damage(Generations(tmp_path, make_post()).served_file)
        built = rebuild(log, tmp_path)
        assert built.comparison is None
        assert built.checkpoint.sequence == 12
        assert len(rows_of(tmp_path, built.generation)["parcels"]) == 12

    def test_served_file_of_code_that_handled_less_is_compared_with_nothing(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 2)
        publish(log, ParcelLost(id=1))
        less = Projection("post", 1, TABLES)
        less.handles(ParcelSent)(lambda _recorded, _rows: [])
        serve(log, tmp_path, less)
        built = rebuild(log, tmp_path)
        assert built.comparison is None
        assert built.checkpoint.sequence == 3

    # What must not be built

    def test_replaced_log_is_refused_and_nothing_is_left(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 5)
        serve(log, tmp_path)
        before = rows_of(tmp_path)
        client.delete(STREAM, META)
        log.create()
        send_parcels(log, 1, 9)
        with pytest.raises(SwitchRefused, match="the log is no longer what is served"):
            rebuild(log, tmp_path)
        assert (generation_numbers(tmp_path), rows_of(tmp_path)) == ([1], before)

    def test_vanished_log_is_refused_and_nothing_is_left(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 5)
        serve(log, tmp_path)
        client.delete(STREAM)
        with pytest.raises(WrongLog, match="replaced"):
            rebuild(log, tmp_path)
        client.delete(META)
        with pytest.raises(WrongLog, match="there is no log"):
            rebuild(log, tmp_path)
        assert generation_numbers(tmp_path) == [1]

    def test_rewound_log_is_refused_and_nothing_is_left(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        """As after a backup of Redis was restored: whole in itself, and behind what is served."""
        send_parcels(log, 1, 5)
        backup = {key: client.dump(key) for key in (STREAM, META)}
        send_parcels(log, 6, 9)
        serve(log, tmp_path)
        for key, content in backup.items():
            assert isinstance(content, bytes)
            client.restore(key, 0, content, replace=True)
        with pytest.raises(SwitchRefused, match=r"served as of number 9 .* stands at number 5"):
            rebuild(log, tmp_path)
        send_parcels(log, 6, 12)
        with pytest.raises(SwitchRefused, match="the log is no longer what is served"):
            rebuild(log, tmp_path)
        assert generation_numbers(tmp_path) == [1]

    def test_log_with_a_hole_is_refused_and_nothing_is_left(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        send_parcels(log, 1, 5)
        serve(log, tmp_path)
        client.xdel(STREAM, log.read()[1].id)
        with pytest.raises(WrongLog, match="rewound"):
            rebuild(log, tmp_path)
        assert generation_numbers(tmp_path) == [1]

    def test_handler_that_fails_leaves_nothing(self, log: EventLog, tmp_path: Path) -> None:
        send_parcels(log, 1, 5)
        serve(log, tmp_path)
        faulty = Projection("post", 1, TABLES)

        @faulty.handles(ParcelSent)
        def sent(_recorded, _rows):  # type: ignore[no-untyped-def]  # it never answers
            raise ZeroDivisionError

        with pytest.raises(HandlerFailed):
            rebuild(log, tmp_path, faulty)
        assert generation_numbers(tmp_path) == [1]

    # Acknowledgements

    def test_what_was_acknowledged_stays_so(self, log: EventLog, client: redis.Redis, tmp_path: Path) -> None:
        add_unreadable(client)
        publish(log, ParcelLost(id=1), ParcelLost(id=2))
        serve(log, tmp_path)
        at = acknowledge(tmp_path, 2)
        built = rebuild(log, tmp_path)
        assert built.comparison is not None
        assert built.comparison.is_same
        assert seen(tmp_path, built.generation) == [at, at, None]

    def test_what_is_parked_for_another_reason_now_is_new(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        publish(log, ParcelLost(id=1), ParcelLost(id=2))
        serve(log, tmp_path)
        at = acknowledge(tmp_path, 2)
        with edited(tmp_path) as connection:
            connection.execute("UPDATE parked SET reason = 'of old' WHERE sequence = 1")
        assert seen(tmp_path, rebuild(log, tmp_path).generation) == [None, at]

    def test_first_generation_of_a_version_knows_what_was_acknowledged_in_any_before(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        publish(log, ParcelLost(id=1))
        serve(log, tmp_path, make_post(1))
        first = acknowledge(tmp_path, 1, make_post(1))
        publish(log, ParcelLost(id=2), ParcelLost(id=3))
        serve(log, tmp_path, make_post(10))
        second = acknowledge(tmp_path, 2, make_post(10))
        newest = make_post(11)
        built = rebuild(log, tmp_path, newest)
        assert seen(tmp_path, built.generation, newest) == [first, second, None]

    def test_damaged_file_of_another_version_is_no_obstacle(self, log: EventLog, tmp_path: Path) -> None:
        publish(log, ParcelLost(id=1))
        serve(log, tmp_path, make_post(1))
        at = acknowledge(tmp_path, 1, make_post(1))
        serve(log, tmp_path, make_post(2))
        damage(Generations(tmp_path, make_post(2)).served_file)
        built = rebuild(log, tmp_path, make_post(3))
        assert seen(tmp_path, built.generation, make_post(3)) == [at]

    # Catching up

    def test_generation_is_brought_close_to_what_is_served_and_never_beyond(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        first = send_parcels(log, 1, 10)
        middle = send_parcels(log, 11, 2600)
        send_parcels(log, 2601, 2700)
        serve(log, tmp_path, up_to=middle)
        old = build(log, tmp_path, first)
        catch_up(log, tmp_path, make_post(), old, ignore)
        assert 1600 <= sequence_of(tmp_path, old) <= 2600
        assert sequence_of(tmp_path) == 2600

    def test_generation_that_somebody_builds_is_left_to_him(self, log: EventLog, tmp_path: Path) -> None:
        serve(log, tmp_path)
        generation = build(log, tmp_path)
        lock = TailLock(generation)
        lock.acquire()
        with pytest.raises(SwitchRefused, match="generation 2 is being built: wait until it is done"):
            catch_up(log, tmp_path, make_post(), generation, ignore)
        lock.release()
        catch_up(log, tmp_path, make_post(), generation, ignore)

    def test_nothing_is_caught_up_with_what_cannot_be_read(self, log: EventLog, tmp_path: Path) -> None:
        generation = build(log, tmp_path)
        with pytest.raises(NotBuilt):
            catch_up(log, tmp_path, make_post(), generation, ignore)


class TestOnFakeredis(RebuildContract):
    @pytest.fixture
    def pool(self) -> Any:
        return fake_pool()


@pytest.mark.processes
class TestOnARealServer(RebuildContract):
    @pytest.fixture
    def pool(self, embedded_server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
        pool = redis.ConnectionPool.from_url(emptied_url(embedded_server), protocol=2)
        yield pool
        pool.disconnect()

    @pytest.mark.parametrize("served", [True, False])
    def test_interrupt_after_any_batch_leaves_what_is_served_and_nothing_else(
        self, log: EventLog, tmp_path: Path, *, served: bool
    ) -> None:
        send_parcels(log, 1, 2100)
        if served:
            serve(log, tmp_path)
        batches = 0
        while True:
            left = batches + 1

            def interrupt(_done: int, _total: int) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt

            try:
                build_generation(log, tmp_path, make_post(), interrupt)
            except KeyboardInterrupt:
                batches += 1
            else:
                break
            assert generation_numbers(tmp_path) == ([1] if served else [])
            assert served_number(tmp_path) == (1 if served else None)
        assert batches == 3
        if served:
            assert sequence_of(tmp_path) == 2100

    def test_rows_are_equal_whenever_they_are_compared_under_load(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        """A publisher and a tail go on all the time; each comparison is of one position."""
        stop = threading.Event()
        built: list[Built] = []
        send_parcels(log, 1, 200)

        def publish_on() -> None:
            number = 200
            while not stop.is_set():
                send_parcels(log, number + 1, number + 20)
                number += 20

        with running(log, tmp_path):
            reader = ProjectionReader(tmp_path, make_post())
            assert reader.wait_until_applied(log.state().end, 20)
            thread = threading.Thread(target=publish_on)
            thread.start()
            try:
                for _ in range(5):
                    before = sequence_of(tmp_path)
                    wait_until(lambda before=before: sequence_of(tmp_path) > before)  # type: ignore[misc]  # of this round
                    built.append(rebuild(log, tmp_path))
            finally:
                stop.set()
                thread.join(20)
        reached = [each.checkpoint.sequence for each in built]
        assert [differences(each) for each in built] == [{}] * 5
        assert reached == sorted(set(reached))
        assert reached == [sequence_of(tmp_path, each.generation) for each in built]


def test_away_from_its_log_nothing_is_built_and_nothing_left(tmp_path: Path) -> None:
    gone = EventLog.connect("redis://127.0.0.1:1", make_codec())
    with pytest.raises(LogUnavailable):
        rebuild(gone, tmp_path)
    assert generation_numbers(tmp_path) == []


def test_generation_is_locked_while_it_is_built(tmp_path: Path) -> None:
    """So no prune takes it, and no other command writes it."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    send_parcels(log, 1, 10)
    pruned: list[Path] = []
    generations = Generations(tmp_path, make_post())
    built = build_generation(
        log, tmp_path, make_post(), lambda _done, _total: pruned.extend(generations.prune())
    )
    assert pruned == []
    with ProjectionReader(tmp_path, make_post(), built.generation).look() as look:
        assert len(all_rows(look)["parcels"]) == 10
    assert home_of(tmp_path, make_post()) == built.generation.parents[1]
