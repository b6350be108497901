"""Writes a log that Redis lost back from its archive, so that it is the same log for everyone who followed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.archive import NamedCommand
from eventlog.archive_chain import first_link
from eventlog.archive_check import check_archive, find_difference
from eventlog.archive_reader import ArchiveReader, is_chained
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.continuity import Divergence, NumberedEntry, number_entries
from eventlog.counted import counted
from eventlog.doubts import Doubt, Doubts
from eventlog.errors import EventLogError, LogUnavailable, ReseedRefused, WrongLog
from eventlog.found_projections import find_projections
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, EventLog
from eventlog.position import START, Position
from eventlog.seen_events import SeenEvents, Verified
from eventlog.staging import COUNTER_PREFIX, StagedLog, Staging
from eventlog.verification import Verification

# Ids that were given out behind the last entry archived are unknown: what was lost must not share them with what comes.
COUNTER_MARGIN: Final = 1_000_000

_CHUNK = 1000

# Of what is done: inside it, call it with how much, of how much (see progress.py).
ShowProgress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]

_logger = logging.getLogger(__name__)


class Reseeded(NamedTuple):
    """What there is now; `entries_written` is 0 where the log was there already.

    Of what was in Redis only, `entries_kept` were proven by keys, `renumbered` of them under other numbers than they
    said; `dropped` of the others.
    """

    log_id: str
    position: str
    sequence: int
    entries_written: int
    commands_remembered: int
    entries_kept: int = 0
    renumbered: int = 0
    dropped: int = 0
    first_dropped: Sequence[Doubt] = ()


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
    `replace` puts aside what it has, if the archive has all of that; where the archive cannot go on with the log, and
    keys tell which entries behind it are genuine, those are kept and the others dropped. Raises ReseedRefused,
    ArchiveUnusable or another EventLogError with nothing changed; ended before its last step it changes nothing either.
    """
    source, end = _longest(archives, progress)
    log.check_durability()
    behind = _Behind()
    if replace and not _goes_on(log, end):
        with progress("looking at signatures") as on_progress:
            _read_behind(log, source, end, behind, on_progress)
    _require_projections_fit(source, end, behind.kept, data_directory)
    there = Reseeded(end.log_id, str(end.position), end.sequence, 0, 0)
    if _is_there(log, end):
        return there
    staging = log.staging()
    try:
        staging.begin()
        if _is_there(log, end):  # another run has just written it back
            return there
        with progress("writing back") as on_progress:
            require_kept = _RequireKept(log, source, behind) if replace else None
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
    behind = require_kept.behind if require_kept else _Behind()
    counters = {
        field: int(value) + COUNTER_MARGIN
        for field, value in kept.meta.items()
        if field.startswith(COUNTER_PREFIX) and value.isdigit()
    }
    last = source.find(end.position)
    if last is None:
        raise ReseedRefused(f"{source.path} has no entry {end.position}, which is its last")
    adopted_to = kept.meta.get(b"adopted_to", b"0-0")
    sequence = end.sequence + len(behind.kept)
    last = behind.kept[-1] if behind.kept else last
    commands = [*kept.commands, *behind.commands]
    replace = require_kept is not None
    staged = StagedLog(
        end.log_id,
        sequence,
        last,
        adopted_to,
        counters,
        NAMED_COMMAND_LIFETIME_MS,
        len(commands),
        replace,
        behind.looked_to,
    )
    staging.require_room(staged)
    for start in range(0, len(commands), _CHUNK):
        staging.add_commands(commands[start : start + _CHUNK])
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
    for start in range(0, len(behind.kept), _CHUNK):
        staging.add_entries(behind.kept[start : start + _CHUNK])
    try:
        remembered = staging.switch(staged)
    except LogUnavailable as problem:
        raise LogUnavailable(
            f"{problem}. Whether the log is back is not known: run it again, it will say"
        ) from problem
    return Reseeded(
        end.log_id,
        str(last.position),
        sequence,
        sequence,
        remembered,
        len(behind.kept),
        behind.renumbered,
        behind.dropped.count,
        behind.dropped.first,
    )


def _chunks(source: ArchiveReader, end: Checkpoint) -> Iterator[list[Entry]]:
    after = START
    while after < end.position:
        chunk = source.read(after, end.position, _CHUNK)
        if not chunk:
            return
        yield chunk
        after = chunk[-1].position


class _Behind:
    """What Redis has behind the archive, where the archive cannot go on with it: what keys prove, and what they do not.

    `looked_to` is the last of all; None where there is nothing.
    """

    def __init__(self) -> None:
        self.looked_to: Position | None = None
        self.kept: list[Entry] = []
        self.renumbered = 0
        self.commands: list[NamedCommand] = []
        self.dropped = Doubts()


def _goes_on(log: EventLog, end: Checkpoint) -> bool:
    """Whether the archive could keep what follows it, or its end is the log's."""
    try:
        snapshot = log.snapshot(end.position, _CHUNK)
    except WrongLog:
        return False
    return not isinstance(number_entries(end, snapshot, log.count_entries), Divergence)


def _read_behind(
    log: EventLog,
    source: ArchiveReader,
    end: Checkpoint,
    behind: _Behind,
    on_progress: Callable[[int, int], None],
) -> None:
    """Nothing without keys, or where the archive ends before signing began: what is genuine cannot be told."""
    if log.keys is None:
        return
    keys = log.keys.read()
    beginning = keys.beginnings.get(end.log_id)
    if beginning is not None and end.sequence < beginning.sequence:
        return
    verification = Verification(keys, end.log_id, SeenEvents(Verified(0, first_link(end.log_id))))
    sequence = 0
    for chunk in _chunks(source, end):
        verification.verify(
            [
                NumberedEntry(entry, at, entry.claimed_sequence != b"%d" % at)
                for at, entry in enumerate(chunk, sequence + 1)
            ]
        )
        sequence += len(chunk)
        on_progress(sequence, end.sequence)
    if verification.changed is not None:
        raise ReseedRefused(f"{source.path} is not to be trusted: {verification.changed.explanation}")
    after = end.position
    while chunk := log.read_stored(after, _CHUNK):
        for entry in chunk:
            _judge(entry, verification, end.sequence + len(behind.kept) + 1, behind)
        after = behind.looked_to = chunk[-1].position
    numbers = {entry.position: at for at, entry in enumerate(behind.kept, end.sequence + 1)}
    with suppress(WrongLog):  # they are no stream: then nothing is remembered
        behind.commands = [
            command._replace(sequence=numbers[command.position])
            for command in log.read_kept(end.position, after).commands
            if command.position in numbers
        ]


def _judge(entry: Entry, verification: Verification, sequence: int, behind: _Behind) -> None:
    """Its number is no part of what was signed: given inside Redis, by a counter that somebody may have moved."""
    own = entry.renumbered(sequence)
    (refused,) = verification.verify([NumberedEntry(own, sequence, False)])
    if refused is not None:
        behind.dropped.add(entry.position, refused.reason)
        return
    behind.kept.append(own)
    behind.renumbered += own != entry


class _RequireKept:
    """Called with the archive's entries, chunk by chunk: ReseedRefused where Redis has others among them.

    None can come between them afterwards: ids only grow. Those that keys show to be nobody's are dropped.
    """

    def __init__(self, log: EventLog, source: ArchiveReader, behind: _Behind) -> None:
        self._log = log
        self._source = source
        self.behind = behind
        self._log_id = source.checkpoint().log_id
        self._seen_to = START

    def __call__(self, chunk: Sequence[Entry]) -> None:
        kept = {entry.id: entry for entry in chunk}
        there = self._log.read_back(chunk[-1].position, len(chunk) + 1)
        for entry in there[::-1]:
            if entry.position > self._seen_to and kept.get(entry.id) != entry:
                if reason := self._log.why_unproven(entry, self._log_id):
                    self.behind.dropped.add(entry.position, reason)
                    continue
                raise ReseedRefused(
                    f"Redis has another entry at {entry.position} than {self._source.path}, and it would be lost: look "
                    f"at it (`redis-cli XRANGE {self._log.stream} {entry.position} {entry.position}`); if it may go, "
                    f"`redis-cli XDEL {self._log.stream} {entry.position}`, then run it again"
                )
        self._seen_to = chunk[-1].position


def _is_there(log: EventLog, checkpoint: Checkpoint) -> bool:
    """Whether the log has all up to a checkpoint, the entry at it as it was, and can be followed from there."""
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
    return _goes_on(log, checkpoint)


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


def _require_projections_fit(
    source: ArchiveReader, end: Checkpoint, behind: Sequence[Entry], data_directory: Path
) -> None:
    """The archive must have, unchanged, all that a projection has applied; or its readers would halt as rewound.

    Or it is among what is kept `behind` it.
    """
    found = [(each.home, each.checkpoint) for each in find_projections(data_directory)]
    kept = {(number, each.digest()) for number, each in enumerate(behind, end.sequence + 1)}
    found = [(path, at) for path, at in found if (at.sequence, at.digest) not in kept]
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
