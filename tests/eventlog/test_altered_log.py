"""An entry was changed in Redis, under its own id, so that no count tells: it is written back from the archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.archiving import ARCHIVE_NAME
from eventlog.errors import WrongLog
from eventlog.redis_client import make_pool
from tests.eventlog.commands_with_keys import Run, running_with_keys
from tests.eventlog.log_contract import STREAM, add_foreign, everything, publish
from tests.eventlog.parcels import a_parcel_sent
from tests.eventlog.test_archive import archive_all, raw_entries, trim
from tests.eventlog.test_signing import Signed, heavier, keys_in, written_anew

pytestmark = pytest.mark.processes

ALTERED = 3  # of six entries


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    return running_with_keys(url, tmp_path, keys_in(tmp_path))


@pytest.fixture(params=["signed", "unsigned", "signed behind it"])
def altered(request: pytest.FixtureRequest, url: str, run: Run, tmp_path: Path) -> Iterator[Signed]:
    """Six entries, the fourth foreign, all archived; `run` and `follow` need no keys where nothing is signed."""
    signed = Signed(make_pool(url), tmp_path)
    log = signed.log if request.param == "signed" else signed.without_keys()
    with closing(signed.log), closing(log):
        log.create()
        publish(log, *(a_parcel_sent(number) for number in range(1, 4)))
        add_foreign(signed.client)
        publish(log, a_parcel_sent(5))
        if request.param == "signed behind it":
            run("keys begin")
        publish(signed.log if request.param != "unsigned" else log, a_parcel_sent(6))
        archive_all(log, tmp_path / ARCHIVE_NAME)
        if request.param == "unsigned":
            signed.log.keys = None
        yield signed


def alter(signed: Signed, number: int = ALTERED) -> None:
    def change(at: int, fields: list[bytes]) -> list[bytes]:
        return heavier(fields) if at == number else fields

    written_anew(signed, change)


def has_keys(signed: Signed) -> bool:
    return signed.log.keys is not None


def test_reseed_finds_it_and_writes_back_what_the_archive_has(altered: Signed, run: Run) -> None:
    entries = altered.entries()
    assert "nothing to do" in run("reseed", keys=has_keys(altered)).stdout
    alter(altered)
    changed, before = altered.entries(), everything(altered.client)
    refused = run("reseed", exits=1, keys=has_keys(altered)).stderr
    assert f"entry number {ALTERED}, at {entries[ALTERED - 1].position}, is not in Redis as in" in refused
    assert "`eventlog reseed --replace`" in refused
    assert everything(altered.client) == before
    done = run("reseed --replace", keys=has_keys(altered)).stdout
    assert "1 entry is left out" in done
    assert f"{entries[ALTERED - 1].position}: " in done
    assert altered.entries() == entries
    assert raw_entries(altered.client, f"{STREAM}-aside") == changed
    for line in ("reseed", "reseed --replace"):
        assert "nothing to do" in run(line, keys=has_keys(altered)).stdout
    run("archive --once", keys=has_keys(altered))


def test_trim_names_it_and_what_writes_it_back(altered: Signed, run: Run) -> None:
    entries = altered.entries()
    run("archive --once", keys=has_keys(altered))
    alter(altered)
    refused = run("trim --keep 1", exits=1, keys=has_keys(altered)).stderr
    assert f"disagree on entry number {ALTERED}, at {entries[ALTERED - 1].position}" in refused
    before_moving_it, _, _ = refused.partition("aside")
    assert "`eventlog reseed --replace`" in before_moving_it, "the archive may be all that has the entry"
    run("reseed --replace", keys=has_keys(altered))
    run("trim --keep 1", keys=has_keys(altered))


def test_it_is_found_behind_what_was_trimmed(altered: Signed, run: Run) -> None:
    entries = altered.entries()
    trim(altered.client, 1)
    written_anew(altered, lambda at, fields: heavier(fields) if at == ALTERED - 1 else fields)
    refused = run("reseed", exits=1, keys=has_keys(altered)).stderr
    assert f"entry number {ALTERED}, at {entries[ALTERED - 1].position}" in refused
    run("reseed --replace", keys=has_keys(altered))
    assert altered.entries() == entries


def test_as_many_entries_are_not_the_same_entries(altered: Signed, run: Run) -> None:
    """One is gone and another came."""
    entries = altered.entries()
    altered.client.pexpire(STREAM, 0)
    altered.client.execute_command("XADD", STREAM, "1-1", "a", "b")  # type: ignore[no-untyped-call]  # redis-py left it so
    for entry in [*entries[: ALTERED - 1], *entries[ALTERED:]]:
        altered.client.execute_command("XADD", STREAM, entry.id, *entry.fields)  # type: ignore[no-untyped-call]  # redis-py left it so
    refused = run("reseed", exits=1, keys=has_keys(altered)).stderr
    assert "entry number 1, at 1-1, is not in Redis as in the archive" in refused
    if not has_keys(altered):
        before = everything(altered.client)
        lost = run("reseed --replace", exits=1, keys=False).stderr
        assert "Redis has another entry at 1-1 than" in lost, "nothing tells that nobody needs it"
        assert everything(altered.client) == before
        altered.client.xdel(STREAM, "1-1")
    run("reseed --replace", keys=has_keys(altered))
    assert altered.entries() == entries


def test_halted_reader_is_told_what_mends_it_and_goes_on(url: str, run: Run, tmp_path: Path) -> None:
    """A projection that is built anew, where an entry from before signing was changed."""
    signed = Signed(make_pool(url), tmp_path)
    with closing(signed.log):
        signed.log.create()
        publish(signed.without_keys(), *(a_parcel_sent(number) for number in range(1, 4)))
        run("keys begin")
        publish(signed.log, a_parcel_sent(4))
        archive_all(signed.log, tmp_path / ARCHIVE_NAME)
        alter(signed, 2)
        with pytest.raises(WrongLog, match=r"rewound.*`eventlog reseed`, with `--replace` where some of it"):
            signed.follow()
        run("reseed --replace")
        assert signed.follow() == (4, [])


def test_genuine_entry_is_not_replaced_by_a_forged_archive(url: str, run: Run, tmp_path: Path) -> None:
    """Whose chain was computed anew: built from a log in which the entry was changed, and changed back."""
    signed = Signed(make_pool(url), tmp_path)
    with closing(signed.log):
        signed.log.create()
        publish(signed.log, *(a_parcel_sent(number) for number in range(1, 5)))
        genuine = signed.entries()
        alter(signed)
        archive_all(signed.log, tmp_path / ARCHIVE_NAME)
        written_anew(signed, lambda number, _: list(genuine[number - 1].fields))
        before = everything(signed.client)
        refused = run("reseed --replace", exits=1).stderr
        assert (
            f"the keys prove the entry at {genuine[ALTERED - 1].position} that Redis has, and not" in refused
        )
        assert everything(signed.client) == before
