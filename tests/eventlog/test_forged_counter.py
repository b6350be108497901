"""A forged entry and a moved counter halt every reader: whatever mend is typed then, the forgery is never applied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import ProjectionReader
from eventlog.archiving import ARCHIVE_NAME
from eventlog.errors import WrongLog
from eventlog.log import Command
from eventlog.redis_client import make_pool
from tests.eventlog.commands_with_keys import Run, running_with_keys
from tests.eventlog.log_contract import META, STREAM, moment, publish
from tests.eventlog.parcels import a_parcel_sent
from tests.eventlog.test_archive import archive_all, archived, trim
from tests.eventlog.test_signing import (
    Signed,
    a_copy_in_sequence,
    a_forgery,
    heavier,
    keys_in,
    make_counter,
    written_anew,
)

pytestmark = pytest.mark.processes


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    return running_with_keys(url, tmp_path, keys_in(tmp_path))


@pytest.fixture
def signed(url: str, tmp_path: Path) -> Iterator[Signed]:
    """Two entries that are signed, applied and archived."""
    pool = make_pool(url)
    signed = Signed(pool, tmp_path)
    signed.log.create()
    publish(signed.log, a_parcel_sent(1), a_parcel_sent(2))
    with closing(signed.log):
        assert signed.follow() == (2, [])
        archive_all(signed.log, tmp_path / ARCHIVE_NAME)
        yield signed


def weight_of(signed: Signed, directory: str = "counter") -> int:
    with ProjectionReader(signed.folder / directory, make_counter()).look() as look:
        ((weight,),) = look.query("SELECT coalesce(sum(weight_g), 0) FROM customers")
        assert isinstance(weight, int)
        return weight


def forge(signed: Signed, *, archived_before: bool = False) -> None:
    """An entry that nobody signed, a counter that is one too high, and a publish that is acknowledged."""
    signed.add(heavier(a_forgery(signed)))
    if archived_before:
        archive_all(signed.log, signed.folder / ARCHIVE_NAME)
        signed.follow()
    signed.client.hincrby(META, "sequence", 1)
    publish(signed.log, a_parcel_sent(3), command=Command("ada\nkey-3", "sent 3", named=True), result="3")


@pytest.mark.parametrize("archived_before", [False, True], ids=["at once", "read and archived first"])
def test_what_is_written_back_has_what_was_acknowledged_and_not_what_was_forged(
    signed: Signed, run: Run, archived_before: bool
) -> None:
    forge(signed, archived_before=archived_before)
    before = moment(signed.log)
    with pytest.raises(WrongLog, match="rewound"):
        signed.follow()
    assert "rewound" in run("archive --once", exits=1).stderr
    done = json.loads(run("reseed --replace --json").stdout)
    assert done["log_id"] == before.log_id
    assert (done["entries_kept"], done["renumbered"]) == (1, 1)
    dropped = [] if archived_before else ["it is not signed"]
    assert [each["reason"] for each in done["first_dropped"]] == dropped
    assert done["dropped"] == len(dropped)
    parcels, parked = signed.follow()
    assert (parcels, weight_of(signed), len(parked)) == (3, 300, int(archived_before))
    assert signed.rebuilt() == (parcels, parked)
    again = publish(
        signed.log, command=Command("ada\nkey-3", "sent 3", named=True), decided_at=moment(signed.log)
    )
    assert (again.replayed, again.result, again.sequence) == (True, "3", signed.log.state().sequence)
    publish(signed.log, a_parcel_sent(4))
    assert signed.follow() == (4, parked)
    run("archive --once")
    assert archived(signed.folder / ARCHIVE_NAME) == signed.entries()
    run("keys list", exits=3 if archived_before else 0)
    assert "nothing to do" in run("reseed --replace").stdout


def test_without_keys_nothing_is_left_out(signed: Signed, run: Run) -> None:
    forge(signed)
    before = signed.entries()
    assert "set EVENT_KEYS_FILE" in run("reseed --replace", exits=1, keys=False).stderr
    assert signed.entries() == before


def test_a_copy_of_what_is_archived_is_left_out(signed: Signed, run: Run) -> None:
    signed.add(a_copy_in_sequence(signed))
    signed.client.hincrby(META, "sequence", 1)
    publish(signed.log, a_parcel_sent(3))
    assert "it is a copy of an entry before it" in run("reseed --replace").stdout
    assert signed.follow() == (3, [])


def test_what_a_projection_has_applied_behind_the_archive_is_kept(signed: Signed, run: Run) -> None:
    publish(signed.log, a_parcel_sent(9))
    assert signed.follow() == (3, [])
    forge(signed)
    run("reseed --replace")
    assert signed.follow() == signed.rebuilt() == (4, [])


def test_what_was_changed_in_redis_is_as_in_the_archive(signed: Signed, run: Run) -> None:
    written_anew(signed, lambda number, fields: heavier(fields) if number == 2 else fields)
    assert "is not of this content in this log" in run("reseed --replace").stdout
    assert signed.follow() == signed.rebuilt() == (2, [])
    assert weight_of(signed) == 200


def test_nothing_forged_is_adopted_or_begun_with(signed: Signed, run: Run) -> None:
    forge(signed)
    log_id = moment(signed.log).log_id
    (forged,) = (entry for entry in signed.entries() if b"signature" not in entry.fields[7])
    refused = run("init --adopt", exits=1).stderr
    assert f"the keys do not prove 1 entry ({forged.id.decode()}: it is not signed)" in refused
    assert "`eventlog reseed --replace`" in refused
    run("keys begin", exits=1)
    assert moment(signed.log).log_id == log_id
    assert signed.keys.read().beginnings == {}
    signed.client.xdel(STREAM, forged.id)
    adopted = run("init --adopt").stdout
    assert "signed from the entry behind number 3 at" in adopted
    assert signed.rebuilt() == (3, []), "under its new id, which the signatures do not name"
    signed.add(heavier(a_forgery(signed)))
    parcels, parked = signed.rebuilt()
    assert (parcels, len(parked)) == (3, 1)


def test_a_log_that_was_signed_is_not_adopted_without_its_keys(signed: Signed, run: Run) -> None:
    forge(signed)
    log_id = moment(signed.log).log_id
    assert "EVENT_KEYS_FILE is not set" in run("init --adopt", exits=1, keys=False).stderr
    assert moment(signed.log).log_id == log_id


def test_what_stands_among_signed_entries_is_not_begun_with(signed: Signed, run: Run) -> None:
    """The counter is right, so that nobody halts; and under a new id, whose log nothing is signed for."""
    signed.add(a_forgery(signed))
    publish(signed.log, a_parcel_sent(3))
    assert "the keys do not prove 1 entry" in run("keys begin", exits=1).stderr
    signed.log.create(adopt=True)
    assert "the keys do not prove 4 entries" in run("keys begin", exits=1).stderr
    assert signed.keys.read().beginnings == {}


def test_of_many_the_first_ten_are_named(signed: Signed, run: Run) -> None:
    for _ in range(12):
        signed.add(a_forgery(signed))
    refused = run("init --adopt", exits=1).stderr
    assert "12 entries (" in refused
    assert refused.count("it is not signed") == 10
    assert "; and 2 more)" in refused


@pytest.mark.parametrize("trimmed", [False, True])
def test_what_was_changed_from_before_signing_is_not_adopted(
    url: str, run: Run, tmp_path: Path, trimmed: bool
) -> None:
    signed = Signed(make_pool(url), tmp_path)
    signed.log.create()
    publish(signed.without_keys(), a_parcel_sent(1), a_parcel_sent(2))
    run("keys begin")
    publish(signed.log, a_parcel_sent(3))
    archive_all(signed.log, tmp_path / ARCHIVE_NAME)
    if trimmed:
        trim(signed.client, 1)
    entries = signed.entries()
    written_anew(signed, lambda number, fields: heavier(fields) if number == 1 else fields)
    assert "from before it was signed, are not what they were" in run("init --adopt", exits=1).stderr
    written_anew(signed, lambda number, _: list(entries[number - 1].fields))
    assert f"behind number {len(entries)} at" in run("init --adopt").stdout
    assert signed.rebuilt() == (len(entries), [])
    signed.log.close()
