"""Connections to a file are lent: as many as are used at once, and none to a file that is no longer there."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from eventlog.sqlite_file import ReadOnlyConnections


def make(path: Path, value: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE numbers (value INTEGER)")
        connection.execute("INSERT INTO numbers VALUES (?)", (value,))
        connection.commit()


def lend_at_once(connections: ReadOnlyConnections, count: int) -> list[int]:
    """What each of so many reads."""
    with ExitStack() as lent:
        opened = [lent.enter_context(connections.lend()) for _ in range(count)]
        return [found[0].execute("SELECT value FROM numbers").fetchone()[0] for found in opened if found]


def open_files() -> list[str]:
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own is closed again
            found.append(str(number.readlink()))
    return found


def test_connections_are_used_again(tmp_path: Path) -> None:
    make(tmp_path / "a.db", 1)
    connections = ReadOnlyConnections(tmp_path / "a.db")
    assert lend_at_once(connections, 3) == [1, 1, 1]
    before = psutil.Process().num_fds()
    assert [lend_at_once(connections, count) for count in (1, 2, 3)] == [[1], [1, 1], [1, 1, 1]]
    assert psutil.Process().num_fds() == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists a process's open files")
def test_none_is_kept_to_a_file_that_is_no_longer_named(tmp_path: Path) -> None:
    served = tmp_path / "served"
    for value in (1, 2):
        make(tmp_path / f"{value}.db", value)
    served.symlink_to("1.db")
    connections = ReadOnlyConnections(served)
    assert lend_at_once(connections, 4) == [1] * 4
    with connections.lend() as old:
        (tmp_path / "next").symlink_to("2.db")
        (tmp_path / "next").replace(served)
        assert lend_at_once(connections, 2) == [2, 2]
        assert old is not None
        assert old[0].execute("SELECT value FROM numbers").fetchone() == (1,), "who has it keeps it"
    assert lend_at_once(connections, 2) == [2, 2]
    assert lend_at_once(connections, 2) == [2, 2]
    del old
    assert not [link for link in open_files() if link == str(tmp_path / "1.db")]


def test_there_is_none_without_a_file(tmp_path: Path) -> None:
    with ReadOnlyConnections(tmp_path / "a.db").lend() as found:
        assert found is None
