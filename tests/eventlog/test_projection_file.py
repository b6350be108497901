"""One file holds rows, checkpoint and parked entries of one moment, for one projection of one version."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import Add, Insert, Position, Projection, ProjectionFile, ProjectionReader, Table, Update
from eventlog.checkpoints import Checkpoint
from eventlog.errors import CheckpointMoved, NotBuilt, TailRunning
from eventlog.found_projections import list_remembered_logs
from eventlog.generations import FILE_NAME, Generations, home_of
from eventlog.parking import Parked
from eventlog.row_changes import Change
from eventlog.tail_lock import TailLock
from tests.eventlog.parcels import TABLES, ParcelLost, make_post
from tests.make_run import NEVER_S

PARKED_AT = "2026-01-02T03:04:05.000+00:00"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "post"


@pytest.fixture
def file(directory: Path) -> Iterator[ProjectionFile]:
    file = ProjectionFile(directory, make_post())
    yield file
    file.close()


@pytest.fixture
def reader(file: ProjectionFile) -> ProjectionReader:
    return ProjectionReader(file.directory, make_post())


def a_parcel(number: int) -> Insert:
    return Insert("parcels", {"id": number, "customer_id": 7, "weight_g": 1, "lost": 0})


def parked(sequence: int) -> Parked:
    return Parked(sequence, Position(sequence, 0), "ParcelSent", "no room", PARKED_AT)


def commit(
    file: ProjectionFile, sequence: int, changes: Iterable[Change] = (), parked: Iterable[Parked] = ()
) -> Checkpoint:
    """Move the checkpoint from where it is, with these rows."""
    before = file.checkpoint()
    after = before._replace(log_id="log", position=Position(sequence, 0), sequence=sequence, digest="d")
    rows = file.pending_rows()
    rows.apply(list(changes))
    file.commit(before, after, rows, parked)
    return after


def parcels(reader: ProjectionReader) -> list[object]:
    with reader.look() as look:
        return [key for (key,) in look.query("SELECT id FROM parcels ORDER BY id")]


# All or nothing


def test_rows_parked_entries_and_checkpoint_are_there_together(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    after = commit(file, 3, [a_parcel(1), a_parcel(2)], [parked(3)])
    with reader.look() as look:
        assert look.checkpoint == file.checkpoint() == after
        assert look.find("parcels", 2) == {"id": 2, "customer_id": 7, "weight_g": 1, "lost": 0}
        assert look.find("parcels", 3) is None
        assert look.list_parked() == [parked(3)]
        assert look.count_unacknowledged() == 1


def test_checkpoint_stays_when_a_row_cannot_be_written(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    before = commit(file, 1, [a_parcel(1)])
    with closing(sqlite3.connect(file.path.resolve())) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON parcels WHEN new.id = 4 BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(sqlite3.Error, match="full"):
        commit(file, 4, [a_parcel(2), a_parcel(3), a_parcel(4)], [parked(3)])
    assert file.checkpoint() == before
    assert parcels(reader) == [1]
    with reader.look() as look:
        assert look.list_parked() == []
    commit(file, 3, [a_parcel(2), a_parcel(3)])
    assert parcels(reader) == [1, 2, 3]


def test_rows_stay_when_a_parked_entry_cannot_be_written(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    commit(file, 1, [], [parked(1)])
    with pytest.raises(sqlite3.Error, match="UNIQUE"):
        commit(file, 2, [a_parcel(2)], [parked(1)])
    assert parcels(reader) == []
    assert file.checkpoint().sequence == 1


@pytest.mark.parametrize(
    "elsewhere",
    [{"sequence": 9}, {"position": Position(9, 0)}, {"log_id": "another"}],
    ids=lambda change: next(iter(change)),
)
def test_checkpoint_moves_only_from_where_it_was_thought(
    file: ProjectionFile, reader: ProjectionReader, elsewhere: dict[str, object]
) -> None:
    here = commit(file, 1, [a_parcel(1)])
    rows = file.pending_rows()
    rows.apply([a_parcel(2)])
    with pytest.raises(CheckpointMoved, match="another tail"):
        file.commit(here._replace(**elsewhere), here._replace(sequence=2), rows, [parked(2)])  # type: ignore[arg-type]  # one of several types
    assert file.checkpoint() == here
    assert parcels(reader) == [1]


def test_file_is_there_after_it_is_closed(file: ProjectionFile) -> None:
    commit(file, 5, [a_parcel(1)])
    file.close()
    with closing(ProjectionFile(file.directory, make_post())) as again:
        assert again.checkpoint().sequence == 5
        assert again.pending_rows().find("parcels", 1) is not None


# What a batch remembers of the one before it


def test_next_batch_sees_what_another_writer_changed(file: ProjectionFile) -> None:
    """Of a row that it had looked up itself, and of keys above all that it had seen."""
    commit(file, 1, [Insert("customers", {"id": 7, "parcels": 1, "weight_g": 5})])
    commit(file, 2, [Add("customers", 7, "parcels", 1)])
    with closing(ProjectionFile(file.directory, make_post())) as other:
        commit(other, 3, [Add("customers", 7, "parcels", 1), a_parcel(100)])
    rows = file.pending_rows()
    assert rows.find("customers", 7) == {"id": 7, "parcels": 3, "weight_g": 5}
    assert rows.find("parcels", 100) is not None


def test_batch_that_was_not_committed_is_forgotten(file: ProjectionFile) -> None:
    commit(file, 1, [Insert("customers", {"id": 7, "parcels": 1, "weight_g": 5})])
    here = commit(file, 2, [Add("customers", 7, "parcels", 1)])
    rows = file.pending_rows()
    rows.apply([Add("customers", 7, "parcels", 1), a_parcel(1)])
    with pytest.raises(CheckpointMoved):
        file.commit(here._replace(sequence=9), here._replace(sequence=10), rows, [])
    assert file.pending_rows().find("customers", 7) == {"id": 7, "parcels": 2, "weight_g": 5}
    assert file.pending_rows().find("parcels", 1) is None


def test_batches_of_one_file_build_on_each_other(file: ProjectionFile) -> None:
    """More rows than are remembered, of keys that go up, down and below zero."""
    many = 12_000
    commit(file, 1, [a_parcel(number) for number in range(many)])
    commit(file, 2, [Update("parcels", number, {"lost": 1}) for number in range(many)])
    commit(file, 3, [a_parcel(-5), a_parcel(many + 5)])
    commit(file, 4, [Add("parcels", number, "weight_g", 1) for number in (0, -5, many + 5)])
    rows = file.pending_rows()
    assert [rows.find("parcels", number) for number in (0, -5, many + 5, many + 6, -6)] == [
        {"id": 0, "customer_id": 7, "weight_g": 2, "lost": 1},
        {"id": -5, "customer_id": 7, "weight_g": 2, "lost": 0},
        {"id": many + 5, "customer_id": 7, "weight_g": 2, "lost": 0},
        None,
        None,
    ]


# Whose file it is


def a_projection(name: str = "post", version: int = 1) -> Projection:
    return Projection(name, version, TABLES)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_post(version=2), "holds post version 1; this code is post version 2"),
        (a_projection("letters"), "holds post version 1; this code is letters version 1"),
    ],
    ids=["version", "name"],
)
def test_file_of_another_projection_or_version_is_not_read_and_says_what_to_do(
    file: ProjectionFile, other: Projection, message: str
) -> None:
    home = home_of(file.directory, other)
    home_of(file.directory, make_post()).rename(home)
    with pytest.raises(NotBuilt, match=message) as refusal:
        ProjectionFile(file.directory, other)
    assert f"delete {home}, start the tail again" in str(refusal.value)
    with pytest.raises(NotBuilt, match=message), ProjectionReader(file.directory, other).look():
        pytest.fail("it must not be read")


def test_versions_have_files_of_their_own(file: ProjectionFile, reader: ProjectionReader) -> None:
    commit(file, 1, [a_parcel(1)])
    with closing(ProjectionFile(file.directory, make_post(version=2))) as newer:
        assert newer.checkpoint().sequence == 0
    assert file.checkpoint().sequence == 1
    assert parcels(reader) == [1]


def test_file_that_passed_over_what_new_code_handles_is_not_read(directory: Path) -> None:
    old = a_projection()
    with closing(ProjectionFile(directory, old)) as file:
        before = file.checkpoint()
        file.commit(
            before, before._replace(passed_over=frozenset({"ParcelLost", "X"})), file.pending_rows(), []
        )
    with closing(ProjectionFile(directory, old)):
        pass
    new = a_projection()
    new.handles(ParcelLost)(lambda _recorded, _rows: [])
    with pytest.raises(NotBuilt, match="passed over ParcelLost, which this code handles"):
        ProjectionFile(directory, new)
    with pytest.raises(NotBuilt, match="ParcelLost"), ProjectionReader(directory, new).look():
        pytest.fail("it must not be read")


def test_deleted_file_is_noticed_and_another_in_its_place_too(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    commit(file, 1, [a_parcel(1)])
    assert parcels(reader) == [1]
    shutil.rmtree(file.directory)
    with pytest.raises(NotBuilt, match="deleted or replaced"):
        file.checkpoint()
    with pytest.raises(NotBuilt, match="not there yet"):
        parcels(reader)
    with closing(ProjectionFile(file.directory, make_post())) as anew:
        assert anew.checkpoint().sequence == 0
        assert parcels(reader) == []
        with pytest.raises(NotBuilt, match="deleted or replaced"):
            file.checkpoint()


@pytest.mark.processes
def test_file_that_was_deleted_alone_is_built_anew(directory: Path, reader: ProjectionReader) -> None:
    """While a web worker still has it open: its write-ahead log lies there, and no other file can take it."""
    with closing(ProjectionFile(directory, make_post())) as file:
        commit(file, 1, [a_parcel(1)])
        path = file.path.resolve()
        read = f"import sqlite3; sqlite3.connect({str(path)!r}).execute('SELECT * FROM parcels').fetchall(); input(1)"
        worker = subprocess.Popen(
            [sys.executable, "-c", read], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert worker.stdout is not None
            assert worker.stdout.read(1) == "1"
            path.unlink()
            file.close()
            for number in (2, 3):
                with closing(ProjectionFile(directory, make_post())) as anew:
                    assert anew.checkpoint().sequence == number - 2
                    commit(anew, number - 1, [a_parcel(number)])
        finally:
            worker.communicate("\n")
    assert parcels(reader) == [2, 3]
    assert Generations(directory, make_post()).previous() is None


def test_reader_before_the_tail_has_made_the_file_is_told_to_wait(directory: Path) -> None:
    reader, generations = ProjectionReader(directory, make_post()), Generations(directory, make_post())
    for content in (None, b"", b"not a database at all, but long enough to be looked at" * 20):
        if content is not None:
            generation = generations.serving() or generations.begin()
            (generation / FILE_NAME).write_bytes(content)
            generations.switch(generation)
        with pytest.raises(NotBuilt), reader.look():
            pytest.fail("there is nothing to read")


def test_projections_tell_which_log_they_followed(file: ProjectionFile, directory: Path) -> None:
    assert list_remembered_logs(directory.parent) == {}
    commit(file, 1)
    broken = Generations(directory.parent / "broken", make_post())
    broken.switch(broken.begin())
    broken.served_file.write_bytes(b"x" * 5000)
    assert list_remembered_logs(directory.parent) == {home_of(directory, make_post()): "log"}


# Reading


def test_rows_and_checkpoint_of_a_look_are_of_one_moment(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    """While a writer writes: as many rows as the checkpoint says, in every look and all through it."""
    stop = threading.Event()
    looks: list[tuple[int, int, int]] = []

    def read() -> None:
        while not stop.is_set():
            with reader.look() as look:
                first = look.query("SELECT count(*) FROM parcels")[0][0]
                again = look.query("SELECT count(*) FROM parcels")[0][0]
                looks.append((look.checkpoint.sequence, int(first or 0), int(again or 0)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for sequence in range(1, 301):
            commit(file, sequence, [a_parcel(sequence)])
    finally:
        stop.set()
        for thread in threads:
            thread.join(NEVER_S)
    assert len({sequence for sequence, _, _ in looks}) > 3
    assert all(sequence == rows == again for sequence, rows, again in looks)


def test_reader_cannot_write(file: ProjectionFile, reader: ProjectionReader) -> None:
    commit(file, 1)
    with reader.look() as look, pytest.raises(sqlite3.OperationalError, match="readonly"):
        look.query("DELETE FROM checkpoint")
    assert file.checkpoint().sequence == 1


def test_waiting_reader_sees_the_position_come(file: ProjectionFile, reader: ProjectionReader) -> None:
    commit(file, 4)
    assert reader.wait_until_applied(Position(4, 0), 0)
    assert not reader.wait_until_applied(Position(4, 1), 0.02)
    arrived: list[bool] = []
    thread = threading.Thread(target=lambda: arrived.append(reader.wait_until_applied(Position(5, 0), 10)))
    thread.start()
    commit(file, 5)
    thread.join(15)
    assert arrived == [True]


def test_gap_is_found_between_the_keys_on_both_sides_of_a_bound(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    with reader.look() as look:
        assert look.find_gap("parcels", 100) == (0, None)
    commit(file, 1, [a_parcel(3), a_parcel(20), a_parcel(2**63 - 1)])
    with reader.look() as look:
        assert look.find_gap("parcels", 100) == (20, 2**63 - 1)
        assert look.find_gap("parcels", 3) == (0, 3)
        assert look.find_gap("parcels", 100, at_least=19) == (20, 2**63 - 1)
        assert look.find_gap("parcels", 100, at_least=200) == (200, 2**63 - 1)
        assert look.find_gap("parcels", 100, at_least=2**63 - 1) == (2**63 - 1, None)


def test_condition_of_an_index_is_taken(directory: Path) -> None:
    indexed = Projection(
        "letters",
        1,
        [Table("letters", "id", {"id": int, "town": str}, [(["town", "id"], "town IS NOT NULL")])],
    )
    with closing(ProjectionFile(directory, indexed)):
        reader = ProjectionReader(directory, indexed)
        with reader.look() as look:
            plan = look.query("EXPLAIN QUERY PLAN SELECT id FROM letters WHERE town = 'Bath' ORDER BY id")
    assert "letters_0" in str(plan)


def test_tables_keep_the_types_they_were_given(file: ProjectionFile, reader: ProjectionReader) -> None:
    with reader.look() as look:
        strict = look.query(
            "SELECT name FROM pragma_table_list WHERE strict AND schema = 'main' ORDER BY name"
        )
    assert [name for (name,) in strict] == ["checkpoint", "customers", "parcels", "parked"]


# Parked


def test_parked_entries_are_listed_in_order_and_acknowledged_up_to_one(
    file: ProjectionFile, reader: ProjectionReader
) -> None:
    commit(file, 9, [], [parked(sequence) for sequence in (2, 5, 9)])
    assert file.acknowledge(5, "now") == 2
    assert file.acknowledge(5, "later") == 0
    with reader.look() as look:
        assert [(entry.sequence, entry.acknowledged_at) for entry in look.list_parked()] == [
            (2, "now"),
            (5, "now"),
            (9, None),
        ]
        assert [entry.sequence for entry in look.list_parked(limit=1, after=2)] == [5]
        assert look.count_unacknowledged() == 1


# The lock


def test_lock_is_held_by_one_and_free_once_released(directory: Path) -> None:
    first, second = TailLock(directory), TailLock(directory)
    first.acquire()
    with pytest.raises(TailRunning, match=r"tail\.lock is held"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def overwrite(file: Path) -> None:
    file.write_bytes(b"\xff" * file.stat().st_size)


def cut_short(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def make_checkpoint_nonsense(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE checkpoint SET position = '17q-0'")
        connection.commit()


def make_checkpoint_no_text(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE checkpoint SET digest = CAST(x'ff' AS TEXT)")
        connection.commit()


def rename_column(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE checkpoint RENAME COLUMN digest TO digits")


def raise_file_format(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(18)  # write and read version of the format
        opened.write(b"\x09\x09")


def overwrite_all_but_the_first_page(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))


@pytest.mark.parametrize(
    "damage",
    [
        overwrite,
        cut_short,
        overwrite_all_but_the_first_page,
        make_checkpoint_nonsense,
        make_checkpoint_no_text,
        rename_column,
        raise_file_format,
    ],
)
def test_damaged_file_is_named_with_its_mend(directory: Path, damage: Callable[[Path], None]) -> None:
    with closing(ProjectionFile(directory, make_post())) as file:
        commit(file, 1, [a_parcel(1)])
    damage(Generations(directory, make_post()).served_file)
    home = home_of(directory, make_post())
    message = rf"projection\.db is damaged: .*delete {re.escape(str(home))}, start the tail again"
    with pytest.raises(NotBuilt, match=message), ProjectionReader(directory, make_post()).look() as look:
        look.query("SELECT * FROM parcels")
    with pytest.raises(NotBuilt, match=message), closing(ProjectionFile(directory, make_post())) as file:
        file.checkpoint()
    shutil.rmtree(directory)
    with closing(ProjectionFile(directory, make_post())) as file:
        commit(file, 1, [a_parcel(1)])


def test_file_that_cannot_be_made_is_named_with_what_to_do(directory: Path) -> None:
    generations = Generations(directory, make_post())
    generations.switch(generations.begin())
    generations.served_file.mkdir()
    with pytest.raises(NotBuilt, match=r"cannot be set up: .*Free space on its disk"):
        ProjectionFile(directory, make_post())
