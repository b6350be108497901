"""A projection's rows and checkpoint as one file, taken while it is served; and back again."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from eventlog.checkpoints import Checkpoint
from eventlog.errors import EventLogError, NotBuilt, WrongLog
from eventlog.generations import FILE_NAME, Generations, discard
from eventlog.log import EventLog
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile
from eventlog.projection_reader import ProjectionReader


class BackupRefused(EventLogError):
    """The backup cannot be written or used; nothing was changed."""


def back_up(directory: Path, projection: Projection, to: Path) -> Checkpoint:
    """Write what is served now to a new file; answers how far it had applied. On any error there is no file."""
    if to.exists():
        raise BackupRefused(f"{to} is there already: give another name, or delete it")
    unfinished = to.with_name(f".{to.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with ProjectionReader(directory, projection).look() as look:
            look.copy_to(unfinished)
            checkpoint = look.checkpoint
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(to)
    finally:
        unfinished.unlink(missing_ok=True)
    return checkpoint


def restore(log: EventLog, directory: Path, projection: Projection, backup: Path) -> tuple[Path, Checkpoint]:
    """Make a generation of a backup, to be caught up and switched to; answers it and how far it had applied.

    Raises BackupRefused for a damaged file, another projection's, or another log's.
    """
    if not backup.is_file():
        raise BackupRefused(f"{backup} is not there")
    generation = Generations(directory, projection).begin()
    try:
        try:
            _copy(backup, generation / FILE_NAME)
            with closing(ProjectionFile(directory, projection, generation)) as file:
                checkpoint = file.checkpoint()
        except (sqlite3.DatabaseError, NotBuilt) as problem:
            raise BackupRefused(
                f"{backup} is no backup of {projection.name} that this code can use: {problem}"
            ) from None
        try:
            log.require_same(checkpoint)
        except WrongLog as wrong:
            raise BackupRefused(f"{backup} does not fit this log: {wrong.explanation}") from wrong
    except BaseException:
        discard(generation)
        raise
    return generation, checkpoint


def _copy(backup: Path, to: Path) -> None:
    uri = f"{backup.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(to)) as copy:
        found = source.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        source.backup(copy)
