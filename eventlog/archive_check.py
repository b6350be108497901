"""Is an archive as it was written, and do two of them have the same? Reads whole files, 1,000 rows at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from eventlog.archive import damage_named
from eventlog.archive_chain import Row, first_link, follow, from_stored
from eventlog.archive_reader import ArchiveReader, Sealed, entry_of, is_chained, read_last_row, read_sealed
from eventlog.checkpoints import Checkpoint
from eventlog.errors import ArchiveAltered, ArchiveUnusable
from eventlog.position import START, Position

# How many entries are checked, of how many.
Progress = Callable[[int, int], None]


def check_archive(archive: ArchiveReader, on_progress: Progress = lambda done, total: None) -> Checkpoint:
    """Where it ends; ArchiveAltered unless entries, meta and named commands are as they were kept.

    In a file of the form without a chain only what is missing, added or damaged can be told (see is_chained).
    """
    sealed = archive.read_sealed()
    end = sealed.end
    last, at = (0, first_link(end.log_id)), None
    for rows in archive.read_rows(end):
        last = follow(archive.path, last, rows, chained=is_chained(end))
        at = rows[-1]
        on_progress(last[0], end.sequence)
    if last[0] < end.sequence:
        raise ArchiveAltered(archive.path, last[0] + 1, START, "is missing")
    with damage_named(archive.path):
        _require_sealed(archive.path, sealed, at, last[1])
    return end


def check_end(connection: sqlite3.Connection, path: Path) -> Checkpoint:
    """Where it ends; ArchiveUnusable where that can be seen to be wrong without reading the entries.

    It counts them, and looks at the last and at what is kept beside them, in the transaction the connection is in.
    """
    with damage_named(path):
        sealed = read_sealed(connection, path)
        (there,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        at = read_last_row(connection, sealed.end)
        _require_sealed(path, sealed, at, at.link if at else b"")
        if there != sealed.end.sequence:
            raise ArchiveUnusable(f"{path} has {there} of the {sealed.end.sequence} entries that it kept")
    return sealed.end


def _require_sealed(path: Path, sealed: Sealed, at: Row | None, link: bytes) -> None:
    """No row is beyond what was kept, and the last is the one of checkpoint and seal; with what is kept beside them."""
    if sealed.stray is not None:
        position = from_stored(sealed.stray.position)
        raise ArchiveAltered(path, sealed.stray.sequence, position, "was added")
    if at is None:
        if sealed.end.sequence:
            raise ArchiveAltered(path, sealed.end.sequence, sealed.end.position, "is missing")
        return
    end, seal = sealed.end, sealed.seal
    position = from_stored(at.position)
    ends_otherwise = (position, entry_of(at).digest()) != (end.position, end.digest)
    if ends_otherwise or (is_chained(end) and (seal is None or seal.link != link)):
        raise ArchiveAltered(path, at.sequence, position, "is not the last one that was kept")
    if seal is not None and seal.meta != sealed.meta:
        raise ArchiveAltered(path, None, START, "(table meta) was altered")
    if seal is not None and seal.commands != sealed.commands:
        raise ArchiveAltered(path, None, START, "(table commands) was altered")


def find_difference(longer: ArchiveReader, shorter: ArchiveReader) -> tuple[int, Position] | None:
    """Number and position of the first entry that two archives keep otherwise, as far as both go."""
    end = shorter.checkpoint()
    for here, there in zip(longer.read_rows(end), shorter.read_rows(end), strict=False):
        for mine, theirs in zip_longest(here, there):
            if mine is None or theirs is None or mine[:3] != theirs[:3]:
                found: Row = mine or theirs
                return found.sequence, from_stored(found.position)
    return None
