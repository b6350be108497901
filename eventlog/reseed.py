"""Writes a log that Redis lost back from its archive, so that it is the same log for everyone who followed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.archive_check import check_archive, find_difference
from eventlog.archive_reader import ArchiveReader, is_chained
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.counted import counted
from eventlog.errors import EventLogError, LogUnavailable, ReseedRefused, WrongLog
from eventlog.found_projections import find_projections
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, EventLog
from eventlog.position import START, Position
from eventlog.staging import COUNTER_PREFIX, StagedLog, Staging

# Ids that were given out behind the last entry archived are unknown: what was lost must not share them with what comes.
COUNTER_MARGIN: Final = 1_000_000

_CHUNK = 1000

# Of what is done: inside it, call it with how much, of how much (see progress.py).
ShowProgress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]

_logger = logging.getLogger(__name__)


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
    *,
    replace: bool = False,
    progress: ShowProgress = lambda what: nullcontext(lambda done, total: None),
) -> Reseeded:
    """Write the log back, whole, under its own id, with its ids, sequences, counters and named commands.

    The longest of the archives is taken. Harmless where the log is there, whole. Where it is there and is not whole,
    `replace` puts aside what it has, if the archive has all of that. Raises ReseedRefused, ArchiveUnusable
    or another EventLogError with nothing changed; ended before its last step it changes nothing either.
    """
    source, end = _longest(archives, progress)
    _require_projections_fit(source, end, data_directory)
    log.check_durability()
    there = Reseeded(end.log_id, str(end.position), end.sequence, 0, 0)
    if _is_there(log, end):
        return there
    staging = log.staging()
    try:
        staging.begin()
        if _is_there(log, end):  # another run has just written it back
            return there
        with progress("writing back") as on_progress:
            require_kept = _RequireKept(log, source) if replace else None
            return _write_back(staging, source, end, require_kept, on_progress)
    except ReseedRefused:
        if _is_there(log, end):  # this run stood still, and another went by
            return there
        raise
    finally:
        with suppress(EventLogError):  # what is left goes by itself
            staging.end()


def _write_back(
    staging: Staging,
    source: ArchiveReader,
    end: Checkpoint,
    require_kept: _RequireKept | None,
    on_progress: Callable[[int, int], None],
) -> Reseeded:
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
    replace = require_kept is not None
    staged = StagedLog(end.log_id, end.sequence, last, adopted_to, counters, lifetime_ms, commands, replace)
    staging.require_room(staged)
    for start in range(0, len(kept.commands), _CHUNK):
        staging.add_commands(kept.commands[start : start + _CHUNK])
    written = 0
    for chunk in _chunks(source, end):
        if require_kept is not None:
            require_kept(chunk)
        staging.add_entries(chunk)
        written += len(chunk)
        on_progress(written, end.sequence)
    if written < end.sequence:
        raise ReseedRefused(
            f"{source.path} gave {written} of its {end.sequence} entries: `eventlog archive --check` says what is "
            "wrong with it"
        )
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


class _RequireKept:
    """Called with the archive's entries, chunk by chunk: ReseedRefused where Redis has others among them.

    None can come between them afterwards: ids only grow.
    """

    def __init__(self, log: EventLog, source: ArchiveReader) -> None:
        self._log = log
        self._source = source
        self._seen_to = START

    def __call__(self, chunk: Sequence[Entry]) -> None:
        kept = {entry.id: entry for entry in chunk}
        there = self._log.read_back(chunk[-1].position, len(chunk) + 1)
        for entry in there[::-1]:
            if entry.position > self._seen_to and kept.get(entry.id) != entry:
                raise ReseedRefused(
                    f"Redis has another entry at {entry.position} than {self._source.path}, and it would be lost: look "
                    f"at it (`redis-cli XRANGE {self._log.stream} {entry.position} {entry.position}`); if it may go, "
                    f"`redis-cli XDEL {self._log.stream} {entry.position}`, then run it again"
                )
        self._seen_to = chunk[-1].position


def _is_there(log: EventLog, checkpoint: Checkpoint) -> bool:
    """Whether the log has all up to a checkpoint, and the entry at it as it was."""
    try:
        state = log.state()
    except WrongLog:  # the switch says what is in the way
        return False
    if (
        not state.entries
        or state.missing
        or state.log_id != checkpoint.log_id
        or state.sequence < checkpoint.sequence
    ):
        return False
    at = log.snapshot(checkpoint.position, 1).at_checkpoint
    return at is not None and at.digest() == checkpoint.digest


def _longest(paths: Sequence[Path], progress: ShowProgress) -> tuple[ArchiveReader, Checkpoint]:
    """The archive that goes furthest, as it was written; what the others have must be a part of it."""
    ends = {}
    for archive in map(ArchiveReader, paths):
        with progress("checking") as on_progress:
            ends[archive] = check_archive(archive, on_progress)
        if not is_chained(ends[archive]):
            _logger.warning("%s has no chain yet: what was altered in it cannot be told", archive.path)
    source = max(ends, key=lambda archive: ends[archive].position)
    if not ends[source].sequence:
        raise ReseedRefused(f"{source.path} has no entries: there is nothing to write back")
    for archive, end in ends.items():
        mend = "Keep the right one only."
        if archive is not source and end.log_id == ends[source].log_id:
            difference = find_difference(source, archive)
            if difference is not None:
                raise _disagree(f"archive {archive.path}", source, *difference, mend)
        _require_same(source, ends[source], f"archive {archive.path}", end, mend)
    return source, ends[source]


def _require_projections_fit(source: ArchiveReader, end: Checkpoint, data_directory: Path) -> None:
    """The archive must have, unchanged, all that a projection has applied; or its readers would halt as rewound."""
    found = [(each.home, each.checkpoint) for each in find_projections(data_directory)]
    further = [(path, at) for path, at in found if at.log_id == end.log_id and at.sequence > end.sequence]
    if further:
        have = "; ".join(
            f"{path} has applied {counted(at.sequence, 'entry')}, up to {at.position}" for path, at in further
        )
        lost = max(at.sequence for _, at in further) - end.sequence
        homes = " ".join(str(path) for path, _ in further)
        raise ReseedRefused(
            f"{have}; and {source.path} ends with number {end.sequence} at {end.position}: {lost} would be lost. "
            f"Restore the Redis data or an archive that has them; or accept the loss: `rm -r {homes}`, "
            "then run it again"
        )
    for path, checkpoint in found:
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
        raise _disagree(follower, source, checkpoint.sequence, checkpoint.position, mend)


def _disagree(
    follower: str, source: ArchiveReader, sequence: int, position: Position, mend: str
) -> ReseedRefused:
    return ReseedRefused(
        f"{follower} and {source.path} disagree on entry number {sequence}, at {position}. {mend}"
    )
