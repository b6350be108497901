"""Gives an archive of the first form, which had no chain, one; killed at any point, it goes on from there."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from eventlog.archive_chain import CREATE_SEAL, Seal, digest_beside, first_link, next_link, write_seal
from eventlog.checkpoints import Checkpoint
from eventlog.errors import ArchiveAltered
from eventlog.position import START
from eventlog.sqlite_file import transaction

_CHUNK = 10_000  # entries; one transaction each, so also how much a crash repeats
_SAID_EVERY = 100_000

_logger = logging.getLogger(__name__)


def add_chain(connection: sqlite3.Connection, path: Path, end: Checkpoint, *, form: int) -> None:
    """Links chunk by chunk; then, in one transaction, the seal and the form of the file.

    Whoever reads meanwhile reads without the chain. ArchiveAltered where an entry is missing.
    """
    _logger.warning("%s: its %d entries are given a chain", path, end.sequence)
    before = _begin(connection, end)
    while before[0] < end.sequence:
        before = _link_some(connection, path, before, end.sequence)
        if before[0] % _SAID_EVERY < _CHUNK:
            _logger.warning("%s: %d of %d entries are chained", path, before[0], end.sequence)
    with transaction(connection):
        connection.execute(CREATE_SEAL)
        if end.sequence:
            write_seal(connection, Seal(before[1], *digest_beside(connection)))
        connection.execute("UPDATE checkpoint SET version = ?", (form,))


def _begin(connection: sqlite3.Connection, end: Checkpoint) -> tuple[int, bytes]:
    """Sequence and link of the last entry that is linked already."""
    with transaction(connection):
        columns = connection.execute("SELECT name FROM pragma_table_info('entries')").fetchall()
        if ("link",) not in columns:
            connection.execute("ALTER TABLE entries ADD COLUMN link BLOB NOT NULL DEFAULT x''")
    linked = connection.execute(
        "SELECT sequence, link FROM entries WHERE sequence ="
        " (SELECT coalesce(min(sequence) - 1, ?) FROM entries WHERE link = x'')",
        (end.sequence,),
    ).fetchone()
    return linked or (0, first_link(end.log_id))


def _link_some(
    connection: sqlite3.Connection, path: Path, before: tuple[int, bytes], up_to: int
) -> tuple[int, bytes]:
    sequence, link = before
    links = []
    with transaction(connection):
        rows = connection.execute(
            "SELECT sequence, position, fields FROM entries WHERE sequence > ? AND sequence <= ?"
            " ORDER BY sequence LIMIT ?",
            (sequence, up_to, _CHUNK),
        )
        for number, position, fields in rows:
            if number != sequence + 1:
                break
            sequence, link = number, next_link(link, number, position, fields)
            links.append((link, number))
        if not links:
            raise ArchiveAltered(path, sequence + 1, START, "is missing")
        connection.executemany("UPDATE entries SET link = ? WHERE sequence = ?", links)
    return sequence, link
