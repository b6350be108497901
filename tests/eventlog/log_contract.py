"""What every server that holds a log must do: inherited by one test class for each kind of server."""

from __future__ import annotations

import json
import shlex
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import msgspec
import pytest
import redis

from eventlog import START, Codec, Command, Event, EventLog, Moment, Position, Published
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Verdict
from eventlog.errors import CommandReused, Conflict, IdsTaken, LogUnavailable, WeakDurability, WrongLog
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, UNNAMED_COMMAND_LIFETIME_MS, Durability
from eventlog.new_ids import LARGEST_ID, NewIds
from tests.eventlog.parcels import AddressChanged, ParcelLost, ParcelSent, a_parcel_sent, make_codec
from tests.make_run import NEVER_S

STREAM = "event-stream"
META = "{event-stream}:meta"
SUBJECTS = "{event-stream}:subjects"
LARGEST_HALF = 2**64 - 1


def add_foreign(client: redis.Redis, entry_id: str = "*") -> None:
    """What a program that knows nothing of this library publishes."""
    client.xadd(STREAM, {"EventTypeName": "ParcelLost", "Payload": '{"id":1}'}, id=entry_id)


def add_many_foreign(client: redis.Redis, count: int) -> None:
    with client.pipeline() as pipeline:
        for _ in range(count):
            add_foreign(pipeline)
        pipeline.execute()


def moment(log: EventLog) -> Moment:
    """The log as far as it goes now."""
    state = log.state()
    assert state.log_id is not None
    return Moment(state.log_id, state.end)


def publish(log: EventLog, *events: Event, decided_at: Moment | None = None, **more: Any) -> Published:
    return log.publish(events or [a_parcel_sent()], decided_at=decided_at or moment(log), **more)


def give_id(
    log: EventLog,
    counter: str = "parcels",
    *,
    above: int = 0,
    below: int = LARGEST_ID,
    command: Command | None = None,
) -> int:
    """Publish a parcel with a new id; the id."""
    new_ids = NewIds.between(counter, above, below)
    sent = a_parcel_sent(new_ids.provisional())
    return int(publish(log, sent, result=str(sent.id), new_ids=new_ids, command=command).result)


def positions(log: EventLog) -> list[Position]:
    return [entry.position for entry in log.read()]


def sequences(client: redis.Redis) -> list[int | None]:
    entries: Any = client.xrange(STREAM)
    return [int(fields[b"Sequence"]) if b"Sequence" in fields else None for _, fields in entries]


def sent_ids(client: redis.Redis) -> list[int]:
    """Of the parcels, in the order of the log."""
    entries: Any = client.xrange(STREAM)
    return [json.loads(fields[b"Payload"])["id"] for _, fields in entries]


def everything(client: redis.Redis) -> dict[Any, Any]:
    """All that the server holds, to compare."""
    return {key: client.dump(key) for key in client.keys("*")}


def mended(client: redis.Redis, wrong: WrongLog) -> None:
    """As its message says."""
    _, command, _ = wrong.mend.split("`")
    program, *words = shlex.split(command)
    assert program == "redis-cli"
    client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py left it so


class LogContract(ABC):
    @pytest.fixture
    @abstractmethod
    def pool(self) -> Any:
        """Connections to a server of this kind, emptied."""

    # What is in the stream

    def test_entry_is_four_fields_in_order_that_plain_redis_reads(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        published = publish(
            log, a_parcel_sent(1), actor="ada", correlation_id="order-1", command_name="key-1"
        )
        plainly: Any = client.xrange(STREAM)
        ((entry_id, plainly_read),) = plainly
        assert entry_id.decode() == str(published.position)
        fields = [part for field in plainly_read.items() for part in field]
        assert fields[:6] == [
            b"EventTypeName",
            b"ParcelSent",
            b"Payload",
            b'{"id":1,"customer_id":7,"weight_g":100}',
            b"Sequence",
            b"1",
        ]
        assert fields[6] == b"Metadata"
        metadata = json.loads(fields[7])
        assert metadata.keys() == {"event_id", "occurred_at", "correlation_id", "actor", "command"}
        assert (metadata["correlation_id"], metadata["actor"], metadata["command"]) == (
            "order-1",
            "ada",
            "key-1",
        )
        assert datetime.fromisoformat(metadata["occurred_at"]).utcoffset() is not None

    def test_what_was_published_is_read_back(self, log: EventLog) -> None:
        events = [a_parcel_sent(1), ParcelLost(id=1), AddressChanged(customer_id=7, town="Œ", street='"\\')]
        published = publish(log, *events)
        entries = log.read()
        decoded: Any = [log.codec.decode(entry, n, foreign=False) for n, entry in enumerate(entries, 1)]
        assert [recorded.event for recorded in decoded] == events
        assert [recorded.metadata.schema_version for recorded in decoded] == [1, 1, 2]
        assert len({recorded.metadata.event_id for recorded in decoded}) == len(events)
        assert entries[-1].position == published.position
        assert published.sequence == len(events)

    def test_large_integers_keep_every_digit(self, log: EventLog) -> None:
        publish(log, a_parcel_sent(10**14, weight_g=2**63 - 1))
        assert (
            log.read()[0].fields[3]
            == b'{"id":100000000000000,"customer_id":7,"weight_g":9223372036854775807}'
        )

    def test_sequence_counts_every_entry_without_a_hole(self, log: EventLog, client: redis.Redis) -> None:
        publish(log)
        publish(log, a_parcel_sent(2), a_parcel_sent(3))
        publish(log, touches=["x"])
        with pytest.raises(Conflict):
            publish(log, decided_at=Moment(moment(log).log_id, START), guards=["x"])
        publish(log)
        assert sequences(client) == [1, 2, 3, 4, 5]
        assert log.state().sequence == 5

    def test_reading_goes_on_behind_a_position(self, log: EventLog) -> None:
        publish(log, *(a_parcel_sent(number) for number in range(5)))
        all_of_them = log.read()
        assert log.read(all_of_them[1].position, count=2) == all_of_them[2:4]
        assert log.read(all_of_them[-1].position) == []
        assert log.read(Position(LARGEST_HALF, LARGEST_HALF)) == []
        assert log.count_entries(START, all_of_them[3].position) == 4
        assert log.count_entries(all_of_them[0].position, all_of_them[3].position) == 3

    # All or nothing

    @pytest.mark.parametrize("known", [ParcelSent, ParcelLost])
    def test_batch_with_an_event_that_cannot_be_encoded_leaves_nothing(
        self, log: EventLog, pool: redis.ConnectionPool, client: redis.Redis, known: type[Event]
    ) -> None:
        before = everything(client)
        with pytest.raises(TypeError, match="add it there"):
            publish(EventLog(pool, Codec([known])), a_parcel_sent(), ParcelLost(id=1), touches=["x"])
        assert everything(client) == before

    @pytest.mark.parametrize("counter", [LARGEST_HALF, LARGEST_HALF - 1])
    def test_nothing_is_written_where_a_foreign_entry_used_up_the_ids(
        self, log: EventLog, client: redis.Redis, counter: int
    ) -> None:
        """With one id left a batch of two must not leave its first."""
        add_foreign(client, f"{LARGEST_HALF}-{counter}")
        keys = set(client.keys("*"))
        with pytest.raises(LogUnavailable, match="refused the append"):
            publish(log, a_parcel_sent(1), a_parcel_sent(2), touches=["x"], command=Command("c", "f", True))
        assert sequences(client) == [None]
        assert log.state().sequence == 0
        assert set(client.keys("*")) == keys

    def test_nothing_is_written_where_a_key_of_the_log_is_something_else(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        client.set("{event-stream}:subjects", "not a hash")
        with pytest.raises(LogUnavailable, match="WRONGTYPE"):
            publish(log, touches=["x"])
        assert client.xlen(STREAM) == 0

    def test_publishing_nothing_is_refused(self, log: EventLog) -> None:
        with pytest.raises(ValueError, match="at least one"):
            log.publish([], decided_at=moment(log))

    @pytest.mark.parametrize("correlation_id", ["x" * 129])
    def test_metadata_that_could_not_be_read_is_not_published(
        self, log: EventLog, client: redis.Redis, correlation_id: str
    ) -> None:
        with pytest.raises(msgspec.ValidationError, match="correlation_id"):
            publish(log, correlation_id=correlation_id)
        assert client.xlen(STREAM) == 0

    # Guards

    def test_guard_touched_after_the_decision_conflicts_and_leaves_nothing(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        decided_at = moment(log)
        touched = publish(log, a_parcel_sent(1), touches=["parcel-1"])
        before = everything(client)
        with pytest.raises(Conflict, match="parcel-1") as conflict:
            publish(log, decided_at=decided_at, guards=["parcel-2", "parcel-1"], touches=["parcel-3"])
        assert (conflict.value.position, conflict.value.subject) == (touched.position, "parcel-1")
        assert everything(client) == before

    def test_guard_touched_at_the_decision_or_before_lets_pass(self, log: EventLog) -> None:
        touched = publish(log, touches=["parcel-1"])
        publish(log, decided_at=Moment(touched.log_id, touched.position), guards=["parcel-1", "parcel-2"])

    def test_guard_does_not_mind_what_touched_other_subjects(self, log: EventLog) -> None:
        decided_at = moment(log)
        publish(log, touches=["parcel-1"])
        assert publish(log, decided_at=decided_at, guards=["parcel-2"]).sequence == 2

    @pytest.mark.parametrize(
        ("decided", "touched"),
        [
            ("1000-9", "1000-10"),
            ("999-5", "1000-0"),
            ("18446744073709551613-18446744073709551614", "18446744073709551613-18446744073709551615"),
            ("9999999999999999998-0", "9999999999999999999-0"),
            ("9007199254740992-0", "9007199254740993-0"),
        ],
    )
    def test_positions_compare_as_numbers(
        self, log: EventLog, client: redis.Redis, decided: str, touched: str
    ) -> None:
        """Neither as text, where 1000-10 sorts before 1000-9, nor as doubles, which end at 2^53."""
        for entry_id in (decided, touched):
            add_foreign(client, entry_id)
        client.hset(META, mapping={"sequence": "2", "last_position": touched, "floor": "0-0"})
        client.hset("{event-stream}:subjects", "parcel-1", touched)
        log_id = moment(log).log_id
        with pytest.raises(Conflict) as conflict:
            publish(log, decided_at=Moment(log_id, Position.parse(decided)), guards=["parcel-1"])
        assert str(conflict.value.position) == touched
        assert publish(
            log, decided_at=Moment(log_id, Position.parse(touched)), guards=["parcel-1"]
        ).position > Position.parse(touched)

    def test_one_of_many_racing_for_one_guard_wins(self, log: EventLog, client: redis.Redis) -> None:
        decided_at = moment(log)

        def race(number: int) -> bool:
            try:
                publish(log, a_parcel_sent(number), decided_at=decided_at, guards=["x"], touches=["x"])
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sorted(threads.map(race, range(8))) == [False] * 7 + [True]
        assert sequences(client) == [1]

    # Entries of others

    def test_foreign_entries_are_counted_and_void_older_decisions(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish(log)
        decided_at = moment(log)
        for _ in range(3):
            add_foreign(client)
        with pytest.raises(Conflict) as conflict:
            publish(log, decided_at=decided_at)
        assert conflict.value.position == positions(log)[-1]
        assert publish(log).sequence == 5
        assert publish(log, decided_at=Moment(decided_at.log_id, positions(log)[-2])).sequence == 6
        with pytest.raises(Conflict):
            publish(log, decided_at=decided_at)
        assert sequences(client) == [1, None, None, None, 5, 6]

    def test_more_foreign_entries_than_one_reading_takes_are_counted(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        add_many_foreign(client, 2001)
        assert publish(log).sequence == 2002

    # Is it still that log?

    def test_another_log_is_not_written(self, log: EventLog, client: redis.Redis) -> None:
        before = everything(client)
        with pytest.raises(WrongLog, match="eventlog init --adopt") as wrong:
            publish(log, decided_at=Moment("f" * 32, START))
        assert wrong.value.verdict is Verdict.REPLACED
        assert everything(client) == before

    def test_publishing_before_there_is_a_log_says_so_at_once(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        client.flushall()
        with pytest.raises(WrongLog, match=r"no log yet.*eventlog init"):
            publish(log, decided_at=Moment("", START))
        assert everything(client) == {}

    @pytest.mark.parametrize("doing", ["flush", "delete", "rename"])
    def test_vanished_log_is_not_made_again(self, log: EventLog, client: redis.Redis, doing: str) -> None:
        published = publish(log, touches=["x"])
        match doing:
            case "flush":
                client.flushall()
            case "delete":
                client.delete(STREAM)
            case _:
                client.rename(STREAM, "elsewhere")
        before = everything(client)
        for decided_at in (START, published.position):
            with pytest.raises(WrongLog) as wrong:
                publish(log, decided_at=Moment(published.log_id, decided_at))
            assert wrong.value.verdict is Verdict.REPLACED
        assert log.wait(published.position, 1) is False
        assert not log.state().stream_exists
        assert everything(client) == before

    @pytest.mark.parametrize("decided", ["beyond the end", "absent"])
    def test_decision_on_what_the_log_has_not_is_refused(
        self, log: EventLog, client: redis.Redis, decided: str
    ) -> None:
        log_id = moment(log).log_id
        _, middle, last = (publish(log).position for _ in range(3))
        client.xdel(STREAM, str(middle))
        position = middle if decided == "absent" else Position(last.milliseconds, last.counter + 1)
        before = everything(client)
        with pytest.raises(WrongLog) as wrong:
            publish(log, decided_at=Moment(log_id, position))
        assert wrong.value.verdict is Verdict.REWOUND
        assert everything(client) == before

    def test_missing_last_own_entry_is_noticed_by_the_publisher(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        first, second = publish(log), publish(log)
        client.xdel(STREAM, str(second.position))
        with pytest.raises(WrongLog) as wrong:
            publish(log, decided_at=Moment(first.log_id, first.position))
        assert wrong.value.verdict is Verdict.REWOUND

    # Commands

    def test_command_done_before_gets_its_first_answer(self, log: EventLog, client: redis.Redis) -> None:
        command = Command("key", "body", named=True)
        first = publish(log, command=command, result="id 7", touches=["x"])
        publish(log, touches=["x"])
        again = publish(log, a_parcel_sent(9), command=command, result="id 8", guards=["x"])
        assert again == first._replace(replayed=True)
        assert not first.replayed
        assert sequences(client) == [1, 2]

    def test_command_key_with_other_content_is_refused(self, log: EventLog, client: redis.Redis) -> None:
        publish(log, command=Command("key", "body"))
        with pytest.raises(CommandReused, match="'key'"):
            publish(log, command=Command("key", "other"))
        with pytest.raises(CommandReused):
            log.find_command(Command("key", "other"), log_id=moment(log).log_id)
        assert sequences(client) == [1]

    def test_command_is_found_by_its_key(self, log: EventLog) -> None:
        log_id = moment(log).log_id
        assert log.find_command(Command("key", "body"), log_id=log_id) is None
        published = publish(log, command=Command("key", "body"), result="id 7")
        found = log.find_command(Command("key", "body"), log_id=log_id)
        assert found is not None
        assert (found.position, found.sequence, found.result) == (published.position, 1, "id 7")

    def test_refused_command_is_not_remembered(self, log: EventLog) -> None:
        decided_at = moment(log)
        publish(log, touches=["x"])
        with pytest.raises(Conflict):
            publish(log, decided_at=decided_at, guards=["x"], command=Command("key", "body"))
        assert log.find_command(Command("key", "body"), log_id=decided_at.log_id) is None

    @pytest.mark.parametrize(
        ("named", "lifetime_ms"), [(True, NAMED_COMMAND_LIFETIME_MS), (False, UNNAMED_COMMAND_LIFETIME_MS)]
    )
    def test_command_is_remembered_for_its_time(
        self, log: EventLog, client: redis.Redis, named: bool, lifetime_ms: int
    ) -> None:
        assert (NAMED_COMMAND_LIFETIME_MS, UNNAMED_COMMAND_LIFETIME_MS) == (86_400_000, 120_000)
        publish(log, command=Command("key", "body", named))
        (record,) = client.keys("{event-stream}:command:*")
        assert lifetime_ms - 10_000 < client.pttl(record) <= lifetime_ms

    def test_command_sent_by_eight_threads_happens_once(self, log: EventLog, client: redis.Redis) -> None:
        decided_at = moment(log)
        together = threading.Barrier(8)

        def send(number: int) -> Published:
            together.wait(NEVER_S)
            return publish(
                log,
                decided_at=decided_at,
                command=Command("key", "body", named=True),
                result=str(number),
                guards=["x"],
                touches=["x"],
            )

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(send, range(8)))
        assert len({answer._replace(replayed=False) for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
        assert sequences(client) == [1]

    def test_command_of_a_log_that_was_given_up_is_not_done(self, log: EventLog, client: redis.Redis) -> None:
        command = Command("key", "body", named=True)
        publish(log, command=command, touches=["x"])
        client.delete(STREAM)
        log.create(adopt=True)
        assert log.find_command(command, log_id=moment(log).log_id) is None
        assert not publish(log, command=command, guards=["x"]).replayed
        assert sequences(client) == [1]

    # Ids

    def test_ids_given_to_many_threads_are_all_different_and_in_the_order_of_the_log(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(lambda _: give_id(log, above=41), range(200)))
        assert sorted(ids) == list(range(42, 242))
        assert sent_ids(client) == list(range(42, 242))
        assert give_id(log, above=0) == 242
        assert give_id(log, above=10**15) == 10**15 + 1
        assert give_id(log, "customers") == 1

    def test_new_ids_stand_wherever_the_decision_has_them(self, log: EventLog, client: redis.Redis) -> None:
        new_ids = NewIds.between("parcels", 6, 100, 2)
        first, second = new_ids.provisional(0), new_ids.provisional(1)
        published = publish(
            log,
            a_parcel_sent(first, customer_id=first - 1, weight_g=8),
            a_parcel_sent(second),
            touches=[f"parcel-{first}", f"parcel-{second}", "parcel-9"],
            command=Command("key", "body"),
            result=f"{first}-{second}",
            new_ids=new_ids,
        )
        assert published.result == "7-8"
        assert sent_ids(client) == [7, 8]
        assert f'"customer_id":{first - 1}'.encode() in log.read()[0].fields[3], "no id of ours"
        touched = [client.hget(SUBJECTS, f"parcel-{number}") for number in (7, 8, 9)]
        assert touched == [str(published.position).encode()] * 3
        guarded = NewIds.between("others", 7, 100)
        before, guards = Moment(published.log_id, START), [f"parcel-{guarded.provisional()}"]
        with pytest.raises(Conflict):
            publish(log, decided_at=before, guards=guards, new_ids=guarded)

    def test_a_repeated_command_is_answered_the_ids_of_its_first_time(self, log: EventLog) -> None:
        command = Command("key", "body")
        assert [give_id(log, command=command) for _ in range(2)] == [1, 1]
        assert give_id(log) == 2

    def test_no_id_is_given_that_was_in_use(self, log: EventLog, client: redis.Redis) -> None:
        """Where it was decided, 7 was in use, and nothing above it was looked at."""
        assert [give_id(log, above=4, below=7) for _ in range(2)] == [5, 6]
        before = everything(client)
        for above, below, up_to in ((4, 7, 7), (4, 5, 6), (LARGEST_ID - 1, LARGEST_ID, LARGEST_ID)):
            with pytest.raises(IdsTaken) as taken:
                give_id(log, above=above, below=below)
            assert taken.value.up_to == up_to
        assert everything(client) == before
        assert give_id(log, above=7) == 8

    def test_more_ids_than_can_be_told_apart_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at once"):
            NewIds.between("parcels", 0, LARGEST_ID, 10**6 + 1)

    @pytest.mark.parametrize("junk", ["junk", "-5", "9" * 30, ""])
    def test_counter_that_is_no_count_begins_above_what_is_known(
        self, log: EventLog, client: redis.Redis, junk: str
    ) -> None:
        client.hset(META, "next:parcels", junk)
        assert [give_id(log, above=41) for _ in range(2)] == [42, 43]

    # Can it be written?

    def test_whole_log_can_be_written_and_asking_writes_nothing(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish(log, touches=["x"])
        add_foreign(client)
        before = everything(client)
        log.check_writable()
        assert everything(client) == before

    def test_subjects_of_another_type_are_found_before_anything_is_written(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        client.delete(SUBJECTS)
        client.set(SUBJECTS, "text")
        with pytest.raises(LogUnavailable, match="WRONGTYPE"):
            log.check_writable()

    def test_floor_above_the_end_is_found(self, log: EventLog, client: redis.Redis) -> None:
        publish(log)
        client.hset(META, "floor", "99999999999999-0")
        with pytest.raises(WrongLog, match=r"floor of .* ends before that") as refused:
            log.check_writable()
        mended(client, refused.value)
        log.check_writable()
        publish(log)

    @pytest.mark.parametrize("entries", [0, 1])
    def test_what_was_trimmed_beyond_the_end_is_found_and_refused(
        self, log: EventLog, client: redis.Redis, entries: int
    ) -> None:
        for _ in range(entries):
            publish(log)
        client.hset(META, "trimmed_to", "99999999999999-0")
        with pytest.raises(WrongLog, match=r"trimmed_to of .* ends before that"):
            publish(log, guards=["parcel-1"])
        assert client.xlen(STREAM) == entries
        with pytest.raises(WrongLog) as refused:
            log.check_writable()
        mended(client, refused.value)
        log.check_writable()
        publish(log, guards=["parcel-1"])

    def test_deleted_subjects_void_what_was_decided_before(self, log: EventLog, client: redis.Redis) -> None:
        before = moment(log)
        last = publish(log, touches=["parcel-1"])
        client.delete(SUBJECTS)
        with pytest.raises(Conflict) as conflict:
            publish(log, decided_at=before, guards=["parcel-1"])
        assert conflict.value.position == last.position
        assert publish(log, guards=["parcel-1"]).sequence == 2
        assert (
            publish(log, decided_at=Moment(before.log_id, last.position), guards=["parcel-1"]).sequence == 3
        )

    # Making the log

    def test_log_is_made_once(self, log: EventLog, client: redis.Redis) -> None:
        log_id = log.create()
        publish(log)
        assert log.create() == log_id
        assert len(log_id) == 32
        assert client.xinfo_stream(STREAM)["groups"] == 0

    def test_log_is_made_once_by_many_at_the_same_time(self, log: EventLog, client: redis.Redis) -> None:
        client.flushall()
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(lambda _: log.create(), range(8)))) == 1

    def test_stream_with_entries_and_no_log_is_taken_over_only_on_demand(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        client.flushall()
        add_foreign(client)
        add_foreign(client)
        with pytest.raises(WrongLog, match=r"2 entries and no log id.*--adopt"):
            log.create()
        assert log.state().log_id is None
        assert log.create(adopt=True) == moment(log).log_id
        assert publish(log).sequence == 3

    def test_damaged_log_is_made_a_new_one_only_on_demand(self, log: EventLog, client: redis.Redis) -> None:
        log_id = log.create()
        publish(log, a_parcel_sent(1), a_parcel_sent(2), a_parcel_sent(3))
        client.xdel(STREAM, str(positions(log)[1]))
        with pytest.raises(WrongLog, match=r"entries .* missing") as wrong:
            log.create()
        assert wrong.value.verdict is Verdict.REWOUND
        assert moment(log).log_id == log_id
        assert log.create(adopt=True) == moment(log).log_id != log_id
        assert publish(log).sequence == 3

    def test_ids_go_on_in_a_log_made_of_another(self, log: EventLog) -> None:
        assert give_id(log, above=6) == 7
        log.create(adopt=True)
        assert give_id(log) == 8

    @pytest.mark.parametrize("field", ["sequence", "last_position", "trimmed", "trimmed_to"])
    @pytest.mark.parametrize("junk", ["junk", "\xff", "-"])
    def test_damaged_meta_is_named_and_mended_by_adopting(
        self, log: EventLog, client: redis.Redis, field: str, junk: str
    ) -> None:
        publish(log)
        client.hset(META, field, junk.encode("latin-1"))
        with pytest.raises(WrongLog, match="eventlog init --adopt") as wrong:
            log.state()
        assert wrong.value.verdict is Verdict.REWOUND
        log.create(adopt=True)
        assert publish(log).sequence == 2

    @pytest.mark.parametrize("key", [STREAM, META])
    def test_keys_of_another_type_are_named(self, log: EventLog, client: redis.Redis, key: str) -> None:
        client.delete(key)
        client.set(key, "text")
        for look in (log.state, log.create, lambda: log.snapshot(START, 10)):
            with pytest.raises(WrongLog, match="Set EVENT_STREAM to another name"):
                look()

    def test_log_with_foreign_entries_is_whole(self, log: EventLog, client: redis.Redis) -> None:
        add_foreign(client)
        publish(log)
        add_foreign(client)
        assert log.create() == moment(log).log_id

    def test_key_that_is_no_stream_is_left_alone(self, log: EventLog, client: redis.Redis) -> None:
        client.flushall()
        client.set(STREAM, "text")
        with pytest.raises(WrongLog, match="is a string, not a stream"):
            log.create(adopt=True)
        assert client.get(STREAM) == b"text"

    # Waiting

    def test_wait_wakes_for_an_entry_and_gives_up_after_its_time(self, log: EventLog) -> None:
        assert log.wait(START, 20) is False
        assert log.wait(START, 0) is False
        woken: list[bool] = []
        thread = threading.Thread(target=lambda: woken.append(log.wait(START, 3000)))
        thread.start()
        publish(log)
        thread.join(NEVER_S)
        assert woken == [True]
        assert log.wait(START, 3000) is True

    def test_snapshot_is_one_look_from_a_checkpoint_on(self, log: EventLog) -> None:
        publish(log, *(a_parcel_sent(number) for number in range(4)))
        entries = log.read()
        snapshot = log.snapshot(entries[0].position, 2)
        assert snapshot.at_checkpoint == entries[0]
        assert snapshot.entries == entries[1:3]
        assert not snapshot.reached_end
        assert log.snapshot(entries[0].position, 3).reached_end
        assert snapshot.state.sequence == 4
        assert snapshot.state.end == snapshot.state.last_position == entries[3].position


class RealServerContract(LogContract):
    """What needs settings, memory or a child process of its own to show."""

    def test_a_short_look_finds_whose_log_this_still_is(self, log: EventLog, client: redis.Redis) -> None:
        publish(log, *(a_parcel_sent(number) for number in range(1, 4)))
        add_foreign(client)
        log_id = moment(log).log_id or ""
        same = [
            Checkpoint("post", 1, log_id, entry.position, sequence, entry.digest())
            for sequence, entry in enumerate(log.read(), 1)
        ]
        first = same[0]
        others = [
            first._replace(digest="0" * 64),
            first._replace(log_id="0" * 32),
            first._replace(position=Position(1, 0)),
            first._replace(position=START),
        ]
        asked = [log.ask_same(checkpoint) for checkpoint in (*same, *others)]  # before any is answered
        answers = [is_same() for is_same in reversed(asked)]  # in any order
        assert answers == [False] * len(others) + [True] * len(same)
        client.xdel(STREAM, str(first.position))
        assert [log.ask_same(checkpoint)() for checkpoint in same] == [False, True, True, True]
        client.delete(META)
        assert not any(log.ask_same(checkpoint)() for checkpoint in same)

    def test_ids_used_up_are_found_with_what_to_do(self, log: EventLog, client: redis.Redis) -> None:
        last = publish(log).position
        highest = "18446744073709551615-18446744073709551615"
        add_foreign(client, highest)
        with pytest.raises(LogUnavailable, match=r"XDEL.*XSETID"):
            log.check_writable()
        client.xdel(STREAM, highest)
        client.execute_command("XSETID", STREAM, str(last))  # type: ignore[no-untyped-call]  # redis-py's
        log.check_writable()
        assert publish(log).sequence == 2

    def test_server_out_of_memory_refuses_and_nothing_is_written(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish(log)
        decided_at = moment(log)
        client.config_set("maxmemory", 1)
        with pytest.raises(LogUnavailable, match="maxmemory"):
            publish(log, decided_at=decided_at, touches=["x"])
        assert len(log.read()) == 1
        assert client.xlen(STREAM) == 1
        client.config_set("maxmemory", 0)
        assert publish(log).sequence == 2

    @pytest.mark.parametrize(
        ("setting", "weak", "durable"),
        [("appendfsync", "everysec", "always"), ("maxmemory-policy", "allkeys-lru", "noeviction")],
    )
    def test_server_that_could_lose_events_is_not_written(
        self, log: EventLog, client: redis.Redis, setting: str, weak: str, durable: str
    ) -> None:
        client.config_set(setting, weak)
        try:
            with pytest.raises(WeakDurability, match=f"{setting} is '{weak}'") as refusal:
                publish(log)
            assert refusal.value.settings == {setting: weak}
            assert client.xlen(STREAM) == 0
        finally:
            client.config_set(setting, durable)
        assert log.check_durability() is Durability.PROVEN
        assert publish(log).sequence == 1

    def test_redis_that_becomes_weaker_while_it_is_written_to_is_noticed(
        self, log: EventLog, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(log, a_parcel_sent(1))
        monkeypatch.setattr("eventlog.log.DURABILITY_HOLDS_S", 0.0)
        client.config_set("appendfsync", "everysec")
        try:
            for ask in (lambda: publish(log, a_parcel_sent(2)), log.check_writable):
                with pytest.raises(WeakDurability, match="appendfsync"):
                    ask()
        finally:
            client.config_set("appendfsync", "always")
        assert publish(log, a_parcel_sent(2)).sequence == 2

    def test_weak_server_is_accepted_where_that_is_said(
        self, log: EventLog, pool: redis.ConnectionPool, client: redis.Redis
    ) -> None:
        client.config_set("appendfsync", "no")
        careless = EventLog(pool, make_codec(), accept_weak_durability=True)
        assert careless.check_durability() is Durability.UNPROVEN
        assert publish(careless).sequence == 1

    def test_server_that_hides_its_settings_is_written_as_unproven(
        self, log: EventLog, url_of_user_without_config: str
    ) -> None:
        managed = EventLog.connect(url_of_user_without_config, make_codec())
        assert managed.check_durability() is Durability.UNPROVEN
        assert publish(managed).sequence == 1
        managed.close()

    @pytest.fixture
    def url_of_user_without_config(self, client: redis.Redis, pool: redis.ConnectionPool) -> Iterator[str]:
        client.acl_setuser(
            "tenant",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            categories=["+@all"],
            commands=["-config"],
        )
        where = pool.connection_kwargs
        yield f"redis://tenant:secret@{where['host']}:{where['port']}"
        client.acl_deluser("tenant")
