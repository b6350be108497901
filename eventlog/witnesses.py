"""Is it the log or one file that is wrong? What else follows the log, below one data directory, bears witness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eventlog.archive_reader import ArchiveReader
from eventlog.archiving import ARCHIVE_NAME
from eventlog.checkpoints import Checkpoint
from eventlog.errors import ArchiveUnusable, WrongLog
from eventlog.found_projections import find_projections
from eventlog.log import EventLog


def why_log_is_doubted(log: EventLog, data_dir: Path, home: Path) -> str:
    """Why a file in `home` that does not fit the log may be right about it; empty where the file alone is wrong.

    That is so where all else that has read the log to its end fits it, and there is something. Raises LogUnavailable.
    """
    end = log.state().end
    witnesses = 0
    for name, checkpoint in _list_others(data_dir, home):
        if problem := why_not_of(log, checkpoint):
            return f"{name} does not fit the log either: {problem}"
        witnesses += bool(checkpoint.log_id) and checkpoint.position >= end
    return "" if witnesses else f"nothing else below {data_dir} has read the log to its end, to bear it out"


def why_not_of(log: EventLog, checkpoint: Checkpoint) -> str:
    """Why a checkpoint does not fit the log; empty if it does, as far as the entry at it tells."""
    try:
        log.require_same(checkpoint)
    except WrongLog as wrong:
        return wrong.explanation
    return ""


def _list_others(data_dir: Path, home: Path) -> Iterator[tuple[str, Checkpoint]]:
    for found in find_projections(data_dir):
        if found.home.resolve() != home.resolve():
            yield str(found.home), found.checkpoint
    archive = data_dir / ARCHIVE_NAME
    try:
        yield str(archive), ArchiveReader(archive).checkpoint()
    except ArchiveUnusable:
        return
