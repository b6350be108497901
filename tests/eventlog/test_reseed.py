"""After Redis lost everything, `eventlog reseed` makes it the same log again; or refuses, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from eventlog import START, Command, EventLog, Moment, Position, ProjectionFile, Published, Subscription
from eventlog.archive import Archive
from eventlog.archive_chain import COMMAND_COLUMNS, NO_COMMANDS, add_commands, read_seal, write_seal
from eventlog.archive_reader import ArchiveReader
from eventlog.archiving import ARCHIVE_NAME
from eventlog.cli import main
from eventlog.codec import Entry
from eventlog.continuity import NumberedEntry, Verdict
from eventlog.errors import CommandReused, Conflict, ReseedRefused, WrongLog
from eventlog.follower import moved_over
from eventlog.reader_report import REPORT_IDLE_EVERY_S
from eventlog.reseed import COUNTER_MARGIN, reseed
from eventlog.tail_status import TailState, TailStatusFile
from tests.eventlog.conftest import emptied_url
from tests.eventlog.log_contract import META, STREAM, add_foreign, everything, give_id, moment, publish
from tests.eventlog.parcels import a_parcel_sent, make_codec, make_post
from tests.eventlog.test_archive import archive_all, archived, damage_by, raw_entries, trim
from tests.eventlog.test_tail import wait_until
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
STAGED = "{event-stream}:reseed:"


def staged(client: redis.Redis) -> list[bytes]:
    """Keys of runs that are not over."""
    return [key for key in everything(client) if b":reseed" in key]


def seal(file: sqlite3.Connection) -> None:
    """As the archive does with what it keeps beside the entries."""
    known = read_seal(file)
    assert known is not None
    commands = file.execute(f"SELECT {COMMAND_COLUMNS} FROM commands")
    write_seal(file, known._replace(commands=add_commands(NO_COMMANDS, commands, ())))


class Lost:
    """A log of four entries with all that belongs to it, its archive, a projection; and a Redis that lost it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.path = folder / ARCHIVE_NAME
        self.client = redis.Redis.from_url(url, protocol=2)
        self.log = EventLog.connect(url, make_codec(), archive=self.path)
        self.named = Command("ada\nkey-1", "sent 2", named=True)
        self.unnamed = Command("made here", "sent 3")
        self.log_id = self.log.create()
        publish(self.log, a_parcel_sent(1), touches=["parcel-1"])
        self.old_decision = moment(self.log)
        self.number = 42
        self.client.hset(META, "next:parcels", self.number)
        self.answer = publish(
            self.log, a_parcel_sent(2), a_parcel_sent(3), command=self.named, result=str(self.number)
        )
        add_foreign(self.client)
        publish(self.log, a_parcel_sent(4), command=self.unnamed)
        self.entries = raw_entries(self.client)
        self.state = self.log.state()
        archive_all(self.log, self.path)
        self.follow()

    @property
    def end(self) -> Moment:
        return Moment(self.log_id, self.state.end)

    def follow(self) -> int:
        with closing(ProjectionFile(self.folder / "post", make_post())) as file:
            Subscription(self.log, file).run_to_head()
            return file.checkpoint().sequence

    def reseed(self, *options: str) -> Result:
        return CliRunner().invoke(
            main, ["reseed", "--redis-url", self.url, "--data-dir", str(self.folder), *options]
        )

    def close(self) -> None:
        self.log.close()
        self.client.close()


@pytest.fixture(params=["embedded_server", "path_server"])
def lost(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lost]:
    """On each kind of server."""
    lost = Lost(emptied_url(request.getfixturevalue(request.param)), tmp_path)
    lost.client.flushall()
    yield lost
    lost.close()


@pytest.fixture
def kept(url: str, tmp_path: Path) -> Iterator[Lost]:
    """The same, and nothing is lost yet."""
    with closing(Lost(url, tmp_path)) as kept:
        yield kept


def test_it_is_the_same_log_for_whoever_followed_it(lost: Lost) -> None:
    done = lost.reseed()
    assert (done.exit_code, f"log {lost.log_id} is back: 5 entries" in done.output) == (0, True)
    assert raw_entries(lost.client) == lost.entries
    now = lost.log.state()
    assert now.floor == now.end, "what was decided before is decided again"
    assert now._replace(last_position=START, floor=lost.state.floor) == lost.state._replace(
        last_position=START
    )
    assert lost.log.create() == lost.log_id
    assert staged(lost.client) == []
    publish(lost.log, a_parcel_sent(9), decided_at=lost.end, guards=["parcel-1"])
    assert lost.follow() == 6
    archive_all(lost.log, lost.path)
    assert archived(lost.path) == raw_entries(lost.client)


def test_named_command_is_answered_as_the_first_time(lost: Lost) -> None:
    assert lost.reseed().exit_code == 0
    again = publish(lost.log, a_parcel_sent(2), decided_at=lost.end, command=lost.named, result="other")
    assert again == lost.answer._replace(replayed=True)
    record = lost.log.find_command(lost.named, log_id=lost.log_id)
    assert record is not None
    assert record.result == str(lost.number)
    with pytest.raises(CommandReused):
        publish(lost.log, decided_at=lost.end, command=lost.named._replace(fingerprint="other"))


def test_named_command_is_remembered_no_longer_than_it_was(lost: Lost) -> None:
    """One of an hour ago for 23 hours, one of a day ago not at all; beside them the log's own."""
    hour_ms = 3_600_000
    with closing(sqlite3.connect(lost.path)) as file, file:
        now_ms = lost.answer.position.milliseconds
        row = "INSERT INTO commands VALUES (?, ?, 1, 'fingerprint', 'result')"
        for age_h in (1, 25):
            file.execute(row, (f"{age_h}", (now_ms - age_h * hour_ms).to_bytes(8) + bytes(8)))
        seal(file)
    assert json.loads(lost.reseed("--json").output)["commands_remembered"] == 2
    left_ms: Any = lost.client.pttl("{event-stream}:command:1")
    assert 22 * hour_ms < left_ms <= 23 * hour_ms
    assert lost.client.exists("{event-stream}:command:25") == 0


def test_records_outlive_two_losses(lost: Lost) -> None:
    """An archive that was made of the log written back has them too."""
    assert lost.reseed().exit_code == 0
    lost.path.unlink()
    archive_all(lost.log, lost.path)
    lost.client.flushall()
    assert lost.reseed().exit_code == 0
    assert publish(lost.log, decided_at=lost.end, command=lost.named).replayed


def test_ids_given_out_behind_the_archive_are_not_given_again(lost: Lost) -> None:
    assert lost.reseed().exit_code == 0
    assert give_id(lost.log) == lost.number + COUNTER_MARGIN + 1


@pytest.mark.parametrize("ahead_ms", [0, 10**12], ids=["", "ids ahead of the clock"])
def test_positions_given_out_behind_the_archive_are_not_given_again(kept: Lost, ahead_ms: int) -> None:
    add_foreign(kept.client, str(Position(kept.state.end.milliseconds + 1 + ahead_ms, 5)))
    archive_all(kept.log, kept.path)
    gone = publish(kept.log, a_parcel_sent(9))
    kept.client.flushall()
    assert kept.reseed().exit_code == 0
    assert publish(kept.log, a_parcel_sent(9)).position > gone.position


def test_older_decision_is_made_again(lost: Lost) -> None:
    """What it stood on may have changed: which subjects were touched is lost."""
    assert lost.reseed().exit_code == 0
    with pytest.raises(Conflict):
        publish(lost.log, decided_at=lost.old_decision, guards=["parcel-1"])


def test_again_it_does_nothing(lost: Lost) -> None:
    assert lost.reseed().exit_code == 0
    publish(lost.log, decided_at=lost.end)
    before = everything(lost.client)
    again = lost.reseed()
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)
    assert everything(lost.client) == before
    assert json.loads(lost.reseed("--json").output) == {
        "log_id": lost.log_id,
        "position": str(lost.state.end),
        "sequence": 5,
        "entries_written": 0,
        "commands_remembered": 0,
        "entries_kept": 0,
        "renumbered": 0,
        "dropped": 0,
        "first_dropped": [],
    }


def test_trimmed_log_comes_back_whole(kept: Lost) -> None:
    trim(kept.client, 3)
    kept.client.flushall()
    assert kept.reseed().exit_code == 0
    assert raw_entries(kept.client) == kept.entries
    assert kept.log.state().trimmed == 0


def test_stream_alone_lost_keeps_counters_that_are_further(kept: Lost) -> None:
    number = 10 * COUNTER_MARGIN
    kept.client.hset(META, "next:parcels", number)
    kept.client.delete(STREAM)
    assert kept.reseed().exit_code == 0
    assert raw_entries(kept.client) == kept.entries
    assert give_id(kept.log) == number + 1


def test_empty_log_made_meanwhile_gives_way(lost: Lost) -> None:
    lost.log.create()
    assert lost.reseed().exit_code == 0
    assert lost.log.state().log_id == lost.log_id


def entry_deleted(kept: Lost) -> None:
    kept.client.xdel(STREAM, kept.entries[2].id)


def meta_damaged(kept: Lost) -> None:
    kept.client.hset(META, "sequence", "abc")


@pytest.mark.parametrize("damage", [entry_deleted, meta_damaged])
def test_log_that_is_not_whole_is_replaced_on_demand(damage: Callable[[Lost], None], kept: Lost) -> None:
    damage(kept)
    aside, before = raw_entries(kept.client), everything(kept.client)
    refused = kept.reseed()
    assert (refused.exit_code, "`eventlog reseed --replace`" in refused.output) == (1, True), refused.output
    assert everything(kept.client) == before
    done = kept.reseed("--replace")
    assert done.exit_code == 0, done.output
    assert raw_entries(kept.client) == kept.entries
    assert raw_entries(kept.client, f"{STREAM}-aside") == aside
    assert kept.log.state().missing == 0
    assert "nothing to do" in kept.reseed("--replace").output
    publish(kept.log, a_parcel_sent(9), decided_at=kept.end)
    assert kept.follow() == 6


def written_since(kept: Lost) -> None:
    publish(kept.log, a_parcel_sent(9))


def restored_with_another_entry(kept: Lost) -> None:
    """As a replica that was behind when it took over."""
    kept.client.delete(STREAM)
    for entry in kept.entries[:2]:
        kept.client.execute_command("XADD", STREAM, entry.id, *entry.fields)  # type: ignore[no-untyped-call]  # redis-py left it so
    kept.client.execute_command("XADD", STREAM, kept.entries[2].id, "other", "content")  # type: ignore[no-untyped-call]  # redis-py left it so


def aside_taken(kept: Lost) -> None:
    kept.client.set(f"{STREAM}-aside", "text")


@pytest.mark.parametrize(
    ("hinder", "said"),
    [
        (written_since, r"the log goes on to .*`eventlog archive --once`"),
        (restored_with_another_entry, r"Redis has another entry at \d+-\d+"),
        (aside_taken, r"key 'event-stream-aside' is in the way"),
    ],
)
def test_nothing_is_replaced_that_would_be_lost(
    hinder: Callable[[Lost], None], said: str, kept: Lost
) -> None:
    entry_deleted(kept)
    hinder(kept)
    before = everything(kept.client)
    refused = kept.reseed("--replace")
    assert refused.exit_code == 1
    assert pytest.raises(AssertionError, match=said).matches(AssertionError(refused.output)), refused.output
    assert everything(kept.client) == before


def test_longest_of_two_archives_is_taken(kept: Lost, tmp_path: Path) -> None:
    publish(kept.log, a_parcel_sent(9))
    longer = tmp_path / "elsewhere" / "longer.db"
    archive_all(kept.log, longer)
    entries = raw_entries(kept.client)
    kept.client.flushall()
    assert kept.reseed("--archive", str(kept.path), "--archive", str(longer)).exit_code == 0
    assert raw_entries(kept.client) == entries


# What it refuses


def new_writes(lost: Lost) -> None:
    lost.log.create()
    publish(lost.log, a_parcel_sent(50))


def foreign_writes(lost: Lost) -> None:
    add_foreign(lost.client)


def another_logs_meta(lost: Lost) -> None:
    lost.client.hset(META, mapping={"log_id": "f" * 32, "sequence": 3})


def meta_further(lost: Lost) -> None:
    lost.client.hset(META, mapping={"log_id": lost.log_id, "sequence": 7})


def another_kind_of_key(lost: Lost) -> None:
    lost.client.set(STREAM, "text")


def meta_of_another_kind(lost: Lost) -> None:
    lost.client.set(META, "text")


def damaged_meta(lost: Lost) -> None:
    add_foreign(lost.client)
    lost.client.hset(META, mapping={"log_id": lost.log_id, "sequence": "abc"})


def checkpoint_set(sql: str) -> Callable[[Lost], None]:
    def damage(lost: Lost) -> None:
        (file,) = lost.folder.joinpath("post").rglob("projection.db")
        damage_by(f"UPDATE checkpoint SET {sql}")(file)

    return damage


def two_further(lost: Lost) -> None:
    checkpoint_set("sequence = 8, position = '99-0'")(lost)
    shutil.copytree(lost.folder / "post", lost.folder / "post2", symlinks=True)


def archive_damaged(sql: str) -> Callable[[Lost], None]:
    return lambda lost: damage_by(sql)(lost.path)


def archive_gone(lost: Lost) -> None:
    lost.path.unlink()


REFUSALS = [
    (
        new_writes,
        r"has 1 entry, from \d+-0 to \d+-0: nothing is written over them.*XRANGE event-stream.*RENAMENX",
    ),
    (foreign_writes, r"has 1 entry"),
    (another_logs_meta, r"log f{32} was here"),
    (meta_further, r"counts 7 entries and the archive has 5: 2 would be lost"),
    (
        another_kind_of_key,
        r"key 'event-stream' is in the way: `redis-cli RENAME 'event-stream' 'event-stream-",
    ),
    (meta_of_another_kind, r"key '\{event-stream\}:meta' is in the way: `redis-cli RENAME"),
    (damaged_meta, r"has 1 entry.* of this log, .*`eventlog reseed --replace`"),
    (
        checkpoint_set("sequence = 8, position = '99-0'"),
        r"post.*v1 has applied 8 .*: 3 would be lost",
    ),
    (
        two_further,
        r"post.v1 has applied 8 .*; .*post2.v1 has applied 8 .*: 3 would be lost.*`rm -r \S+post\S* \S+post2",
    ),
    (checkpoint_set("digest = 'x'"), r"post.*v1 and .* disagree on entry number 5"),
    (checkpoint_set("log_id = 'x'"), r"post.*v1 is of log x"),
    (archive_damaged("DELETE FROM entries WHERE sequence = 2"), r"entry number 2 is missing"),
    (archive_damaged("DELETE FROM entries WHERE sequence = 5"), r"entry number 5 is missing"),
    (archive_damaged("DELETE FROM checkpoint"), r"not an archive"),
    (archive_gone, r"there is no archive"),
]


@pytest.mark.parametrize(("hinder", "said"), REFUSALS, ids=[said for _, said in REFUSALS])
def test_refused_with_nothing_changed(kept: Lost, hinder: Callable[[Lost], None], said: str) -> None:
    kept.client.flushall()
    hinder(kept)
    before = everything(kept.client)
    refused = kept.reseed()
    assert refused.exit_code == 1
    assert pytest.raises(AssertionError, match=said).matches(AssertionError(refused.output)), refused.output
    assert "Traceback" not in refused.output
    assert everything(kept.client) == before


@pytest.mark.parametrize("longer", [False, True], ids=["of one length", "one longer"])
def test_archives_that_disagree_are_refused_and_the_first_entry_is_named(
    kept: Lost, tmp_path: Path, longer: bool
) -> None:
    """Each is as it was written, of a log of this id; they are of two histories that parted at the third entry."""
    other = tmp_path / "elsewhere" / "other.db"
    with closing(Archive(other)) as file:
        entries = [
            NumberedEntry(entry, number, foreign=False) for number, entry in enumerate(kept.entries, 1)
        ]
        changed = Entry(entries[2].entry.id, [b"a", b"b"])
        entries[2] = NumberedEntry(changed, 3, foreign=False)
        before = file.checkpoint()
        after = moved_over(before, entries)._replace(log_id=kept.log_id)
        kept_meta = ArchiveReader(kept.path).kept()
        file.commit(before, after, entries, kept_meta, forget_commands_before=START)
    if longer:
        publish(kept.log, a_parcel_sent(9))
        archive_all(kept.log, kept.path)
    kept.client.flushall()
    refused = kept.reseed("--archive", str(kept.path), "--archive", str(other))
    assert refused.exit_code == 1
    assert f"disagree on entry number 3, at {changed.position}" in refused.output
    assert everything(kept.client) == {}


def test_refused_where_memory_is_too_small_with_nothing_left(kept: Lost) -> None:
    kept.client.flushall()
    kept.client.config_set("maxmemory", 1)
    refused = kept.reseed()
    assert (refused.exit_code, "give Redis more memory" in refused.output) == (1, True)
    kept.client.config_set("maxmemory", 0)
    assert everything(kept.client) == {}
    assert kept.reseed().exit_code == 0


def test_weak_redis_is_refused(kept: Lost) -> None:
    kept.client.flushall()
    kept.client.config_set("appendfsync", "everysec")
    refused = kept.reseed()
    assert (refused.exit_code, "appendfsync" in refused.output) == (1, True)


def test_init_makes_no_log_where_the_archive_remembers_one(lost: Lost) -> None:
    for file in lost.folder.joinpath("post").rglob("projection.db"):
        file.unlink()
    refused = CliRunner().invoke(main, ["init", "--redis-url", lost.url, "--data-dir", str(lost.folder)])
    assert (refused.exit_code, "eventlog reseed" in refused.output) == (1, True)
    assert everything(lost.client) == {}


# While it runs


@pytest.fixture
def long(url: str, tmp_path: Path) -> Iterator[Lost]:
    """Enough entries for what happens while they are written back."""
    with closing(Lost(url, tmp_path)) as lost:
        for _ in range(40):
            pipeline = lost.client.pipeline(transaction=False)
            for number in range(1000):
                pipeline.xadd(STREAM, {"EventTypeName": "ParcelLost", "Payload": f'{{"id":{number}}}'})
            pipeline.execute()
        publish(lost.log, a_parcel_sent(5))
        lost.entries = raw_entries(lost.client)
        lost.state = lost.log.state()
        archive_all(lost.log, lost.path)
        lost.client.flushall()
        yield lost


def test_the_one_entry_that_was_changed_is_found_among_many(long: Lost) -> None:
    pipeline = long.client.pipeline(transaction=False)
    for number, entry in enumerate(long.entries, 1):
        fields = [b"EventTypeName", b"ParcelLost", b"Payload", b"{}"] if number == 35_000 else entry.fields
        pipeline.execute_command("XADD", "put aside", entry.id, *fields)  # type: ignore[no-untyped-call]  # redis-py left it so
    pipeline.execute()
    assert long.reseed().exit_code == 0
    long.client.rename("put aside", STREAM)
    refused = long.reseed()
    assert refused.exit_code == 1
    assert f"entry number 35000, at {long.entries[34_999].position}, is not in Redis" in refused.output
    done = json.loads(long.reseed("--replace", "--json").stdout)
    assert (done["entries_written"], done["dropped"]) == (40_006, 1)
    assert raw_entries(long.client) == long.entries


def start_one(lost: Lost, command: str = "reseed") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c", "from eventlog.cli import main; main()", command),
            *("--redis-url", lost.url, "--data-dir", str(lost.folder)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def start(lost: Lost) -> subprocess.Popen[str]:
    """In a process, with some of the entries written when this returns."""
    process = start_one(lost)
    wait_until(lambda: bool(lost.client.keys(f"{STAGED}*")) or process.poll() is not None)
    return process


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_ended_before_the_switch_it_has_changed_nothing(long: Lost, ended_by: signal.Signals) -> None:
    process = start(long)
    process.send_signal(ended_by)
    said, _ = process.communicate(timeout=NEVER_S)
    assert long.client.exists(STREAM, META) == 0
    if ended_by is signal.SIGINT:
        assert (process.returncode, said.splitlines()[-1]) == (
            130,
            "Interrupted: nothing is half done.",
        )
        assert everything(long.client) == {}
    assert long.reseed().exit_code == 0
    assert raw_entries(long.client) == long.entries
    assert staged(long.client) == []


def test_no_publisher_meets_a_half_restored_log(long: Lost) -> None:
    """Whoever tries all the while is refused until the log is back, and is then the next."""
    attempts: list[Verdict] = []
    published: list[Published] = []

    def try_again() -> None:
        while not published:
            try:
                published.append(publish(long.log, a_parcel_sent(77), decided_at=long.end))
            except WrongLog as wrong:
                attempts.append(wrong.verdict)

    publisher = threading.Thread(target=try_again)
    publisher.start()
    process = start(long)
    said, _ = process.communicate(timeout=NEVER_S)
    publisher.join(30)
    assert process.returncode == 0, said
    assert set(attempts) == {Verdict.REPLACED}
    assert raw_entries(long.client)[:-1] == long.entries
    assert published[0].sequence == long.state.sequence + 1
    assert long.follow() == published[0].sequence


def test_archive_that_ends_early_meanwhile_is_told_from_a_run_that_stood_still(
    long: Lost, tmp_path: Path
) -> None:
    @contextmanager
    def cut_short(what: str) -> Iterator[Callable[[int, int], None]]:
        def cut(done: int, total: int) -> None:
            if what == "writing back" and done == 1000:
                damage_by("DELETE FROM entries WHERE sequence > 2500")(long.path)

        yield cut

    with pytest.raises(
        ReseedRefused, match="gave 2500 of its 40006 entries: `eventlog archive --check` says"
    ):
        reseed(long.log, [long.path], tmp_path, progress=cut_short)
    assert everything(long.client) == {}


def test_new_write_while_it_runs_is_not_written_over(long: Lost) -> None:
    process = start(long)
    add_foreign(long.client)
    said, _ = process.communicate(timeout=NEVER_S)
    assert (process.returncode, "has 1 entry" in said) == (1, True)
    assert long.client.xlen(STREAM) == 1
    assert staged(long.client) == []


@pytest.mark.parametrize(
    ("times", "noticed"),
    [(1, True), (2, True), (1, False)],
    ids=["halted", "halted once more, with nothing written in between", "before it could halt"],
)
def test_readers_are_known_again_before_they_would_say_so_by_themselves(
    kept: Lost, times: int, noticed: bool
) -> None:
    status = TailStatusFile(kept.path.parent)
    process = start_one(kept, "archive")
    try:
        wait_until(lambda: bool(kept.log.readers.list_all()))
        (first,) = kept.log.readers.list_all()
        for _ in range(times):
            if not noticed:
                process.send_signal(signal.SIGSTOP)
            kept.client.flushall()
            if noticed:
                wait_until(lambda: status.read().state is TailState.HALTED)
            assert kept.reseed().exit_code == 0
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: bool(kept.log.readers.list_all()))
            (again,) = kept.log.readers.list_all()
            assert (again.name, again.sequence) == (first.name, first.sequence)
            assert (again.seen_at - first.seen_at).total_seconds() < REPORT_IDLE_EVERY_S
    finally:
        process.terminate()
        process.communicate(timeout=NEVER_S)


# Beside another


def answers(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    said = [process.communicate(timeout=NEVER_S)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.parametrize("attempt", range(4))
def test_of_three_at_once_one_writes_the_log_back_and_the_others_say_so(long: Lost, attempt: int) -> None:
    processes = [start_one(long) for _ in range(3)]
    outcomes = answers(processes)
    wrote = [text for code, text in outcomes if code == 0 and "is back" in text]
    gave_way = [text for code, text in outcomes if code == 1 and "another reseed is running, since 2" in text]
    came_late = [text for code, text in outcomes if code == 0 and "nothing to do" in text]
    assert (len(wrote), len(gave_way) + len(came_late)) == (1, 2), outcomes
    assert raw_entries(long.client) == long.entries
    assert staged(long.client) == []
    assert long.client.ttl(STREAM) == -1, "what is staged expires; the log does not"
    assert long.client.ttl("{event-stream}:named-commands") == -1


def test_one_that_stood_still_gives_way_and_the_next_is_not_held_up(long: Lost) -> None:
    """Paused for longer than its place is kept for it; what it staged is gone by then, and it stages no more."""
    paused = start(long)
    paused.send_signal(signal.SIGSTOP)
    assert long.reseed().exit_code == 0
    paused.send_signal(signal.SIGCONT)
    ((code, said),) = answers([paused])
    assert (code, "nothing to do" in said) == (0, True), said
    assert raw_entries(long.client) == long.entries
    assert staged(long.client) == []
