"""A projection's rows and checkpoint as one file, taken while it is served; and back again."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint
from eventlog.errors import EventLogError, WrongLog
from eventlog.generations import FILE_NAME, Generations, discard
from eventlog.log import EventLog
from eventlog.private_files import make_private_database
from eventlog.projection import Projection
from eventlog.projection_file import why_unusable
from eventlog.projection_reader import Look, ProjectionReader
from eventlog.tables import find_faults
from eventlog.tail_lock import TailLock


class BackupRefused(EventLogError):
    """The backup cannot be written or used; nothing was changed."""


def back_up(directory: Path, projection: Projection, to: Path) -> Checkpoint:
    """Write what is served now to a new file; answers how far it had applied. On any error there is no file.

    Raises BackupRefused, or NotBuilt where nothing that can be read is served.
    """
    with ProjectionReader(directory, projection).look() as look:
        write_copy(look, to)
        return look.checkpoint


def require_new(to: Path) -> None:
    """BackupRefused where a file of this name is there."""
    if to.exists():
        raise BackupRefused(f"{to} is there already: give another name, or delete it")


def write_copy(look: Look, to: Path) -> None:
    """All that a look sees as one new file, on disk. On any error there is no file. Raises BackupRefused."""
    require_new(to)
    unfinished = to.with_name(f".{to.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)  # rows are for their owner, wherever the copy lies
        look.copy_to(unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(to)
    except (sqlite3.OperationalError, OSError) as problem:
        raise BackupRefused(
            f"{to} cannot be written: {problem}. Name a directory that is there, may be written, and has room"
        ) from problem
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def restore(log: EventLog, directory: Path, projection: Projection, backup: Path) -> tuple[Path, Checkpoint]:
    """Make a generation of a backup, to be caught up and switched to; answers it and how far it had applied.

    Raises BackupRefused for a damaged file, another projection's, or another log's. A value that was
    changed in it leaves a file whole: only a rebuild finds it. On any error no generation is left.
    """
    if not backup.is_file():
        raise BackupRefused(f"{backup} is not there")
    generations = Generations(directory, projection)
    generation = generations.begin()
    lock = TailLock(generation)
    try:
        lock.acquire()
        checkpoint = _copy(backup, generation / FILE_NAME, projection)
        try:
            log.require_same(checkpoint)
        except WrongLog as wrong:
            raise BackupRefused(f"{backup} does not fit this log: {wrong.explanation}") from wrong
    except BaseException:
        lock.release()
        discard(generation)
        raise
    lock.release()
    generations.finish(generation)
    return generation, checkpoint


def _copy(backup: Path, to: Path, projection: Projection) -> Checkpoint:
    uri = f"{backup.resolve().as_uri()}?mode=ro"
    make_private_database(to)
    try:
        with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(to)) as copy:
            checkpoint = checkpoints.read_checkpoint(source)
            problem = why_unusable(checkpoint, projection) or "; ".join(
                find_faults(source, projection.tables)
            )
            if checkpoint is not None and not problem:
                source.backup(copy)
                return checkpoint
    except sqlite3.OperationalError as trouble:
        raise BackupRefused(f"{backup} cannot be restored: {trouble}") from trouble
    except (sqlite3.DatabaseError, UnicodeDecodeError) as damage:
        problem = str(damage)
    raise BackupRefused(f"{backup} is no backup of {projection.name} that this code can use: {problem}")
