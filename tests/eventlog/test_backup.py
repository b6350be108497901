"""A backup is one whole file of one moment, and is served again only over the log that it is of."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from eventlog import EventLog, Projection, ProjectionReader
from eventlog.backup import BackupRefused, back_up, restore
from eventlog.errors import LogUnavailable, NotBuilt
from eventlog.generations import Generations, home_of
from eventlog.rebuild import catch_up
from eventlog.tail import switch_generation
from tests.eventlog.log_contract import META, STREAM, publish
from tests.eventlog.parcels import TABLES, ParcelLost, make_codec, make_post
from tests.eventlog.running_tail import running, wait_until
from tests.eventlog.served_post import (
    acknowledge,
    add_unreadable,
    damage,
    generation_numbers,
    rows_of,
    seen,
    send_parcels,
    sequence_of,
    serve,
    served_number,
)
from tests.fake_redis import fake_pool
from tests.make_run import NEVER_S

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pool() -> redis.ConnectionPool:
    pool: redis.ConnectionPool = fake_pool()
    return pool


@pytest.fixture
def post(tmp_path: Path) -> Path:
    """The projection's directory."""
    return tmp_path / "data" / "post"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where backups are kept."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


@pytest.fixture
def backup(log: EventLog, client: redis.Redis, post: Path, kept: Path) -> Path:
    """Of 300 parcels and an entry that was parked and acknowledged."""
    send_parcels(log, 1, 300)
    add_unreadable(client)
    serve(log, post)
    acknowledge(post, 301)
    back_up(post, make_post(), kept / "post.db")
    return kept / "post.db"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def restore_whole(log: EventLog, directory: Path, backup: Path) -> Path:
    """As the command does it."""
    generation, _ = restore(log, directory, make_post(), backup)
    with suppress(NotBuilt):  # nothing that can be read is served: the switch goes to the head
        catch_up(log, directory, make_post(), generation, lambda _done, _total: None)
    assert switch_generation(log, directory, make_post(), generation, NEVER_S)
    return generation


# Taking one


def test_backup_is_one_file_of_what_is_served(log: EventLog, post: Path, kept: Path, backup: Path) -> None:
    assert files_in(kept) == ["post.db"]
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in TABLES:
            found = copy.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {table.key}"
            ).fetchall()
            assert found == rows_of(post)[table.name]
        assert copy.execute("SELECT sequence, acknowledged_at FROM parked").fetchall() == [(301, *seen(post))]
    assert files_in(kept) == ["post.db"]


def test_backup_answers_how_far_it_is(log: EventLog, post: Path, kept: Path) -> None:
    send_parcels(log, 1, 5)
    assert back_up(post_served(log, post), make_post(), kept / "post.db").position == log.state().end


def post_served(log: EventLog, directory: Path) -> Path:
    serve(log, directory)
    return directory


def test_backups_taken_while_a_tail_writes_are_each_of_one_moment(
    log: EventLog, post: Path, kept: Path
) -> None:
    """As many parcels as the checkpoint says, and what customers have is what was sent."""
    stop = threading.Event()

    def publish_on() -> None:
        number = 0
        while not stop.is_set():
            send_parcels(log, number + 1, number + 10)
            number += 10

    thread = threading.Thread(target=publish_on)
    with running(log, post):
        thread.start()
        try:
            reached = []
            for number in range(6):
                before = sequence_of(post)
                wait_until(lambda before=before: sequence_of(post) > before)  # type: ignore[misc]  # of this round
                reached.append(back_up(post, make_post(), kept / f"{number}.db").sequence)
        finally:
            stop.set()
            thread.join(20)
    for number, sequence in enumerate(reached):
        with closing(sqlite3.connect(kept / f"{number}.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert copy.execute("SELECT sequence FROM checkpoint").fetchone() == (sequence,)
            assert copy.execute("SELECT count(*), sum(weight_g) FROM parcels").fetchone() == (
                sequence,
                sequence * (sequence + 1) // 2,
            )
            assert copy.execute("SELECT sum(parcels) FROM customers").fetchone() == (sequence,)
    assert reached == sorted(set(reached))


def test_nothing_served_is_nothing_to_back_up(post: Path, kept: Path) -> None:
    with pytest.raises(NotBuilt, match="not there yet"):
        back_up(post, make_post(), kept / "post.db")
    assert files_in(kept) == []


def test_damaged_file_is_not_backed_up(log: EventLog, post: Path, kept: Path) -> None:
    send_parcels(log, 1, 300)
    serve(log, post)
    damage(Generations(post, make_post()).served_file)
    with pytest.raises(NotBuilt, match="is damaged"):
        back_up(post, make_post(), kept / "post.db")
    assert files_in(kept) == []


def test_file_that_is_there_is_not_overwritten(post: Path, kept: Path, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(BackupRefused, match="is there already: give another name, or delete it"):
        back_up(post, make_post(), backup)
    assert (backup.read_bytes(), files_in(kept)) == (before, ["post.db"])


def missing(kept: Path) -> Path:
    return kept / "no" / "post.db"


def in_a_file(kept: Path) -> Path:
    (kept / "no").touch()
    return kept / "no" / "post.db"


def where_nothing_can_be_made(_kept: Path) -> Path:
    return Path("/proc/post.db")


def with_a_name_too_long(kept: Path) -> Path:
    return kept / ("x" * 255)


@pytest.mark.parametrize("place", [missing, in_a_file, where_nothing_can_be_made, with_a_name_too_long])
def test_file_that_cannot_be_written_is_named_with_the_reason(
    log: EventLog, post: Path, kept: Path, place: Callable[[Path], Path]
) -> None:
    serve(log, post)
    to = place(kept)
    before = files_in(kept)
    with pytest.raises(BackupRefused, match="cannot be written: ") as refused:
        back_up(post, make_post(), to)
    assert str(to) in str(refused.value)
    assert files_in(kept) == before


def test_what_a_killed_backup_left_is_no_obstacle(
    log: EventLog, post: Path, kept: Path, backup: Path
) -> None:
    backup.rename(kept / ".again.db.unfinished")
    (kept / ".again.db.unfinished-journal").write_bytes(b"x" * 5000)
    back_up(post, make_post(), kept / "again.db")
    assert files_in(kept) == ["again.db"]
    restore_whole(log, post, kept / "again.db")


@pytest.mark.processes
def test_full_disk_leaves_no_file(log: EventLog, post: Path, kept: Path) -> None:
    """The disk takes 64 KiB of a file and no more."""
    send_parcels(log, 1, 5000)
    serve(log, post)
    backing_up = (
        "import signal, sys; from pathlib import Path; from eventlog.backup import back_up;"
        "from tests.eventlog.parcels import make_post; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "back_up(Path(sys.argv[1]), make_post(), Path(sys.argv[2]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", backing_up, post, kept / "post.db"],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BackupRefused" in ended.stderr
    assert "cannot be written" in ended.stderr
    assert files_in(kept) == []


# Serving one again


def test_restored_backup_is_served_brought_up_to_now_and_followed(
    log: EventLog, post: Path, backup: Path
) -> None:
    send_parcels(log, 301, 350)
    serve(log, post)
    before, at = rows_of(post), seen(post)[0]
    generation = restore_whole(log, post, backup)
    assert served_number(post) == int(generation.name) == 2
    assert rows_of(post) == before
    assert seen(post) == [at]
    send_parcels(log, 351, 360)
    assert serve(log, post).sequence == 361
    assert len(rows_of(post)["parcels"]) == 360


def test_restore_says_how_far_the_backup_was(log: EventLog, post: Path, backup: Path) -> None:
    send_parcels(log, 301, 350)
    _, checkpoint = restore(log, post, make_post(), backup)
    assert checkpoint.sequence == 301


def test_backup_is_restored_under_a_running_tail(log: EventLog, post: Path, backup: Path) -> None:
    with running(log, post):
        last = send_parcels(log, 301, 310)
        assert ProjectionReader(post, make_post()).wait_until_applied(last, NEVER_S)
        restore_whole(log, post, backup)
        last = send_parcels(log, 311, 320)
        assert ProjectionReader(post, make_post()).wait_until_applied(last, NEVER_S)
    assert (served_number(post), len(rows_of(post)["parcels"])) == (2, 320)


def test_backup_is_restored_where_all_was_lost(
    log: EventLog, post: Path, backup: Path, tmp_path: Path
) -> None:
    send_parcels(log, 301, 305)
    before = rows_of(post_served(log, post))
    post.rename(tmp_path / "lost")
    restore_whole(log, post, backup)
    assert rows_of(post) == before


def test_backup_is_restored_where_the_file_is_damaged(log: EventLog, post: Path, backup: Path) -> None:
    before = rows_of(post)
    damage(Generations(post, make_post()).served_file)
    restore_whole(log, post, backup)
    assert rows_of(post) == before


def test_backup_that_is_ahead_of_what_is_served_is_restored(
    log: EventLog, post: Path, backup: Path, tmp_path: Path
) -> None:
    """The tail builds anew what was lost, and is not far yet."""
    before = rows_of(post)
    post.rename(tmp_path / "lost")
    serve(log, post, up_to=log.read()[9].position)
    restore_whole(log, post, backup)
    assert rows_of(post) == before
    assert sequence_of(post) == 301


def test_empty_backup_of_a_new_projection_is_restored(log: EventLog, post: Path, kept: Path) -> None:
    send_parcels(log, 1, 3)
    serve(log, post, up_to=log.read()[0].position)
    first = back_up(post, make_post(), kept / "first.db")
    assert first.sequence == 1
    serve(log, post)
    restore_whole(log, post, kept / "first.db")
    assert len(rows_of(post)["parcels"]) == 3


def test_backup_itself_stays_as_it_is(log: EventLog, post: Path, kept: Path, backup: Path) -> None:
    content = backup.read_bytes()
    send_parcels(log, 301, 305)
    serve(log, post)
    restore_whole(log, post, backup)
    assert (backup.read_bytes(), files_in(kept)) == (content, ["post.db"])


# Refusing one


def truncate(backup: Path) -> None:
    with backup.open("r+b") as file:
        file.truncate(backup.stat().st_size * 2 // 3)


def empty(backup: Path) -> None:
    backup.write_bytes(b"")


def cut_off_all_but_a_page(backup: Path) -> None:
    with backup.open("r+b") as file:
        file.truncate(4096)


def flip_bytes(backup: Path) -> None:
    """One in fifty, everywhere but in the first page."""
    chance, content = random.Random(4), bytearray(backup.read_bytes())
    for at in range(4096, len(content), 50):
        content[at + chance.randrange(50) if at + 50 < len(content) else at] ^= 0xFF
    backup.write_bytes(content)


def flip_a_page_header(backup: Path) -> None:
    with backup.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 8)


def take_the_checkpoint_out(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("DELETE FROM checkpoint")
        connection.commit()


def make_another_programs_file(backup: Path) -> None:
    backup.unlink()
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.commit()


def rename_projection(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("UPDATE checkpoint SET projection = 'letters'")
        connection.commit()


def raise_version(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("UPDATE checkpoint SET version = 2")
        connection.commit()


def add_a_trigger(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON parcels BEGIN DELETE FROM customers; END")


def drop_a_table(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("DROP TABLE parcels")


def make_no_database(backup: Path) -> None:
    backup.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize(
    "harm",
    [
        truncate,
        empty,
        cut_off_all_but_a_page,
        damage,
        flip_bytes,
        flip_a_page_header,
        take_the_checkpoint_out,
        make_another_programs_file,
        rename_projection,
        raise_version,
        make_no_database,
        add_a_trigger,
        drop_a_table,
    ],
)
def test_file_that_is_no_whole_backup_of_this_projection_is_refused(
    log: EventLog, post: Path, backup: Path, harm: Callable[[Path], None]
) -> None:
    harm(backup)
    content, before = backup.read_bytes(), rows_of(post)
    with pytest.raises(BackupRefused, match=r"is no backup of post that this code can use: .") as refused:
        restore(log, post, make_post(), backup)
    assert str(refused.value).startswith(str(backup))
    assert str(post) not in str(refused.value)
    assert (generation_numbers(post), served_number(post), rows_of(post)) == ([1], 1, before)
    assert backup.read_bytes() == content


def test_backup_that_passed_over_what_this_code_handles_is_refused(
    log: EventLog, post: Path, kept: Path
) -> None:
    publish(log, ParcelLost(id=1))
    serve(log, post, Projection("post", 1, TABLES))
    back_up(post, Projection("post", 1, TABLES), kept / "post.db")
    with pytest.raises(BackupRefused, match="passed over ParcelLost, which this code handles"):
        restore(log, post, make_post(), kept / "post.db")


def test_backup_that_is_not_there_is_named(log: EventLog, post: Path, kept: Path) -> None:
    for path in (kept / "nothing.db", kept):
        with pytest.raises(BackupRefused, match="is not there"):
            restore(log, post, make_post(), path)
    assert not post.exists()


def test_backup_of_another_log_is_refused(
    log: EventLog, client: redis.Redis, post: Path, backup: Path
) -> None:
    client.delete(STREAM, META)
    log.create()
    send_parcels(log, 1, 400)
    with pytest.raises(
        BackupRefused, match=r"does not fit this log: the log is .*; the checkpoint is of log"
    ):
        restore(log, post, make_post(), backup)
    assert generation_numbers(post) == [1]


def test_backup_of_entries_that_the_log_has_not_got_is_refused(
    log: EventLog, client: redis.Redis, post: Path, kept: Path
) -> None:
    """Redis was restored from an older backup than this one; then written on."""
    send_parcels(log, 1, 5)
    older = {key: client.dump(key) for key in (STREAM, META)}
    send_parcels(log, 6, 9)
    serve(log, post)
    back_up(post, make_post(), kept / "post.db")
    for key, content in older.items():
        assert isinstance(content, bytes)
        client.restore(key, 0, content, replace=True)
    for _ in range(2):
        with pytest.raises(BackupRefused, match=r"does not fit this log: .* is gone"):
            restore(log, post, make_post(), kept / "post.db")
        send_parcels(log, 6, 12)
    assert generation_numbers(post) == [1]


def test_without_its_log_nothing_is_restored_and_nothing_left(post: Path, backup: Path) -> None:
    gone = EventLog.connect("redis://127.0.0.1:1", make_codec())
    with pytest.raises(LogUnavailable):
        restore(gone, post, make_post(), backup)
    assert generation_numbers(post) == [1]


def test_prune_leaves_a_backup_alone_that_is_being_restored(
    pool: redis.ConnectionPool, post: Path, backup: Path
) -> None:
    """Its log is asked last: the file is there then, and nobody serves it."""
    generations = Generations(post, make_post())
    pruned: list[list[Path]] = []

    class PruningLog(EventLog):
        def require_same(self, checkpoint):  # type: ignore[no-untyped-def]  # as the log's
            pruned.append(generations.prune())
            super().require_same(checkpoint)

    generation, _ = restore(PruningLog(pool, make_codec()), post, make_post(), backup)
    assert pruned == [[]]
    assert sequence_of(post, generation) == 301
    assert home_of(post, make_post()) == generation.parents[1]
