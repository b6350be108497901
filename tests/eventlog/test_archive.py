"""What was trimmed from Redis is read from the archive as if it still stood there; what is in no archive is named."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eventlog import START, EventLog, Position, ProjectionFile, Subscription
from eventlog.archive import Archive
from eventlog.archive_reader import ArchiveReader
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.checkpoints import Checkpoint
from eventlog.cli import main
from eventlog.codec import Entry
from eventlog.continuity import NumberedEntry, Verdict, number_entries
from eventlog.errors import ArchiveUnusable, CheckpointMoved, Conflict, WrongLog
from eventlog.tail_lock import TailLock
from eventlog.tail_status import TailState, TailStatusFile
from tests.eventlog import archive_process
from tests.eventlog.log_contract import LARGEST_HALF, META, STREAM, add_foreign, moment, publish
from tests.eventlog.parcels import a_parcel_sent, make_codec
from tests.eventlog.test_tail import wait_until
from tests.fake_redis import fake_redis
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def archive_all(log: EventLog, path: Path, batch_size: int = 1000) -> None:
    with closing(Archive(path)) as file:
        Archiving(log, file, batch_size=batch_size).run_to_head()


def archived(path: Path) -> list[Entry]:
    archive = ArchiveReader(path)
    return archive.read(START, archive.checkpoint().position, 10_000)


def trim(client: redis.Redis, count: int) -> None:
    """The first `count` entries, recorded as `eventlog trim` does."""
    entries: Any = client.execute_command("XRANGE", STREAM, "-", "+", "COUNT", count + 1)  # type: ignore[no-untyped-call]  # redis-py left it so
    if count == 0:
        return
    client.xtrim(STREAM, minid=entries[count][0], approximate=False)
    client.hset(META, "trimmed_to", entries[count][0])
    client.hincrby(META, "trimmed", count)


def read_in_batches(log: EventLog, size: int) -> list[NumberedEntry]:
    """As a subscription does."""
    found: list[NumberedEntry] = []
    checkpoint = Checkpoint("post", 1)
    while True:
        snapshot = log.snapshot(checkpoint.position, size)
        numbered = number_entries(checkpoint, snapshot, log.count_entries)
        assert isinstance(numbered, list), numbered
        found += numbered
        if not numbered:
            assert snapshot.reached_end
            return found
        last = numbered[-1]
        assert snapshot.reached_end == (last.entry.position == snapshot.state.end)
        checkpoint = Checkpoint(
            "post", 1, snapshot.state.log_id or "", last.entry.position, last.sequence, last.entry.digest()
        )


def raw_entries(client: redis.Redis, stream: str = STREAM) -> list[Entry]:
    """With repeated fields, which redis-py's own answer would merge."""
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_command("XRANGE", stream, "-", "+")
        return [Entry(*entry) for entry in connection.read_response()]
    finally:
        client.connection_pool.release(connection)


WRITERS = st.lists(st.sampled_from(["own", "two", "foreign", "forged", "junk"]), min_size=2, max_size=14)


@given(WRITERS, st.data())
def test_reading_at_any_trim_point_equals_reading_what_was_never_trimmed(
    writers: list[str], data: st.DataObject
) -> None:
    client = fake_redis()
    whole = EventLog(client.connection_pool, make_codec())
    whole.create()
    for number, writer in enumerate(writers):
        if writer in {"own", "two"}:
            publish(whole, *[a_parcel_sent(number * 2 + n) for n in range(1 if writer == "own" else 2)])
        elif writer == "foreign":
            add_foreign(client)
        elif writer == "forged":
            client.xadd(
                STREAM, {"EventTypeName": "ParcelLost", "Payload": "{}", "Sequence": "99", "Metadata": "{}"}
            )
        else:
            client.xadd(STREAM, {b"\xff\x00": b"", "Payload": b"\x80"})
    publish(whole, a_parcel_sent(999))  # the log's own last entry always stays
    expected = read_in_batches(whole, 1000)
    total = len(expected)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "archive.db"
        archive_all(whole, path, batch_size=data.draw(st.integers(1, total), label="archive's batch"))
        cut = data.draw(st.integers(0, total - 1), label="trimmed")
        trim(client, cut)
        log = EventLog(client.connection_pool, make_codec(), archive=ArchiveReader(path))
        assert read_in_batches(log, data.draw(st.integers(1, total + 1), label="batch")) == expected
        first, last = sorted(data.draw(st.integers(0, total), label="range") for _ in "ab")
        ends = [START, *[found.entry.position for found in expected]]
        assert log.count_entries(ends[first], ends[last]) == last - first
        assert log.read(ends[first], 3) == [found.entry for found in expected[first : first + 3]]
        for found in expected:
            position, digest = found.entry.position, found.entry.digest()
            log.require_same(Checkpoint("post", 1, moment(log).log_id, position, found.sequence, digest))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive" / "archive.db"


@pytest.fixture
def reading(url: str, log: EventLog, path: Path) -> Iterator[EventLog]:
    """The log as one reads it who has the archive."""
    with closing(EventLog.connect(url, make_codec(), archive=path)) as reading:
        yield reading


def send(client: redis.Redis, *words: object) -> None:
    client.execute_command("XADD", STREAM, *words)  # type: ignore[no-untyped-call]  # redis-py left it so


def test_archive_keeps_every_entry_byte_for_byte(log: EventLog, client: redis.Redis, path: Path) -> None:
    """Foreign and malformed ones too, with repeated fields in their order, and the largest ids there are."""
    publish(log, a_parcel_sent(1))
    send(client, "*", "a", "1", "a", "2", b"\xff\x00", b"", "", "x" * 100_000)
    send(client, f"{LARGEST_HALF - 1}-10", "b", "")
    send(client, f"{LARGEST_HALF}-9", "b", "")
    send(client, f"{LARGEST_HALF}-{LARGEST_HALF}", "c", b"\x80")
    archive_all(log, path, batch_size=2)
    assert archived(path) == raw_entries(client)
    assert ArchiveReader(path).find(Position(LARGEST_HALF, LARGEST_HALF)) is not None


def test_new_projection_is_built_from_archive_and_redis(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path, file: ProjectionFile
) -> None:
    for number in range(9):
        publish(log, a_parcel_sent(number))
    archive_all(log, path)
    trim(client, 6)
    publish(log, a_parcel_sent(9))
    assert Subscription(reading, file, batch_size=4).run_to_head() == 10


def test_decision_made_on_what_was_trimmed_since_is_published_unless_a_guard_may_be_forgotten(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path
) -> None:
    decided = [moment(log)]
    for number in range(3):
        publish(log, a_parcel_sent(number), touches=[f"parcel-{number}"])
        decided.append(moment(log))
    archive_all(log, path)
    trim(client, 2)
    for number, each in enumerate(decided):
        publish(reading, a_parcel_sent(10 + number), decided_at=each)
    publish(reading, a_parcel_sent(20), decided_at=decided.pop(), guards=["parcel-7", "parcel-2"])
    for each in decided:
        with pytest.raises(Conflict, match="parcel-7"):
            publish(reading, a_parcel_sent(21), decided_at=each, guards=["parcel-7"])


def damage_by(sql: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "there is no archive"),
        (lambda path: path.write_bytes(b"no database" * 1000), "damaged"),
        (damage_by("DELETE FROM entries WHERE sequence = 2"), "entry number 2 is missing"),
        (damage_by("UPDATE checkpoint SET log_id = 'f'"), "is of log f"),
        (damage_by("DELETE FROM entries WHERE sequence > 2"), "has 2 of the 3 entries trimmed from Redis"),
    ],
    ids=["missing", "unreadable", "a hole", "of another log", "too short"],
)
def test_what_is_in_no_archive_is_trimmed_and_the_file_is_named(
    log: EventLog,
    reading: EventLog,
    client: redis.Redis,
    path: Path,
    file: ProjectionFile,
    damage: Callable[[Path], None],
    said: str,
) -> None:
    """And once the file is put back, it goes on."""
    for number in range(5):
        publish(log, a_parcel_sent(number))
    archive_all(log, path)
    trim(client, 3)
    kept = path.read_bytes()
    damage(path)
    with pytest.raises(WrongLog, match=said) as wrong:
        Subscription(reading, file, batch_size=1).run_to_head()
    assert (wrong.value.verdict, str(path) in str(wrong.value)) == (Verdict.TRIMMED, True)
    path.unlink(missing_ok=True)
    path.write_bytes(kept)
    Subscription(reading, file).run_to_head()
    assert file.checkpoint().sequence == 5


def test_archive_that_ends_where_redis_begins_is_enough(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path, file: ProjectionFile
) -> None:
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    archive_all(log, path)
    publish(log, a_parcel_sent(3))
    trim(client, 2)
    assert Subscription(reading, file, batch_size=1).run_to_head() == 3


def test_first_entry_that_stays_and_goes_missing_is_rewound(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path, file: ProjectionFile
) -> None:
    """It was not trimmed, so the archive does not stand in for it."""
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    Subscription(reading, file).run_to_head()
    publish(log, a_parcel_sent(3))
    archive_all(log, path)
    trim(client, 1)
    client.xdel(STREAM, str(file.checkpoint().position))
    with pytest.raises(WrongLog) as wrong:
        Subscription(reading, file).run_to_head()
    assert wrong.value.verdict is Verdict.REWOUND


def test_hole_above_what_was_trimmed_is_rewound_all_the_same(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path, file: ProjectionFile
) -> None:
    """The archive has the entry, but that the log lost it must be known."""
    publish(log, a_parcel_sent(1))
    Subscription(reading, file).run_to_head()
    for number in range(2, 8):
        publish(log, a_parcel_sent(number))
    archive_all(log, path)
    trim(client, 3)
    entries: Any = client.xrange(STREAM)
    client.xdel(STREAM, entries[1][0])
    with pytest.raises(WrongLog) as wrong:
        Subscription(reading, file).run_to_head()
    assert wrong.value.verdict is Verdict.REWOUND


def open_files() -> set[str]:
    return {
        str(descriptor.readlink())
        for descriptor in Path("/proc/self/fd").iterdir()
        if descriptor.is_symlink()
    }


def test_the_file_is_opened_only_once_something_is_trimmed(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path
) -> None:
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    archive_all(log, path)
    published = publish(reading, a_parcel_sent(3))
    assert len(reading.read()) == 3
    assert reading.count_entries(START, published.position) == 3
    assert str(path) not in open_files()
    trim(client, 1)
    assert len(reading.read()) == 3
    assert str(path) in open_files()


# Archiving


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (lambda client: client.flushall(), Verdict.REPLACED),
        (lambda client: client.hset(META, "log_id", "f" * 32), Verdict.REPLACED),
        (lambda client: client.xtrim(STREAM, maxlen=1, approximate=False), Verdict.REWOUND),
    ],
    ids=["flushed", "another log", "entries gone"],
)
def test_archive_keeps_nothing_doubtful(
    log: EventLog, client: redis.Redis, path: Path, damage: Callable[[redis.Redis], Any], verdict: Verdict
) -> None:
    publish(log, a_parcel_sent(1))
    archive_all(log, path)
    publish(log, a_parcel_sent(2), a_parcel_sent(3))
    damage(client)
    with pytest.raises(WrongLog) as wrong:
        archive_all(log, path)
    assert wrong.value.verdict is verdict
    assert "move DATA_DIR/archive aside" in wrong.value.mend
    assert "verify --repair" not in wrong.value.mend
    assert len(archived(path)) == 1


def test_archive_begins_only_on_a_whole_log(log: EventLog, client: redis.Redis, path: Path) -> None:
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    trim(client, 1)
    with pytest.raises(WrongLog) as wrong:
        archive_all(log, path)
    assert wrong.value.verdict is Verdict.TRIMMED


def test_second_writer_is_rolled_back_whole(log: EventLog, path: Path) -> None:
    publish(log, a_parcel_sent(1))
    with closing(Archive(path)) as first, closing(Archive(path)) as second:
        stale = second.checkpoint()
        Archiving(log, first).run_to_head()
        publish(log, a_parcel_sent(2))
        moved = first.checkpoint()._replace(position=Position(5, 5), sequence=7)
        kept = log.read_kept(START, Position(LARGEST_HALF, LARGEST_HALF))
        again = [NumberedEntry(Entry(b"5-5", [b"a", b"b"]), 7, foreign=True)]
        with pytest.raises(CheckpointMoved):
            second.commit(stale, moved, again, kept, forget_commands_before=START)
        assert len(archived(path)) == 1
        assert Archiving(log, second).run_to_head() == 1


def test_archive_goes_on_where_all_that_it_has_was_trimmed(
    log: EventLog, reading: EventLog, client: redis.Redis, path: Path
) -> None:
    """Its own last entry too, which it finds in itself."""
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    archive_all(reading, path)
    publish(log, a_parcel_sent(3))
    trim(client, 2)
    archive_all(reading, path)
    assert len(archived(path)) == 3


def test_command_archives_up_to_the_head_and_says_how_far(log: EventLog, url: str, tmp_path: Path) -> None:
    """And leaves it to the process that does so already: exit code 2, not done and nothing wrong."""
    command = ["archive", "--once", "--redis-url", url, "--data-dir", str(tmp_path)]
    published = publish(log, a_parcel_sent(1))
    assert json.loads(CliRunner().invoke(main, [*command, "--json"]).output) == {
        "archive": str(tmp_path / ARCHIVE_NAME),
        "log_id": published.log_id,
        "position": str(published.position),
        "sequence": 1,
    }
    lock = TailLock(tmp_path / "archive")
    lock.acquire()
    held = CliRunner().invoke(main, command)
    lock.release()
    assert held.exit_code == 2
    assert f"{tmp_path / ARCHIVE_NAME} is being kept already" in held.stderr
    assert CliRunner().invoke(main, command).exit_code == 0


def test_archive_follows_until_it_is_asked_to_end(log: EventLog, url: str, tmp_path: Path) -> None:
    words = ["archive", "--redis-url", url, "--data-dir", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from eventlog.cli import main; main()", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    try:
        status = TailStatusFile(tmp_path / "archive")
        wait_until(lambda: status.read().state is TailState.FOLLOWING)
        published = publish(log, a_parcel_sent(1), a_parcel_sent(2))
        reader = ArchiveReader(tmp_path / ARCHIVE_NAME)
        wait_until(lambda: reader.checkpoint().position == published.position)
        process.terminate()
        assert process.wait(NEVER_S) == 0
        assert status.read().state is TailState.STOPPED
    finally:
        process.kill()
        process.wait()


def test_archive_moved_aside_is_not_written_any_more(log: EventLog, path: Path, tmp_path: Path) -> None:
    publish(log, a_parcel_sent(1))
    with closing(Archive(path)) as file:
        Archiving(log, file).run_to_head()
        path.parent.rename(tmp_path / "aside")
        with pytest.raises(ArchiveUnusable, match="start the archive again"):
            Archiving(log, file).run_once()
    archive_all(log, path)
    assert len(archived(path)) == 1


@pytest.mark.needs("strace")
def test_each_batch_is_on_disk_before_the_next(log: EventLog, url: str, path: Path, tmp_path: Path) -> None:
    """Trimming relies on it. Three batches, so three times its write-ahead log is synced, or more."""
    for number in range(9):
        publish(log, a_parcel_sent(number))
    calls = tmp_path / "calls"
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(calls)]
    command = [sys.executable, archive_process.__file__, url, str(path), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*trace, *command], env=environment, cwd=ROOT, check=True)
    assert len(archived(path)) == 9
    assert calls.read_text().count("archive.db-wal") >= 3


def test_killed_at_every_statement_it_keeps_each_entry_once(
    log: EventLog, url: str, client: redis.Redis, path: Path
) -> None:
    """SIGKILL before each statement that writes; the next process goes on where the last commit was."""
    for number in range(7):
        publish(log, a_parcel_sent(number))
        add_foreign(client)
    kills = 0
    while True:
        crash_before = kills % 9 + 1
        ended = subprocess.run(
            [sys.executable, archive_process.__file__, url, path, str(crash_before)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            check=False,
        ).returncode
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
        assert kills < 60
        with closing(Archive(path)) as file:
            end = file.checkpoint()
        assert len(archived(path)) == end.sequence
    assert archived(path) == raw_entries(client)
    assert kills >= 9
