"""Writes a log that Redis lost back from its archive, so that it is the same log for everyone who followed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.archive_reader import ArchiveReader
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.errors import EventLogError, LogUnavailable, ReseedRefused
from eventlog.found_projections import find_projections
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, EventLog
from eventlog.position import START
from eventlog.staging import COUNTER_PREFIX, StagedLog, Staging

# Ids that were given out behind the last entry archived are unknown: what was lost must not share them with what comes.
COUNTER_MARGIN: Final = 1000

_CHUNK = 1000

# How many entries are written, of how many.
Progress = Callable[[int, int], None]


class Reseeded(NamedTuple):
    """What there is now; `entries_written` is 0 where the log was there already."""

    log_id: str
    position: str
    sequence: int
    entries_written: int
    commands_remembered: int


def reseed(
    log: EventLog,
    archives: Sequence[Path],
    data_directory: Path,
    progress: Progress = lambda done, total: None,
) -> Reseeded:
    """Write the log back, whole, under its own id, with its ids, sequences, counters and named commands.

    The longest of the archives is taken. Harmless where the log is there. Raises ReseedRefused, ArchiveUnusable
    or another EventLogError with nothing changed; ended before its last step it changes nothing either.
    """
    source, end = _longest(archives)
    _require_projections_fit(source, end, data_directory)
    log.check_durability()
    state = log.state()
    if state.entries and state.log_id == end.log_id and state.sequence >= end.sequence and _has(log, end):
        return Reseeded(end.log_id, str(end.position), end.sequence, 0, 0)
    staging = log.staging()
    try:
        staging.clear()
        return _write_back(staging, source, end, progress)
    finally:
        with suppress(EventLogError):  # what is left is removed by the next run
            staging.clear()


def _write_back(staging: Staging, source: ArchiveReader, end: Checkpoint, progress: Progress) -> Reseeded:
    kept = source.kept()
    counters = {
        field: int(value) + COUNTER_MARGIN
        for field, value in kept.meta.items()
        if field.startswith(COUNTER_PREFIX) and value.isdigit()
    }
    last = source.find(end.position)
    if last is None:
        raise ReseedRefused(f"{source.path} has no entry {end.position}, which is its last")
    adopted_to = kept.meta.get(b"adopted_to", b"0-0")
    lifetime_ms, commands = NAMED_COMMAND_LIFETIME_MS, len(kept.commands)
    staged = StagedLog(end.log_id, end.sequence, last, adopted_to, counters, lifetime_ms, commands)
    staging.require_room(staged)
    for start in range(0, len(kept.commands), _CHUNK):
        staging.add_commands(kept.commands[start : start + _CHUNK])
    written = 0
    for chunk in _chunks(source, end):
        staging.add_entries(chunk)
        written += len(chunk)
        progress(written, end.sequence)
    try:
        remembered = staging.switch(staged)
    except LogUnavailable as problem:
        raise LogUnavailable(
            f"{problem}. Whether the log is back is not known: run it again, it will say"
        ) from problem
    return Reseeded(end.log_id, str(end.position), end.sequence, written, remembered)


def _chunks(source: ArchiveReader, end: Checkpoint) -> Iterator[list[Entry]]:
    after = START
    while after < end.position:
        chunk = source.read(after, end.position, _CHUNK)
        if not chunk:
            return
        yield chunk
        after = chunk[-1].position


def _has(log: EventLog, checkpoint: Checkpoint) -> bool:
    at = log.snapshot(checkpoint.position, 1).at_checkpoint
    return at is not None and at.digest() == checkpoint.digest


def _longest(paths: Sequence[Path]) -> tuple[ArchiveReader, Checkpoint]:
    """The archive that goes furthest, sound and with all its entries; the others must be a part of it."""
    ends = {}
    for archive in map(ArchiveReader, paths):
        archive.check()
        ends[archive] = archive.checkpoint()
    source = max(ends, key=lambda archive: ends[archive].position)
    if not ends[source].sequence:
        raise ReseedRefused(f"{source.path} has no entries: there is nothing to write back")
    for archive, end in ends.items():
        _require_same(source, ends[source], f"archive {archive.path}", end, "Keep the right one only.")
    return source, ends[source]


def _require_projections_fit(source: ArchiveReader, end: Checkpoint, data_directory: Path) -> None:
    """The archive must have, unchanged, all that a projection has applied; or its readers would halt as rewound."""
    for path, checkpoint in ((found.home, found.checkpoint) for found in find_projections(data_directory)):
        lost = checkpoint.sequence - end.sequence
        if checkpoint.log_id == end.log_id and lost > 0:
            raise ReseedRefused(
                f"{path} has applied {checkpoint.sequence} entries, up to {checkpoint.position}, and {source.path} "
                f"ends with number {end.sequence} at {end.position}: {lost} would be lost. Restore the Redis data "
                f"or an archive that has them; or accept the loss: delete the projection's directory, then run it again"
            )
        mend = (
            "Give the archive of its log (--archive), or delete the projection's directory; then run it again"
        )
        _require_same(source, end, str(path), checkpoint, mend)


def _require_same(
    source: ArchiveReader, source_end: Checkpoint, follower: str, checkpoint: Checkpoint, mend: str
) -> None:
    if checkpoint.log_id and checkpoint.log_id != source_end.log_id:
        raise ReseedRefused(
            f"{follower} is of log {checkpoint.log_id}, and {source.path} of log {source_end.log_id}. {mend}"
        )
    if checkpoint.position == START:
        return
    at = source.find(checkpoint.position)
    if at is None or at.digest() != checkpoint.digest:
        raise ReseedRefused(
            f"{follower} and {source.path} disagree on entry number {checkpoint.sequence}, at {checkpoint.position}. "
            f"{mend}"
        )
