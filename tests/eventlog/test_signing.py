"""With keys, what somebody with a key published to this log is applied once; all else is parked, with its reason."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from eventlog import Add, EventLog, Insert, Projection, ProjectionFile, ProjectionReader, Subscription, Table
from eventlog.archive_chain import LINK_BYTES, first_link
from eventlog.archive_reader import ArchiveReader
from eventlog.checkpoints import Checkpoint
from eventlog.codec import EncodedEvent, Entry
from eventlog.continuity import NumberedEntry, Verdict
from eventlog.errors import Conflict, HandlerFailed, IdsTaken, KeysRefused, KeysUnusable, NotBuilt, WrongLog
from eventlog.generations import home_of
from eventlog.key_file import KeyFile, new_key, write_keys
from eventlog.new_ids import NewIds
from eventlog.position import Position
from eventlog.published_ids import PublishedIds
from eventlog.rebuild import build_generation
from eventlog.redis_client import make_pool
from eventlog.reseed import reseed
from eventlog.seen_events import SeenEvents, Verified, read_seen
from eventlog.signed_log import begin_signing, examine_signatures
from eventlog.signing import Beginning, Keys
from eventlog.tail import switch_generation
from eventlog.tail_status import TailState, TailStatusFile
from eventlog.verification import Verification
from tests.eventlog.log_contract import META, STREAM, add_foreign, moment, publish
from tests.eventlog.parcels import ParcelSent, a_parcel_sent, make_codec
from tests.eventlog.running_tail import running, wait_until
from tests.eventlog.test_archive import archive_all, raw_entries, trim
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S

COPY = "it is a copy of an entry before it"
UNSIGNED = "it is not signed"
OTHER_CONTENT = "is not of this content in this log"
OTHER_PLACE = "not where it was published"


def make_counter() -> Projection:
    """It adds up whatever it is given: no rule of its own would refuse an entry that comes twice."""
    counter = Projection(
        "counter", 1, [Table("customers", "id", {"id": int, "parcels": int, "weight_g": int})]
    )

    @counter.handles(ParcelSent)
    def parcel_sent(recorded: Any, rows: Any) -> Any:
        sent = recorded.event
        if rows.find("customers", sent.customer_id) is None:
            return [Insert("customers", {"id": sent.customer_id, "parcels": 1, "weight_g": sent.weight_g})]
        return [
            Add("customers", sent.customer_id, "parcels", 1),
            Add("customers", sent.customer_id, "weight_g", sent.weight_g),
        ]

    return counter


class Signed:
    """A signed log, and one that follows it; `parked` are the reasons, in order."""

    def __init__(self, pool: Any, folder: Path, *, batch_size: int = 1000) -> None:
        self.folder = folder
        self.keys = KeyFile(keys_in(folder))
        self.log = EventLog(pool, make_codec(), keys=self.keys, archive=ArchiveReader(folder / "archive.db"))
        self.client = redis.Redis(connection_pool=pool)
        self.batch_size = batch_size
        self._homes = count()

    def without_keys(self) -> EventLog:
        return EventLog(self.client.connection_pool, make_codec())

    def follow(self, directory: str = "counter", log: EventLog | None = None) -> tuple[int, list[str]]:
        """The parcels that count, and why the others are parked."""
        path = self.folder / directory
        with closing(ProjectionFile(path, make_counter())) as file:
            Subscription(log or self.log, file, batch_size=self.batch_size).run_to_head()
        with ProjectionReader(path, make_counter()).look() as look:
            ((parcels,),) = look.query("SELECT coalesce(sum(parcels), 0) FROM customers")
            assert isinstance(parcels, int)
            return parcels, [entry.reason for entry in look.list_parked()]

    def rebuilt(self) -> tuple[int, list[str]]:
        return self.follow(f"rebuilt-{next(self._homes)}")

    def entries(self) -> list[Entry]:
        return raw_entries(self.client)

    def add(self, fields: list[bytes]) -> None:
        connection: Any = self.client.connection_pool.get_connection()
        try:
            connection.send_command("XADD", STREAM, "*", *fields)
            connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def next_sequence(self) -> bytes:
        return b"%d" % (len(self.entries()) + 1)


def keys_in(folder: Path) -> Path:
    path = folder / "keys.json"
    if not path.exists():
        write_keys(path, Keys([new_key()], {}))
    return path


def rotate(path: Path) -> str:
    """As `eventlog keys new` does."""
    before, key = KeyFile(path).read(), new_key()
    write_keys(path, Keys([key, *before.keys], before.beginnings))
    return key.id


@pytest.fixture(params=["fakeredis", pytest.param("redis", marks=pytest.mark.processes)])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Signed]:
    if request.param == "fakeredis":
        signed = Signed(fake_pool(), tmp_path)
        signed.log.create()
        yield signed
        return
    pool = make_pool(request.getfixturevalue("url"))
    signed = Signed(pool, tmp_path)
    signed.log.create()
    yield signed
    pool.disconnect()


@pytest.fixture
def quick(tmp_path: Path) -> Signed:
    signed = Signed(fake_pool(), tmp_path)
    signed.log.create()
    return signed


# What is published with keys


def test_what_is_published_is_applied_alike_by_all_and_by_a_rebuild(signed: Signed) -> None:
    publish(signed.log, a_parcel_sent(1), a_parcel_sent(2))
    assert signed.follow() == (2, [])
    publish(signed.log, a_parcel_sent(3))
    assert signed.follow() == signed.rebuilt() == (3, [])
    assert signed.follow("no keys", signed.without_keys()) == (3, []), "they may be read without"
    metadata = json.loads(signed.entries()[0].fields[7])
    assert metadata["signature"].split(":")[0] == signed.keys.read().keys[0].id


def test_a_signature_is_what_the_page_says(quick: Signed) -> None:
    """As a reader in another language would compute it: docs/security.md."""
    publish(quick.log, a_parcel_sent(1))
    (entry,) = quick.entries()
    metadata, _, rest = entry.fields[7].partition(b',"signature":')
    key_id, _, code = json.loads(rest[:-1]).partition(":")
    parts = [moment(quick.log).log_id.encode(), entry.fields[1], entry.fields[3], metadata]
    signed = b"eventlog entry 1 " + b" ".join(b"%d" % len(part) for part in parts) + b":" + b"".join(parts)
    (key,) = quick.keys.read().keys
    expected = (
        base64.urlsafe_b64encode(hmac.new(key.secret, signed, hashlib.sha256).digest()).decode().rstrip("=")
    )
    assert (key_id, code) == (key.id, expected)


def test_new_ids_stand_in_what_is_signed(signed: Signed) -> None:
    ids = NewIds.between("parcels", 0, 100, 2)
    events = [a_parcel_sent(ids.provisional(0)), a_parcel_sent(ids.provisional(1))]
    done = publish(
        signed.log,
        *events,
        new_ids=ids,
        touches=[f"parcel-{ids.provisional(1)}"],
        result=str(ids.provisional()),
    )
    assert done.result == "1"
    assert [json.loads(entry.fields[3])["id"] for entry in signed.entries()] == [1, 2]
    assert signed.client.hget("{event-stream}:subjects", "parcel-2") is not None
    assert signed.follow() == (2, [])
    more = NewIds.between("parcels", 0, 100)
    assert (
        publish(
            signed.log, a_parcel_sent(more.provisional()), new_ids=more, result=str(more.provisional())
        ).result
        == "3"
    )


def test_ids_that_are_taken_are_refused_and_nothing_is_written(signed: Signed) -> None:
    ids = NewIds.between("parcels", 4, 6, 2)
    with pytest.raises(IdsTaken):
        publish(signed.log, a_parcel_sent(ids.provisional()), new_ids=ids)
    assert signed.entries() == []
    assert signed.client.hget(META, "next:parcels") is None


def test_ids_of_another_log_are_not_given(quick: Signed) -> None:
    decided_at = moment(quick.log)
    quick.client.hset(META, "log_id", "f" * 32)
    ids = NewIds.between("parcels", 0, 100)
    with pytest.raises(WrongLog):
        publish(quick.log, a_parcel_sent(ids.provisional()), new_ids=ids, decided_at=decided_at)


def test_what_is_refused_leaves_a_number_unused_and_nothing_is_taken_for_a_copy(quick: Signed) -> None:
    decided_at = moment(quick.log)
    publish(quick.log, a_parcel_sent(1), touches=["x"])
    with pytest.raises(Conflict):
        publish(quick.log, a_parcel_sent(2), guards=["x"], decided_at=decided_at)
    publish(quick.log, a_parcel_sent(3))
    assert quick.follow() == quick.rebuilt() == (2, [])


def test_a_forked_publisher_numbers_its_events_for_itself() -> None:
    ids = PublishedIds()
    (before,) = ids.take(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.take(1)[0].encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        in_child = told.read()
    assert len({before, in_child, *ids.take(1)}) == 3
    assert in_child.rpartition("-")[0] != before.rpartition("-")[0]


# Attacks


def a_forgery(signed: Signed) -> list[bytes]:
    genuine = list(signed.entries()[0].fields)
    metadata = json.loads(genuine[7])
    del metadata["signature"]
    return [*genuine[:5], signed.next_sequence(), b"Metadata", json.dumps(metadata).encode()]


def a_copy(signed: Signed) -> list[bytes]:
    return list(signed.entries()[0].fields)


def a_copy_in_sequence(signed: Signed) -> list[bytes]:
    genuine = a_copy(signed)
    return [*genuine[:5], signed.next_sequence(), *genuine[6:]]


def another_payload(signed: Signed) -> list[bytes]:
    genuine = a_copy_in_sequence(signed)
    return [*genuine[:3], genuine[3].replace(b"100", b"900"), *genuine[4:]]


def an_unknown_key(signed: Signed) -> list[bytes]:
    genuine = a_copy_in_sequence(signed)
    key_id = signed.keys.read().keys[0].id.encode()
    return [*genuine[:7], genuine[7].replace(key_id + b":", b"deadbeef:")]


def of_another_log(signed: Signed) -> list[bytes]:
    """Published with the same keys, to another log."""
    elsewhere = EventLog(fake_pool(), make_codec(), keys=signed.keys)
    elsewhere.create()
    publish(elsewhere, a_parcel_sent(77))
    (entry,) = elsewhere.read()
    return [*entry.fields[:5], signed.next_sequence(), *entry.fields[6:]]


def a_newer_version(signed: Signed) -> list[bytes]:
    """Without keys it halts every reader."""
    forged = a_forgery(signed)
    metadata = {**json.loads(forged[7]), "schema_version": 99}
    return [*forged[:7], json.dumps(metadata).encode()]


def foreign(_: Signed) -> list[bytes]:
    return [b"EventTypeName", b"ParcelSent", b"Payload", b'{"id":50,"customer_id":7,"weight_g":1}']


def without_sequence(signed: Signed) -> list[bytes]:
    genuine = a_copy(signed)
    return [*genuine[:4], *genuine[6:]]


def huge(signed: Signed) -> list[bytes]:
    genuine = a_copy_in_sequence(signed)
    return [*genuine[:3], b"x" * 1024 * 1024, *genuine[4:]]


ATTACKS: list[tuple[Callable[[Signed], list[bytes]], str]] = [
    (a_forgery, UNSIGNED),
    (foreign, UNSIGNED),
    (a_newer_version, UNSIGNED),
    (without_sequence, "it is not signed as an entry is: its fields"),
    (a_copy, COPY),
    (a_copy_in_sequence, COPY),
    (another_payload, OTHER_CONTENT),
    (of_another_log, OTHER_CONTENT),
    (an_unknown_key, "which is not in the file of keys"),
    (huge, "larger than anything that is published"),
]


@pytest.mark.parametrize(("attack", "reason"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
@pytest.mark.parametrize("read_before", [True, False])
def test_an_entry_that_is_not_proven_is_parked_and_all_else_goes_on(
    signed: Signed, attack: Callable[[Signed], list[bytes]], reason: str, read_before: bool
) -> None:
    publish(signed.log, a_parcel_sent(1), a_parcel_sent(2))
    if read_before:
        assert signed.follow() == (2, [])
    signed.add(attack(signed))
    publish(signed.log, a_parcel_sent(3))
    parcels, parked = signed.follow()
    assert (parcels, len(parked)) == (3, 1)
    assert reason in parked[0]
    assert signed.rebuilt() == (parcels, parked)


@pytest.mark.parametrize(
    ("attack", "shown"),
    [
        (a_forgery, "ParcelSent"),
        (without_sequence, "ParcelSent"),
        (lambda signed: [*foreign(signed), b"More", b"of it"], "ParcelSent"),
        (lambda signed: [*foreign(signed), *foreign(signed)], ""),
        (lambda _: [b"Payload", b"EventTypeName"], ""),
        (lambda _: [b"EventTypeName", b"\x1b[2J", b"Payload", b"{}"], ""),
    ],
    ids=["forgery", "without Sequence", "more fields", "two types", "no type", "no name"],
)
def test_a_parked_entry_is_shown_with_the_type_that_it_says(
    quick: Signed, attack: Callable[[Signed], list[bytes]], shown: str
) -> None:
    publish(quick.log, a_parcel_sent(1))
    quick.add(attack(quick))
    quick.follow()
    with ProjectionReader(quick.folder / "counter", make_counter()).look() as look:
        assert [entry.event_type for entry in look.list_parked()] == [shown]


def test_each_copy_is_parked_wherever_batches_end(quick: Signed) -> None:
    quick.batch_size = 3
    for number in range(5):
        publish(quick.log, a_parcel_sent(number))
        quick.add(a_copy_in_sequence(quick))
        if number == 2:
            assert quick.follow() == (3, [quick.follow()[1][0]] * 3)
    parcels, parked = quick.follow()
    assert (parcels, len(parked)) == (5, 5)
    assert all(COPY in reason for reason in parked)
    assert quick.rebuilt() == (parcels, parked)


def test_an_entry_added_again_in_another_place_is_parked(quick: Signed) -> None:
    """Deleted before anybody read it, and added behind the next with its old number."""
    publish(quick.log, a_parcel_sent(1))
    publish(quick.log, a_parcel_sent(2))
    first = quick.entries()[0]
    quick.client.xdel(STREAM, first.id)
    quick.add(first.fields)
    with pytest.raises(WrongLog):
        quick.follow()


def test_what_was_parked_for_its_number_is_still_applied_once(quick: Signed) -> None:
    """Who can delete may publish for us late, never twice."""
    publish(quick.log, a_parcel_sent(1))
    publish(quick.log, a_parcel_sent(2))
    second = quick.entries()[1]
    quick.client.xdel(STREAM, second.id)
    quick.client.hset(META, mapping={"sequence": "1", "last_position": quick.entries()[0].id})
    quick.add([*second.fields[:5], b"9", *second.fields[6:]])
    quick.add([*second.fields[:5], b"3", *second.fields[6:]])
    quick.add([*second.fields[:5], b"4", *second.fields[6:]])
    parcels, parked = quick.follow()
    assert parcels == 2
    assert OTHER_PLACE in parked[0]
    assert COPY in parked[1]


PIECES = ["type", "payload", "metadata"]


@given(
    st.sampled_from(PIECES),
    st.integers(0, 10_000),
    st.one_of(st.integers(1, 255), st.sampled_from(["insert", "delete", "move"])),
    st.binary(min_size=1, max_size=3),
)
def test_any_change_of_a_signed_entry_is_never_applied_as_something_else(
    piece: str, place: int, change: int | str, inserted: bytes
) -> None:
    with TemporaryDirectory() as folder:
        signed = Signed(fake_pool(), Path(folder))
        log_id = signed.log.create()
        publish(signed.log, a_parcel_sent(1), actor="ada", command_name="send")
        (entry,) = signed.entries()
        fields = list(entry.fields)
        number = {"type": 1, "payload": 3, "metadata": 7}[piece]
        value = fields[number]
        at = place % len(value)
        if isinstance(change, int):
            fields[number] = value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]
        elif change == "insert":
            fields[number] = value[:at] + inserted + value[at:]
        elif change == "delete":
            fields[number] = value[:at] + value[at + 1 :]
        else:  # its last bytes begin the next field
            following = {1: 3, 3: 7, 7: 1}[number]
            fields[number], fields[following] = value[:at], value[at:] + fields[following]
        signed.client.xdel(STREAM, entry.id)
        signed.client.execute_command("XADD", STREAM, "9999999999999-0", *fields)  # type: ignore[no-untyped-call]  # redis-py left it so
        signed.client.hset(META, "last_position", "9999999999999-0")
        assert signed.log.why_unproven(signed.entries()[0], log_id)
        parcels, parked = signed.follow()
        assert (parcels, len(parked)) == (0, 1)


# Keys


def test_keys_rotate_while_publishers_and_tail_run(signed: Signed) -> None:
    publish(signed.log, a_parcel_sent(1))
    other = EventLog(signed.client.connection_pool, make_codec(), keys=KeyFile(signed.keys.path))
    with running(signed.log, signed.folder / "counter", make_counter()):
        for number in range(2, 8):
            rotate(signed.keys.path)
            publish(other if number % 2 else signed.log, a_parcel_sent(number))
        reader = ProjectionReader(signed.folder / "counter", make_counter())
        assert reader.wait_until_applied(signed.log.state().end, 10)
    assert signed.follow() == signed.rebuilt() == (7, [])
    found = examine_signatures(signed.log, signed.keys)
    assert sorted(found.by_key.values()) == [1] * 7


def test_what_a_removed_key_signed_is_parked_by_a_rebuild_and_goes_on_being_served(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1))
    assert quick.follow() == (1, [])
    rotate(quick.keys.path)
    publish(quick.log, a_parcel_sent(2))
    keys = quick.keys.read()
    write_keys(quick.keys.path, Keys(keys.keys[:1], keys.beginnings))
    assert quick.follow() == (2, [])
    parcels, parked = quick.rebuilt()
    assert parcels == 1
    assert "which is not in the file of keys" in parked[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        ("", "is no file of keys"),
        ('{"keys": []}', "has no key"),
        ('{"keys": [{"id": "a", "secret": "c2hvcnQ="}]}', "has a key a of 5 bytes: at least 32"),
        ('{"keys": [{"id": "a", "secret": "' + "A" * 44 + '"}]}', "has a key a of one byte repeated"),
        ('{"keys": [{"id": "a:b", "secret": "%s"}]}', "has a key named 'a:b'"),
        ('{"keys": [{"id": "a", "secret": "%s"}, {"id": "a", "secret": "%s"}]}', "two keys of one id"),
        ('{"keys": [{"id": "a", "secret": "%s"}], "unsgined": {}}', "unsgined"),
        (
            (
                '{"keys": [{"id": "a", "secret": "%s"}], '
                '"unsigned": {"x": {"sequence": 1, "position": "1-0", "link": "00"}}}'
            ),
            "where a log begins",
        ),
    ],
)
def test_a_wrong_file_of_keys_is_refused_in_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content.replace("%s", "AB" * 22), "utf-8")
    with pytest.raises(KeysUnusable, match=r"EVENT_KEYS_FILE.*eventlog keys new") as refused:
        KeyFile(path)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o601])
def test_a_file_of_keys_that_others_can_read_or_write_is_refused(quick: Signed, mode: int) -> None:
    publish(quick.log, a_parcel_sent(1))
    quick.keys.path.chmod(mode)
    for read in (
        lambda: KeyFile(quick.keys.path),
        quick.follow,
        lambda: publish(quick.log, a_parcel_sent(2)),
    ):
        with pytest.raises(KeysUnusable, match=r"others can read .*chmod 600.*eventlog keys new"):
            read()
    for again in (0o600, 0o640, 0o440):
        quick.keys.path.chmod(again)
        publish(quick.log, a_parcel_sent(2))
    assert quick.follow() == (4, [])


def test_a_tail_whose_keys_are_gone_halts_and_goes_on_when_they_are_back(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1))
    aside = quick.keys.path.with_suffix(".aside")
    with running(quick.log, quick.folder / "counter", make_counter()):
        reader = ProjectionReader(quick.folder / "counter", make_counter())
        assert reader.wait_until_applied(quick.log.state().end, 10)
        quick.keys.path.rename(aside)
        status = TailStatusFile(reader.home)
        wait_until(lambda: status.read().state is TailState.HALTED)
        assert "EVENT_KEYS_FILE" in status.read().message
        with pytest.raises(KeysUnusable):
            publish(quick.log, a_parcel_sent(2))
        aside.rename(quick.keys.path)
        publish(quick.log, a_parcel_sent(2))
        assert reader.wait_until_applied(quick.log.state().end, 10)
    assert quick.follow() == (2, [])


def test_what_keys_proved_is_not_gone_on_with_where_no_keys_are_named(signed: Signed) -> None:
    publish(signed.log, a_parcel_sent(1))
    assert signed.follow() == (1, [])
    signed.add(foreign(signed))
    with running(signed.without_keys(), signed.folder / "counter", make_counter()):
        status = TailStatusFile(home_of(signed.folder / "counter", make_counter()))
        wait_until(lambda: status.read().state is TailState.HALTED)
        assert "EVENT_KEYS_FILE is not set" in status.read().message
    with pytest.raises(KeysUnusable, match=r"counter/v1/.* follows is signed: set it"):
        signed.follow(log=signed.without_keys())
    parcels, parked = signed.follow()
    assert (parcels, len(parked)) == (1, 1)


def test_a_new_file_of_keys_is_for_its_owner_alone_and_keeps_the_mode_it_was_given(tmp_path: Path) -> None:
    path = keys_in(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    rotate(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


# The moment of beginning


def unsigned_then_begun(signed: Signed) -> None:
    """Three entries without a signature, one of them foreign, that are trusted from now on."""
    publish(signed.without_keys(), a_parcel_sent(1), a_parcel_sent(2))
    add_foreign(signed.client)
    begin_signing(signed.log, signed.keys)


def test_what_was_there_before_signing_began_is_read_as_it_was(signed: Signed) -> None:
    publish(signed.without_keys(), a_parcel_sent(1))
    assert signed.follow(log=signed.without_keys()) == (1, [])
    unsigned_then_begun(signed)
    before = signed.follow("no keys", signed.without_keys())
    assert signed.follow() == signed.rebuilt() == before
    publish(signed.log, a_parcel_sent(9))
    publish(signed.without_keys(), a_parcel_sent(10))
    parcels, parked = signed.follow()
    assert (parcels, len(parked)) == (before[0] + 1, len(before[1]) + 1)
    assert signed.rebuilt() == (parcels, parked)
    found = examine_signatures(signed.log, signed.keys)
    assert (found.entries, found.unsigned, found.unproven, found.changed) == (6, 4, 1, "")


def test_a_log_that_was_never_begun_halts_who_has_applied_unsigned_entries(quick: Signed) -> None:
    publish(quick.without_keys(), a_parcel_sent(1))
    quick.follow(log=quick.without_keys())
    with pytest.raises(NotBuilt, match="eventlog keys begin"):
        quick.follow()
    begin_signing(quick.log, quick.keys)
    assert quick.follow() == (1, [])


def test_signing_begins_once(quick: Signed) -> None:
    unsigned_then_begun(quick)
    publish(quick.without_keys(), a_parcel_sent(8))
    with pytest.raises(KeysRefused, match="is signed from the entry behind number 3"):
        begin_signing(quick.log, quick.keys)


def test_a_log_without_entries_need_not_begin(quick: Signed) -> None:
    with pytest.raises(KeysRefused, match="from its first one on"):
        begin_signing(quick.log, quick.keys)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_an_entry_from_before_that_was_changed_halts_who_reads_it_anew(
    quick: Signed, batch_size: int
) -> None:
    unsigned_then_begun(quick)
    publish(quick.log, a_parcel_sent(3))
    assert quick.follow()[0] == 3
    written_anew(quick, lambda number, fields: heavier(fields) if number == 2 else fields)
    quick.batch_size = batch_size
    with pytest.raises(WrongLog, match="from before it was signed") as wrong:
        quick.follow("anew")
    assert not list_rows(quick.folder / "anew"), "nothing of it is applied"
    assert wrong.value.verdict is Verdict.REWOUND
    assert "from before it was signed" in examine_signatures(quick.log, quick.keys).changed


def written_anew(signed: Signed, change: Callable[[int, list[bytes]], list[bytes]]) -> None:
    """The stream, deleted and added again under the same ids; `change` is given each entry's number."""
    entries = signed.entries()
    signed.client.pexpire(STREAM, 0)
    for number, entry in enumerate(entries, 1):
        fields = change(number, list(entry.fields))
        signed.client.execute_command("XADD", STREAM, entry.id, *fields)  # type: ignore[no-untyped-call]  # redis-py left it so


def heavier(fields: list[bytes]) -> list[bytes]:
    return [field.replace(b'"weight_g":100', b'"weight_g":900') for field in fields]


def test_who_had_applied_a_part_before_signing_began_halts_where_the_rest_was_changed(signed: Signed) -> None:
    """A tail that was behind, or a backup from before signing that is restored."""
    publish(signed.without_keys(), a_parcel_sent(1), a_parcel_sent(2))
    assert signed.follow(log=signed.without_keys()) == (2, [])
    applied = list_rows(signed.folder / "counter")
    publish(signed.without_keys(), a_parcel_sent(3), a_parcel_sent(4))
    begin_signing(signed.log, signed.keys)
    publish(signed.log, a_parcel_sent(5))
    written_anew(signed, lambda number, fields: heavier(fields) if number == 4 else fields)
    with pytest.raises(WrongLog, match="from before it was signed"):
        signed.follow()
    assert list_rows(signed.folder / "counter") == applied


def test_who_had_applied_a_part_before_signing_began_goes_on_with_the_rest(quick: Signed) -> None:
    publish(quick.without_keys(), a_parcel_sent(1), a_parcel_sent(2))
    quick.follow(log=quick.without_keys())
    publish(quick.without_keys(), a_parcel_sent(3), a_parcel_sent(4))
    begin_signing(quick.log, quick.keys)
    publish(quick.log, a_parcel_sent(5))
    quick.batch_size = 1
    assert quick.follow() == quick.rebuilt() == (5, [])


@pytest.mark.parametrize("cut", [True, False], ids=["and the log ends there", "and the log goes on"])
def test_what_is_changed_while_it_is_read_halts_before_what_follows_is_applied(
    quick: Signed, cut: bool
) -> None:
    publish(quick.without_keys(), *(a_parcel_sent(number) for number in range(1, 5)))
    begin_signing(quick.log, quick.keys)
    publish(quick.log, a_parcel_sent(5))
    with closing(ProjectionFile(quick.folder / "counter", make_counter())) as file:
        subscription = Subscription(quick.log, file, batch_size=1)
        assert subscription.run_once() == 1
        written_anew(quick, lambda number, fields: heavier(fields) if number == 2 else fields)
        if cut:
            for entry in quick.entries()[2:]:
                quick.client.xdel(STREAM, entry.id)
            last = quick.entries()[-1].id
            quick.client.hset(META, mapping={"sequence": "2", "last_position": last})
        with pytest.raises(WrongLog, match="from before it was signed"):
            subscription.run_to_head()
        assert file.checkpoint().sequence == (1 if cut else 3), (
            "as far as it goes before the chain is compared"
        )


def test_an_entry_put_in_before_the_beginning_is_told_and_not_looked_at() -> None:
    log_id = "f" * 32
    keys = Keys([new_key()], {log_id: Beginning(1, Position(9, 0), b"x" * LINK_BYTES)})
    fields = [b"EventTypeName", b"ParcelSent", b"Payload", b"{}"]
    put_in = [NumberedEntry(Entry(b"%d-0" % number, fields), number, True) for number in (1, 2)]
    verification = Verification(keys, log_id, SeenEvents(Verified(0, first_link(log_id))))
    verification.verify(put_in)
    assert verification.changed is not None


def list_rows(directory: Path) -> list[Any]:
    with ProjectionReader(directory, make_counter()).look() as look:
        return list(look.iterate(make_counter().tables[0]))


def test_a_forged_beginning_of_a_log_that_ends_early_is_not_applied_either(quick: Signed) -> None:
    unsigned_then_begun(quick)
    entries = quick.entries()
    quick.client.delete(STREAM)
    quick.add([*entries[0].fields[:3], b'{"id":5,"customer_id":7,"weight_g":1}', *entries[0].fields[4:]])
    last = quick.entries()[0].id
    quick.client.hset(META, mapping={"sequence": "1", "last_position": last, "floor": "0-0"})
    with pytest.raises(WrongLog, match="from before it was signed"):
        quick.follow("anew")
    assert not list_rows(quick.folder / "anew")


def test_who_parked_unsigned_entries_before_the_log_was_begun_goes_on(quick: Signed) -> None:
    publish(quick.without_keys(), a_parcel_sent(1))
    assert quick.follow()[0] == 0
    publish(quick.without_keys(), a_parcel_sent(2))
    begin_signing(quick.log, quick.keys)
    publish(quick.log, a_parcel_sent(3))
    assert quick.follow()[0] == 2
    assert quick.rebuilt() == (3, [])


def test_entries_applied_while_keys_were_missing_are_not_trusted_when_they_are_back(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1))
    quick.follow()
    publish(quick.log, a_parcel_sent(2))
    quick.follow()
    with (
        closing(sqlite3.connect(quick.folder / "counter" / "v1" / "serving" / "projection.db")) as file,
        file,
    ):
        file.execute(
            "UPDATE verified SET sequence = 1"
        )  # as code that knew nothing of keys would have left it
    with pytest.raises(NotBuilt, match="entries number 2 to 2 were applied, and nobody looked"):
        quick.follow()
    with pytest.raises(NotBuilt, match="nobody looked"):
        quick.follow()
    assert quick.rebuilt() == (2, [])


# With archive, reseed, rebuild and the file itself


@pytest.mark.processes
def test_signatures_hold_in_the_archive_and_after_a_reseed(url: str, tmp_path: Path) -> None:
    with ExitStack() as ending:
        pool = make_pool(url)
        ending.callback(pool.disconnect)
        signed = Signed(pool, tmp_path)
        log_id = signed.log.create()
        publish(signed.log, a_parcel_sent(1), a_parcel_sent(2))
        signed.add(a_copy_in_sequence(signed))
        publish(signed.log, a_parcel_sent(3))
        expected = signed.follow()
        assert expected[0] == 3
        path = tmp_path / "archive.db"
        archive_all(signed.log, path)
        trim(signed.client, 2)
        assert signed.rebuilt() == expected, "what was trimmed is proven too"
        signed.client.flushall()
        assert reseed(signed.log, [path], tmp_path).log_id == log_id
        assert signed.follow() == signed.rebuilt() == expected
        signed.add(of_another_log(signed))
        signed.add(a_copy_in_sequence(signed))
        publish(signed.log, a_parcel_sent(4))
        parcels, parked = signed.follow()
        assert parcels == 4
        assert OTHER_CONTENT in parked[1]
        assert COPY in parked[2]


def test_a_rebuild_compares_as_equal_and_remembers_the_same_copies(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1))
    expected = quick.follow()
    built = build_generation(quick.log, quick.folder / "counter", make_counter(), lambda done, total: None)
    assert built.comparison is not None
    assert built.comparison.is_same
    quick.add(a_copy_in_sequence(quick))
    with closing(ProjectionFile(quick.folder / "counter", make_counter(), built.generation)) as file:
        Subscription(quick.log, file).run_to_head()
        assert file.checkpoint().sequence == 2
    with ProjectionReader(quick.folder / "counter", make_counter(), built.generation).look() as look:
        assert look.find_faults() == []
    assert expected[0] == quick.follow()[0] == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30)), max_size=60), st.integers(1, 7))
def test_what_was_met_is_exactly_what_was_met(met: list[tuple[str, int]], batch: int) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        checkpoint = Checkpoint("counter", 1)
        seen = read_seen(connection, checkpoint, 0, b"")
        before: set[tuple[str, int]] = set()
        for number, each in enumerate(met):
            assert seen.has(*each) == (each in before)
            assert seen.add(*each) == (each not in before)
            before.add(each)
            if number % batch == 0:
                seen.write(connection)
                seen = read_seen(connection, checkpoint, 0, b"")
        for publisher in "ab":
            numbers = [number for number in range(32) if seen.has(publisher, number)]
            assert numbers == sorted(number for name, number in before if name == publisher)
        seen.write(connection)
        gaps = sum((name, number - 1) not in before for name, number in before)
        assert connection.execute("SELECT count(*) FROM seen_events").fetchone() == (gaps,), (
            "a row for each range"
        )


def test_a_batch_that_ended_early_goes_on_without_taking_its_own_entries_for_copies(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1), a_parcel_sent(2), a_parcel_sent(3))
    counter, fails = make_counter(), [True]
    sound = counter.handle

    def fail_once(recorded: Any, rows: Any) -> Any:
        if recorded.event.id == 2 and fails.pop():
            raise ZeroDivisionError
        return sound(recorded, rows)

    counter.handle = fail_once  # type: ignore[method-assign]  # a handler that fails, and is mended
    with closing(ProjectionFile(quick.folder / "counter", counter)) as file:
        subscription = Subscription(quick.log, file)
        with pytest.raises(HandlerFailed):
            subscription.run_once()
        fails.append(False)
        subscription.run_to_head()
    assert quick.follow() == (3, [])


def test_who_can_write_may_move_an_unread_entry_to_another_position_and_no_more(quick: Signed) -> None:
    """Open, and written down: a position is what Redis says."""
    publish(quick.log, a_parcel_sent(1))
    (entry,) = quick.entries()
    quick.client.delete(STREAM)
    quick.client.execute_command("XADD", STREAM, "9999999999999-0", *entry.fields)  # type: ignore[no-untyped-call]  # redis-py left it so
    quick.client.hset(META, "last_position", "9999999999999-0")
    assert quick.follow() == (1, [])


def test_who_can_write_may_reorder_and_cut_off_what_nobody_has_read(quick: Signed) -> None:
    """Open, and written down: the order is given inside Redis."""
    publish(quick.log, a_parcel_sent(1))
    publish(quick.log, a_parcel_sent(2))
    publish(quick.log, a_parcel_sent(3))
    first, second, _ = quick.entries()
    quick.client.delete(STREAM)
    for number, entry in enumerate((second, first), 1):
        quick.add([*entry.fields[:5], b"%d" % number, *entry.fields[6:]])
    quick.client.hset(META, mapping={"sequence": "2", "last_position": quick.entries()[-1].id})
    assert quick.follow() == (2, [])


def test_who_can_read_and_write_may_add_once_what_was_signed_and_refused(quick: Signed) -> None:
    """Open, and written down: a refusal is known only after signing."""
    seen_on_its_way: list[list[bytes]] = []

    class Overheard(Keys):
        def sign(self, log_id: str, encoded: EncodedEvent) -> EncodedEvent:
            signed = super().sign(log_id, encoded)
            seen_on_its_way.append(list(signed))
            return signed

    decided_at = moment(quick.log)
    publish(quick.log, a_parcel_sent(1), touches=["x"])
    keys = quick.keys.read()
    quick.keys._keys = Overheard(keys.keys, keys.beginnings)  # noqa: SLF001  # who sees the traffic sees this
    with pytest.raises(Conflict):
        publish(quick.log, a_parcel_sent(2), guards=["x"], decided_at=decided_at)
    ((event_type, payload, metadata),) = seen_on_its_way
    for _ in range(2):
        fields = [b"EventTypeName", event_type, b"Payload", payload, b"Sequence", quick.next_sequence()]
        quick.add([*fields, b"Metadata", metadata])
    parcels, parked = quick.follow()
    assert (parcels, len(parked)) == (2, 1)
    assert COPY in parked[0]


@pytest.mark.processes
def test_an_archive_that_was_altered_with_its_whole_chain_is_parked_where_it_was(
    url: str, tmp_path: Path
) -> None:
    """The chain is computed by whoever writes the file; signatures are not."""
    with ExitStack() as ending:
        pool = make_pool(url)
        ending.callback(pool.disconnect)
        signed = Signed(pool, tmp_path)
        signed.log.create()
        publish(signed.log, a_parcel_sent(1), a_parcel_sent(2), a_parcel_sent(3))
        entries = signed.entries()
        signed.client.delete(STREAM)
        for entry in entries:
            forged = [field.replace(b'"id":2,', b'"id":9,') for field in entry.fields]
            signed.client.execute_command("XADD", STREAM, entry.id, *forged)  # type: ignore[no-untyped-call]  # redis-py left it so
        archive_all(signed.log, tmp_path / "archive.db")
        signed.client.flushall()
        reseed(signed.log, [tmp_path / "archive.db"], tmp_path)
        parcels, parked = signed.follow()
        assert (parcels, len(parked)) == (2, 1)
        assert OTHER_CONTENT in parked[0]


def test_a_generation_that_was_built_without_keys_is_not_served(quick: Signed) -> None:
    publish(quick.log, a_parcel_sent(1))
    quick.follow()
    directory = quick.folder / "counter"
    built = build_generation(quick.without_keys(), directory, make_counter(), lambda done, total: None)
    with pytest.raises(NotBuilt, match="nobody looked at their signatures"):
        switch_generation(quick.log, directory, make_counter(), built.generation, NEVER_S)
    assert quick.follow() == (1, [])
    built = build_generation(quick.log, directory, make_counter(), lambda done, total: None)
    assert switch_generation(quick.log, directory, make_counter(), built.generation, NEVER_S)
    assert quick.follow() == (1, [])
