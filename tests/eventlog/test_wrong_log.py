"""A real stream is damaged under a projection: the right verdict or parking, and the printed mend works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog import START, EventLog, ProjectionFile, ProjectionReader, RecordedEvent, Subscription
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Verdict, number_entries
from eventlog.errors import WrongLog
from eventlog.parking import Parked
from tests.eventlog.log_contract import STREAM, moment, positions, publish
from tests.eventlog.parcels import AddressChanged, a_parcel_sent, make_post

pytestmark = pytest.mark.processes

Damage = Callable[[redis.Redis], Any]


class Followed:
    """A projection that follows the log, and how it answers."""

    def __init__(self, log: EventLog, directory: Path) -> None:
        self.log = log
        self.directory = directory
        self.file = ProjectionFile(directory, make_post())
        self._reader = ProjectionReader(directory, make_post())

    def follow(self, batch_size: int = 1000) -> Verdict:
        try:
            Subscription(self.log, self.file, batch_size=batch_size).run_to_head()
        except WrongLog as wrong:
            return wrong.verdict
        return Verdict.SAME

    def parcels(self) -> list[int]:
        with self._reader.look() as look:
            return [int(key or 0) for (key,) in look.query("SELECT id FROM parcels ORDER BY id")]

    def parked(self) -> list[Parked]:
        with self._reader.look() as look:
            return look.list_parked()

    @property
    def sequence(self) -> int:
        return self.file.checkpoint().sequence

    def delete_and_start_again(self) -> None:
        self.file.close()
        shutil.rmtree(self.directory)
        self.file = ProjectionFile(self.directory, make_post())


@pytest.fixture
def followed(log: EventLog, tmp_path: Path) -> Iterator[Followed]:
    """Three parcels were sent and applied."""
    publish(log, a_parcel_sent(1), a_parcel_sent(2), a_parcel_sent(3))
    followed = Followed(log, tmp_path / "followed")
    assert followed.follow() is Verdict.SAME
    yield followed
    followed.file.close()


def xdel(place: int) -> Damage:
    def delete(client: redis.Redis) -> None:
        entries: Any = client.xrange(STREAM)
        client.xdel(STREAM, entries[place][0])

    return delete


def restore_another_log(client: redis.Redis) -> None:
    """Of the same age and length, with the same entries, but made elsewhere."""
    dumped = client.dump(STREAM)
    assert dumped is not None
    client.hset("{event-stream}:meta", "log_id", "f" * 32)
    client.restore(STREAM, 0, dumped, replace=True)


def flush_and_overtake(client: redis.Redis) -> None:
    """After a flush others go on writing: their ids are soon above the checkpoint's."""
    client.flushall()
    for _ in range(5):
        client.xadd(STREAM, own_form(1))  # type: ignore[arg-type]  # invariant dict


def own_form(sequence: object, *, parcel: int = 50, metadata: str | None = None) -> dict[str, str]:
    """The four fields, by another hand."""
    genuine = {"event_id": "forged", "occurred_at": "2026-01-01T00:00:00Z", "correlation_id": "forged"}
    return {
        "EventTypeName": "ParcelSent",
        "Payload": json.dumps({"id": parcel, "customer_id": 7, "weight_g": 1}),
        "Sequence": str(sequence),
        "Metadata": json.dumps(genuine) if metadata is None else metadata,
    }


def add(client: redis.Redis, fields: dict[str, str]) -> None:
    client.xadd(STREAM, fields)  # type: ignore[arg-type]  # invariant dict


def delete_and_start_over(client: redis.Redis) -> None:
    client.delete(STREAM)
    add(client, own_form(1))


def delete_and_forge_the_last(client: redis.Redis) -> None:
    """The same position and number as the last applied, with other content."""
    (entry,) = client.xrevrange(STREAM, count=1)  # type: ignore[misc]  # typed for the asynchronous client too
    client.delete(STREAM)
    client.xadd(STREAM, own_form(3), id=entry[0])  # type: ignore[arg-type]  # invariant dict


def reload(client: redis.Redis) -> None:
    client.execute_command("DEBUG", "RELOAD")  # type: ignore[no-untyped-call]  # redis-py left it so


APPLIED_DAMAGES: list[tuple[str, Damage, Verdict]] = [
    ("FLUSHALL", lambda client: client.flushall(), Verdict.REPLACED),
    ("FLUSHALL and overtaken", flush_and_overtake, Verdict.REPLACED),
    ("DEL", lambda client: client.delete(STREAM), Verdict.REPLACED),
    ("RENAME", lambda client: client.rename(STREAM, "elsewhere"), Verdict.REPLACED),
    ("another log", restore_another_log, Verdict.REPLACED),
    ("DEL of meta", lambda client: client.delete("{event-stream}:meta"), Verdict.REPLACED),
    ("DEL, foreign XADD", delete_and_start_over, Verdict.REWOUND),
    ("DEL, XADD in its place", delete_and_forge_the_last, Verdict.REWOUND),
    ("XDEL at the checkpoint", xdel(-1), Verdict.REWOUND),
    ("XTRIM 0", lambda client: client.xtrim(STREAM, maxlen=0, approximate=False), Verdict.REWOUND),
    ("XDEL before the checkpoint", xdel(0), Verdict.SAME),
    ("XTRIM up to it", lambda client: client.xtrim(STREAM, maxlen=1, approximate=False), Verdict.SAME),
    ("DEBUG RELOAD", reload, Verdict.SAME),
    ("BGREWRITEAOF", lambda client: client.bgrewriteaof(), Verdict.SAME),
]


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [pytest.param(damage, verdict, id=name) for name, damage, verdict in APPLIED_DAMAGES],
)
def test_damage_after_everything_was_applied(
    followed: Followed, client: redis.Redis, damage: Damage, verdict: Verdict
) -> None:
    damage(client)
    assert followed.follow() is verdict
    assert followed.parcels() == [1, 2, 3]
    assert followed.sequence == 3


@pytest.mark.parametrize(
    ("damage", "verdict", "applied"),
    [
        (xdel(-1), Verdict.REWOUND, [1, 2, 3]),
        (xdel(-2), Verdict.REWOUND, [1, 2, 3]),
        (xdel(3), Verdict.REWOUND, [1, 2, 3]),
        (xdel(0), Verdict.SAME, [1, 2, 3, 4, 5, 6]),
        (lambda client: client.xtrim(STREAM, maxlen=2, approximate=False), Verdict.REWOUND, [1, 2, 3]),
        (
            lambda client: client.xtrim(STREAM, maxlen=4, approximate=False),
            Verdict.SAME,
            [1, 2, 3, 4, 5, 6],
        ),
    ],
    ids=["last own", "middle ahead", "next", "long applied", "XTRIM past it", "XTRIM up to it"],
)
def test_damage_while_three_entries_wait(
    followed: Followed, client: redis.Redis, damage: Damage, verdict: Verdict, applied: list[int]
) -> None:
    publish(followed.log, a_parcel_sent(4), a_parcel_sent(5), a_parcel_sent(6))
    damage(client)
    assert followed.follow() is verdict
    assert followed.parcels() == applied


def test_trim_that_was_recorded_is_told_as_such(followed: Followed, client: redis.Redis) -> None:
    publish(followed.log, a_parcel_sent(4), a_parcel_sent(5), a_parcel_sent(6))
    client.hset("{event-stream}:meta", "trimmed_to", str(positions(followed.log)[4]))
    client.xtrim(STREAM, maxlen=1, approximate=False)
    assert followed.follow() is Verdict.TRIMMED


def test_new_projection_of_a_damaged_log_applies_nothing(
    followed: Followed, client: redis.Redis, tmp_path: Path
) -> None:
    xdel(0)(client)
    another = Followed(followed.log, tmp_path / "new")
    assert another.follow() is Verdict.REWOUND
    assert another.parcels() == []
    another.file.close()


@pytest.mark.parametrize("sequence", [4, 1, 3, 99, "four", -1], ids=str)
def test_forged_entry_before_ours_counts_once_and_halts_nobody(
    followed: Followed, client: redis.Redis, sequence: object
) -> None:
    add(client, own_form(sequence))
    assert publish(followed.log, a_parcel_sent(5)).sequence == 5
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == [1, 2, 3, 5, 50]
    assert followed.sequence == 5


@pytest.mark.parametrize("sequence", [5, 7], ids=str)
def test_forged_entry_between_and_after_ours_halts_nobody(
    followed: Followed, client: redis.Redis, sequence: int
) -> None:
    publish(followed.log, a_parcel_sent(4))
    add(client, own_form(sequence, parcel=50))
    publish(followed.log, a_parcel_sent(6))
    add(client, own_form(sequence, parcel=51))
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == [1, 2, 3, 4, 6, 50, 51]
    add(client, own_form(sequence, parcel=52))
    assert followed.follow() is Verdict.SAME
    assert followed.sequence == 8


def test_entries_that_cannot_be_read_are_parked_with_the_reason(
    followed: Followed, client: redis.Redis
) -> None:
    add(client, own_form(4, metadata="not json"))
    add(client, {"EventTypeName": "ParcelSent", "Payload": '{"id":"5"}'})
    add(client, {"Payload": '{"id":6,"customer_id":7,"weight_g":1}', "EventTypeName": "ParcelSent"})
    add(client, {"EventTypeName": "ParcelSent", "Payload": '{"id":6,"customer_id":7,"weight_g":1}'})
    add(client, {"price": "5"})
    add(client, {"EventTypeName": "PriceChanged", "Payload": "{}"})
    publish(followed.log, a_parcel_sent(9))
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == [1, 2, 3, 6, 9]
    assert [(parked.sequence, parked.event_type) for parked in followed.parked()] == [
        (4, "ParcelSent"),
        (5, "ParcelSent"),
        (7, "ParcelSent"),
        (8, ""),
    ]
    reasons = [parked.reason for parked in followed.parked()]
    for reason, part in zip(reasons, ["Metadata", "$.id", "sent before", "EventTypeName"], strict=True):
        assert part in reason
    assert [parked.position for parked in followed.parked()] == [
        position
        for position in positions(followed.log)
        if position in {p.position for p in followed.parked()}
    ]
    assert followed.file.checkpoint().passed_over == {"PriceChanged"}
    assert followed.sequence == 10


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda client: client.flushall(), []),
        (lambda client: client.delete(STREAM), []),
        (lambda client: client.rename(STREAM, "elsewhere"), []),
        (xdel(3), [1, 2, 3, 5]),
        (xdel(-1), [1, 2, 3, 4]),
        (delete_and_start_over, [50]),
        (restore_another_log, [1, 2, 3, 4, 5]),
    ],
    ids=["FLUSHALL", "DEL", "RENAME", "XDEL", "XDEL last", "DEL and XADD", "another log"],
)
def test_printed_mend_works(followed: Followed, client: redis.Redis, damage: Damage, left: list[int]) -> None:
    """`init --adopt`, delete the directory, and the projection is what the stream holds now."""
    publish(followed.log, a_parcel_sent(4), a_parcel_sent(5))
    damage(client)
    with pytest.raises(WrongLog, match=r"`eventlog init --adopt`, then delete the directory"):
        Subscription(followed.log, followed.file).run_once()
    followed.log.create(adopt=True)
    assert followed.follow() is Verdict.REPLACED
    followed.delete_and_start_again()
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == left
    publish(followed.log, a_parcel_sent(90), decided_at=moment(followed.log), guards=["x"], touches=["x"])
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == [*left, 90]
    assert followed.sequence == len(left) + 1


@pytest.mark.parametrize("damage", [xdel(0), xdel(-1)], ids=["first", "last"])
def test_a_projection_begins_only_on_a_whole_log(
    followed: Followed, client: redis.Redis, damage: Damage
) -> None:
    """Else its first batches would serve, as fresh, what lacks a later one."""
    publish(followed.log, a_parcel_sent(4))
    damage(client)
    followed.delete_and_start_again()
    assert followed.follow(batch_size=1) is Verdict.REWOUND
    assert followed.sequence == 0


def test_an_older_log_put_back_and_adopted_is_another_log(followed: Followed, client: redis.Redis) -> None:
    """What was written since then is not in it, and must not be found there by its position."""
    log_id = followed.log.create()
    assert followed.log.create(adopt=True) != log_id


def test_adopted_entries_that_cannot_be_ours_are_read_as_before(
    followed: Followed, client: redis.Redis
) -> None:
    """A forged number made them foreign: adopting takes the numbers for another log's, and must not change more."""
    for metadata in ("{}", '{"schema_version": 99}', "junk"):
        forged = {
            "EventTypeName": "ParcelSent",
            "Payload": f'{{"id": {50 + len(metadata)}, "customer_id": 7, "weight_g": 1}}',
            "Sequence": "77",
            "Metadata": metadata,
        }
        client.xadd(STREAM, forged)  # type: ignore[arg-type]  # redis-py asks for a wider dictionary
    publish(followed.log, a_parcel_sent(4))
    assert followed.follow() is Verdict.SAME
    before = followed.parcels()
    assert len(before) == 3 + 3 + 1
    followed.log.create(adopt=True)
    followed.delete_and_start_again()
    assert followed.follow() is Verdict.SAME
    assert followed.parcels() == before


def test_mended_log_still_reads_what_a_newer_schema_wrote(followed: Followed, client: redis.Redis) -> None:
    """Behind the hole no sequence fits any more; taken for foreign, the entry would be read as version 1."""
    publish(followed.log, AddressChanged(customer_id=7, town="Ayr", street="High Street"))
    xdel(1)(client)
    followed.delete_and_start_again()
    log_id = followed.log.create(adopt=True)
    last = followed.log.read()[-1]
    snapshot = followed.log.snapshot(START, 100)
    numbered = number_entries(Checkpoint("post", 1, log_id), snapshot, followed.log.count_entries)
    assert isinstance(numbered, list)
    read = followed.log.codec.decode(last, numbered[-1].sequence, foreign=numbered[-1].foreign)
    assert isinstance(read, RecordedEvent)
    assert read.event == AddressChanged(customer_id=7, town="Ayr", street="High Street")


def test_mended_log_is_another_one_for_whoever_followed_the_old(
    followed: Followed, client: redis.Redis
) -> None:
    xdel(1)(client)
    followed.log.create(adopt=True)
    assert followed.follow() is Verdict.REPLACED
