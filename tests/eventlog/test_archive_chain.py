"""What was altered in an archive, put in or taken out is found and named, and is neither applied nor written back."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from eventlog import Command, EventLog, Position, ProjectionFile, Subscription
from eventlog.archive import Archive
from eventlog.archive_check import check_archive
from eventlog.archive_reader import ArchiveReader
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.cli import main
from eventlog.continuity import Verdict
from eventlog.errors import WrongLog
from tests.eventlog import archive_process
from tests.eventlog.log_contract import STREAM, add_foreign, everything, publish
from tests.eventlog.parcels import a_parcel_sent, make_codec
from tests.eventlog.reader_contract import archive as tell_archive
from tests.eventlog.reader_contract import positions, publish_many
from tests.eventlog.test_archive import archive_all, archived, damage_by, raw_entries, trim

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]

ENTRIES = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ARCHIVE_NAME


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--redis-url", url, "--data-dir", str(tmp_path)])

    return run


@pytest.fixture
def kept(log: EventLog, client: redis.Redis, path: Path) -> EventLog:
    """Six entries, one of another writer and one of a named command, archived in batches of two."""
    for number in range(ENTRIES - 2):
        publish(log, a_parcel_sent(number))
    add_foreign(client)
    publish(log, a_parcel_sent(9), command=Command("ada\nkey", "f", named=True))
    archive_all(log, path, batch_size=2)
    return log


def rows(path: Path, what: str = "*", table: str = "entries") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {what} FROM {table} ORDER BY 1").fetchall()


def swapped(first: int, second: int) -> str:
    """The contents of two entries, each under the other's position."""
    other = f"SELECT e.fields FROM entries e WHERE e.sequence = {first + second} - entries.sequence"
    return f"UPDATE entries SET fields = ({other}) WHERE sequence IN ({first}, {second})"


TAKEN_OUT = """
    DELETE FROM entries WHERE sequence = 3;
    UPDATE entries SET sequence = sequence - 1 WHERE sequence > 3;
    UPDATE checkpoint SET sequence = sequence - 1
"""
PUT_IN = """
    UPDATE entries SET sequence = -sequence - 1 WHERE sequence >= 3;
    UPDATE entries SET sequence = -sequence WHERE sequence < 0;
    INSERT INTO entries SELECT 3, zeroblob(16), fields, link FROM entries WHERE sequence = 2;
    UPDATE checkpoint SET sequence = sequence + 1
"""
CUT_OFF = """
    DELETE FROM entries WHERE sequence = 6;
    UPDATE checkpoint SET sequence = 5, position = '{fifth}', digest = '{digest}'
"""
ALTERATIONS = {
    "content": ("UPDATE entries SET fields = x'92a161a162' WHERE sequence = 3", 3, "was altered"),
    "one byte": (
        "UPDATE entries SET fields = CAST(replace(fields, x'01', x'02') AS BLOB) WHERE sequence = 4",
        4,
        "was altered",
    ),
    "of another writer": ("UPDATE entries SET fields = x'92a161a162' WHERE sequence = 5", 5, "was altered"),
    "the first": ("UPDATE entries SET fields = x'92a161a162' WHERE sequence = 1", 1, "was altered"),
    "the last": ("UPDATE entries SET fields = x'92a161a162' WHERE sequence = 6", 6, "was altered"),
    "position": ("UPDATE entries SET position = zeroblob(16) WHERE sequence = 1", 1, "was altered"),
    "link": ("UPDATE entries SET link = zeroblob(32) WHERE sequence = 3", 3, "was altered"),
    "two swapped": (swapped(2, 4), 2, "was altered"),
    "missing": ("DELETE FROM entries WHERE sequence = 3", 3, "is missing"),
    "the first missing": ("DELETE FROM entries WHERE sequence = 1", 1, "is missing"),
    "the last missing": ("DELETE FROM entries WHERE sequence = 6", 6, "is missing"),
    "taken out and renumbered": (TAKEN_OUT, 3, "was altered"),
    "put in and renumbered": (PUT_IN, 3, "was altered"),
    "added behind": (
        f"INSERT INTO entries SELECT 7, x'{'ff' * 16}', fields, link FROM entries WHERE sequence = 6",
        7,
        "was added",
    ),
    "added before": (
        "INSERT INTO entries SELECT 0, zeroblob(16), fields, link FROM entries WHERE sequence = 1",
        0,
        "entry number 0 was added",
    ),
    "cut off, checkpoint and all": (CUT_OFF, 5, "is not the last one"),
    "seal": ("UPDATE seal SET link = zeroblob(32)", 6, "is not the last one"),
    "checkpoint": ("UPDATE checkpoint SET digest = 'x'", 6, "is not the last one"),
    "log id": ("UPDATE checkpoint SET log_id = 'x'", 1, "was altered"),
    "form": ("UPDATE checkpoint SET version = 1", None, "(the number of its form) was altered"),
    "a counter": (
        "UPDATE meta SET value = x'37' WHERE field = CAST('sequence' AS BLOB)",
        None,
        "(table meta)",
    ),
    "a named command": ("UPDATE commands SET result = 'other'", None, "(table commands)"),
    "a named command gone": ("DELETE FROM commands", None, "(table commands)"),
}


def alter(path: Path, name: str) -> tuple[int | None, str]:
    """The number to be named, and what is said of it."""
    script, number, said = ALTERATIONS[name]
    fifth = ArchiveReader(path).read(Position(0, 0), Position(2**63, 0), 5)[-1]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script.format(fifth=fifth.position, digest=fifth.digest()))
    return number, said


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_was_altered_is_named(kept: EventLog, run: Run, path: Path, name: str) -> None:
    sound = run("archive", "--check", "--json")
    assert (sound.exit_code, json.loads(sound.stdout)["altered"]) == (0, None)
    number, said = alter(path, name)
    found = run("archive", "--check", "--json")
    document = json.loads(found.stdout)
    assert (found.exit_code, document["altered_sequence"]) == (3, number)
    assert said in document["altered"]
    assert said in run("archive", "--check").stdout


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_archive_is_not_written_back(
    kept: EventLog, client: redis.Redis, run: Run, path: Path, name: str
) -> None:
    client.flushall()
    _, said = alter(path, name)
    refused = run("reseed")
    assert (refused.exit_code, said in refused.stderr) == (1, True)
    assert everything(client) == {}


@pytest.mark.parametrize("name", ["content", "one byte", "two swapped", "taken out and renumbered", "link"])
@pytest.mark.parametrize("batch_size", [1, 1000])
def test_altered_entry_is_not_applied(
    kept: EventLog,
    url: str,
    client: redis.Redis,
    path: Path,
    file: ProjectionFile,
    name: str,
    batch_size: int,
) -> None:
    """Neither is what comes behind it; once the archive is put back, it goes on."""
    trim(client, 5)
    sound = path.read_bytes()
    number, said = alter(path, name)
    assert number is not None
    with closing(EventLog.connect(url, make_codec(), archive=path)) as reading:
        with pytest.raises(WrongLog, match=f"entry number {number}.*{said}|has 4 of the 5") as wrong:
            Subscription(reading, file, batch_size=batch_size).run_to_head()
        assert wrong.value.verdict is Verdict.TRIMMED
        assert wrong.value.explanation.startswith(str(path)), "first what is to be mended"
        assert file.checkpoint().sequence < number
        path.parent.rename(path.parent.with_name("aside"))
        path.parent.mkdir()
        path.write_bytes(sound)
        Subscription(reading, file).run_to_head()
    assert file.checkpoint().sequence == ENTRIES


WITHOUT_THE_LAST_IN_ITS_INDEX = """
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql, ' UNIQUE', '') WHERE name = 'entries';
    UPDATE sqlite_schema SET name = 'part', sql = 'CREATE INDEX part ON entries (position) WHERE sequence < 6'
        WHERE name = 'sqlite_autoindex_entries_1';
    PRAGMA writable_schema = RESET;
    REINDEX part;
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql, 'position BLOB NOT NULL', 'position BLOB NOT NULL UNIQUE')
        WHERE name = 'entries';
    UPDATE sqlite_schema SET name = 'sqlite_autoindex_entries_1', sql = NULL WHERE name = 'part';
"""


def test_index_that_lacks_an_entry_is_named_with_its_mend(
    kept: EventLog, client: redis.Redis, run: Run, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(WITHOUT_THE_LAST_IN_ITS_INDEX)
    client.flushall()
    for refused in (run("archive", "--check"), run("reseed")):
        assert refused.exit_code == 1
        assert "missing from index" in refused.stderr
        assert f"`sqlite3 {path} reindex`" in refused.stderr
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("reindex")
    assert run("archive", "--check").exit_code == 0
    assert run("reseed").exit_code == 0


def test_overwritten_page_is_told_in_one_line(kept: EventLog, run: Run, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page = 4096
    with path.open("r+b") as file:
        file.seek(2 * page)
        file.write(b"x" * page)
    refused = run("archive", "--check")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Error: {path} is damaged: ")
    assert refused.stderr.count("\n") == 1


def test_archive_that_is_not_there_is_no_finding(run: Run) -> None:
    looked = run("archive", "--check")
    assert (looked.exit_code, "there is no archive" in looked.stderr) == (1, True)
    assert run("archive", "--check", "--once").exit_code == 2


def test_empty_archive_has_kept_nothing_and_lacks_what_was_trimmed(
    kept: EventLog, client: redis.Redis, run: Run, path: Path
) -> None:
    """Which is what its process makes where a directory was moved aside."""
    path.parent.rename(path.parent.with_name("aside"))
    Archive(path).close()
    told = run("archive", "--check")
    assert (told.exit_code, "has kept nothing yet" in told.stdout) == (0, True)
    trim(client, 4)
    lacking = run("archive", "--check")
    assert lacking.exit_code == 3
    assert f"{path} has 0 of the 4 entries that were trimmed: put back the archive" in lacking.stdout
    assert json.loads(run("archive", "--check", "--json").stdout)["lacks"] == 4


def test_it_is_checked_while_it_is_kept(kept: EventLog, path: Path) -> None:
    """What is added behind where the check began is for the next one."""
    checked: list[int] = []

    def go_on(done: int, total: int) -> None:
        checked.append(total)
        publish(kept, a_parcel_sent(50))
        archive_all(kept, path)

    for _ in range(3):
        check_archive(ArchiveReader(path), go_on)
    assert checked == [ENTRIES, ENTRIES + 1, ENTRIES + 2]


def test_same_entries_have_the_same_chain_however_they_came(
    kept: EventLog, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    archive_all(kept, other, batch_size=5)
    assert rows(other) == rows(path)


def test_command_that_was_done_again_or_forgotten_leaves_the_archive_sound(
    kept: EventLog, client: redis.Redis, path: Path
) -> None:
    """Its record went after a day, and the same key was used again; then its day was over too."""
    client.delete(*(key for key in everything(client) if b":command:" in key))
    publish(kept, a_parcel_sent(9), command=Command("ada\nkey", "f", named=True))
    archive_all(kept, path)
    assert len(rows(path, table="commands")) == 1
    check_archive(ArchiveReader(path))
    add_foreign(client, f"{kept.state().end.milliseconds + 25 * 3_600_000}-0")
    archive_all(kept, path)
    assert rows(path, table="commands") == []
    check_archive(ArchiveReader(path))


@pytest.mark.parametrize("name", ["seal", "seal gone", "the last missing"])
def test_nothing_is_kept_behind_an_end_that_was_altered(
    kept: EventLog, run: Run, path: Path, name: str
) -> None:
    if name == "seal gone":
        damage_by("DELETE FROM seal")(path)
    else:
        alter(path, name)
    before = rows(path)
    publish(kept, a_parcel_sent(9))
    refused = run("archive", "--once")
    assert (refused.exit_code, "is not the last one that was kept" in refused.stderr) == (1, True)
    assert rows(path) == before


@pytest.mark.parametrize("name", ["a counter", "a named command", "a named command gone"])
@pytest.mark.parametrize("while_it_runs", [True, False])
def test_what_was_altered_beside_the_entries_is_read_from_redis_again(
    kept: EventLog, path: Path, caplog: pytest.LogCaptureFixture, name: str, *, while_it_runs: bool
) -> None:
    beside = [rows(path, table=table) for table in ("meta", "commands", "seal")]
    with closing(Archive(path)) as file:
        archiving = Archiving(kept, file)
        if while_it_runs:
            archiving.run_to_head()
        alter(path, name)
        archiving.run_to_head()
        assert caplog.text.count("was altered by something else") == 1
        archiving.run_to_head()
    assert [rows(path, table=table) for table in ("meta", "commands", "seal")] == beside
    check_archive(ArchiveReader(path))
    assert caplog.text.count("was altered by something else") == 1


# Trimming


def test_what_the_archive_keeps_otherwise_is_not_freed(log: EventLog, run: Run, path: Path) -> None:
    """A trim that frees nothing of it does not look at it."""
    publish_many(log, 2500)
    archive_all(log, path)
    tell_archive(log, 2500)
    damage_by("UPDATE entries SET fields = x'92a161a162' WHERE sequence = 1700")(path)
    at = positions(log)[1699]
    assert run("trim", "--keep", "2000").exit_code == 0
    dry, refused = run("trim", "--keep", "0", "--dry-run"), run("trim", "--keep", "0")
    assert (dry.exit_code, refused.exit_code) == (1, 1)
    assert "nothing is freed" in dry.stderr
    assert "aside" not in refused.stderr, "what was trimmed is in this archive only"
    assert f"entry number 1700, at {at}, was altered" in dry.stderr
    assert (
        f"after 1,000 entries no more is freed, for what would go is not in the archive: {path}"
        in refused.stderr
    )
    assert log.state().trimmed == 1500


def test_what_redis_holds_otherwise_is_not_freed(
    log: EventLog, client: redis.Redis, run: Run, path: Path
) -> None:
    """Each is whole; which is right must be looked at while both are there."""
    publish_many(log, 5)
    archive_all(log, path)
    tell_archive(log, 5)
    entries = raw_entries(client)
    client.delete(STREAM)
    for number, entry in enumerate(entries, 1):
        fields = [b"a", b"b"] if number == 2 else entry.fields
        client.execute_command("XADD", STREAM, entry.id, *fields)  # type: ignore[no-untyped-call]  # redis-py left it so
    refused = run("trim", "--keep", "0")
    assert refused.exit_code == 1
    assert f"disagree on entry number 2, at {entries[1].position}" in refused.stderr
    assert f"move {path.parent} aside" in refused.stderr
    assert log.state().trimmed == 0


# The form without a chain


WITHOUT_CHAIN = """
    CREATE TABLE former (sequence INTEGER PRIMARY KEY, position BLOB NOT NULL UNIQUE, fields BLOB NOT NULL) STRICT;
    INSERT INTO former SELECT sequence, position, fields FROM entries;
    DROP TABLE entries;
    ALTER TABLE former RENAME TO entries;
    DROP TABLE seal;
    UPDATE checkpoint SET version = 1
"""


def take_chain(path: Path) -> None:
    """As the first form of the file was."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(WITHOUT_CHAIN)


@pytest.fixture
def former(kept: EventLog, path: Path) -> list[tuple[Any, ...]]:
    """What the rows are with a chain; the file is in the form without one."""
    chained = rows(path)
    take_chain(path)
    return chained


def test_file_of_the_former_form_is_read_without_the_chain(
    former: object, kept: EventLog, url: str, client: redis.Redis, file: ProjectionFile, run: Run, path: Path
) -> None:
    trim(client, 4)
    with closing(EventLog.connect(url, make_codec(), archive=path)) as reading:
        assert Subscription(reading, file).run_to_head() == ENTRIES
    told = run("archive", "--check", "--json")
    assert (told.exit_code, json.loads(told.stdout)["chained"]) == (0, False)
    assert "it has no chain" in run("archive", "--check").stdout
    damage_by("DELETE FROM entries WHERE sequence = 3")(path)
    assert run("archive", "--check").exit_code == 3


def test_file_of_the_former_form_is_written_back(
    former: object, kept: EventLog, client: redis.Redis, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    entries = raw_entries(client)
    client.flushall()
    assert run("reseed").exit_code == 0
    assert "has no chain" in caplog.text
    assert raw_entries(client) == entries


def test_file_of_the_former_form_is_given_its_chain(
    former: list[tuple[Any, ...]], kept: EventLog, run: Run, path: Path
) -> None:
    publish(kept, a_parcel_sent(9))
    assert run("archive", "--once").exit_code == 0
    assert rows(path)[:ENTRIES] == former
    told = json.loads(run("archive", "--check", "--json").stdout)
    assert (told["chained"], told["sequence"]) == (True, ENTRIES + 1)


def test_hole_in_a_file_of_the_former_form_is_named_by_the_upgrade(
    former: object, run: Run, path: Path
) -> None:
    damage_by("DELETE FROM entries WHERE sequence = 3")(path)
    refused = run("archive", "--once")
    assert (refused.exit_code, "entry number 3 is missing" in refused.stderr) == (1, True)


def test_file_that_hides_its_chain_is_left_as_it_is(kept: EventLog, run: Run, path: Path) -> None:
    alter(path, "form")
    before = rows(path)
    refused = run("archive", "--once")
    assert (refused.exit_code, "its form) was altered" in refused.stderr) == (1, True)
    assert rows(path) == before


def test_upgrade_killed_at_every_statement_goes_on(
    log: EventLog, url: str, client: redis.Redis, path: Path
) -> None:
    """Meanwhile it is read as before; in the end it is what it would have been."""
    for _ in range(21):
        pipeline = client.pipeline(transaction=False)
        for number in range(1000):
            pipeline.xadd(STREAM, {"EventTypeName": "ParcelLost", "Payload": f'{{"id":{number}}}'})
        pipeline.execute()
    archive_all(log, path)
    chained, seal = rows(path), rows(path, table="seal")
    take_chain(path)
    former = path.read_bytes()
    kills = 0
    while True:
        ended = subprocess.run(
            [sys.executable, archive_process.__file__, url, path, str(kills + 1)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            check=False,
        ).returncode
        assert len(archived(path)) == 10_000
        Archive(path).close()
        assert rows(path) == chained
        assert rows(path, table="seal") == seal
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
        path = path.parent.with_name(f"archive-{kills}") / path.name
        path.parent.mkdir()
        path.write_bytes(former)
    assert kills >= 15
    check_archive(ArchiveReader(path))
