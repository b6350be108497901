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
from eventlog.log_comparison import Difference, compare, find_differences, read_chunks
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
    said; `dropped` are the others, those among them that the archive has otherwise.
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

    The longest of the archives is taken. Harmless where the log is there, and has what the archive has. Where it has
    not, `replace` puts aside what is there, if the archive has all of that, or has it otherwise; where the archive
    cannot go on with the log, and keys tell which entries behind it are genuine, those are kept and the others dropped.
    Raises ReseedRefused, ArchiveUnusable or another EventLogError with nothing changed; ended before its last step it
    changes nothing either.
    """
    source, end = _longest(archives, progress)
    log.check_durability()
    there = Reseeded(end.log_id, str(end.position), end.sequence, 0, 0)
    whole = _is_whole(log, end)
    difference = _find_difference(log, source, end, progress) if whole else None
    redis_only = None
    if replace and (difference or not whole):
        redis_only = _RedisOnly(log, source, end)
        with progress("comparing") as on_progress:
            redis_only.look(on_progress)
    _require_projections_fit(source, end, redis_only.kept if redis_only else [], data_directory)
    if whole and difference is None:
        return there
    if difference and not replace:
        raise ReseedRefused(
            f"{difference}, {source.path}: `eventlog reseed --replace` writes all back from there, and puts aside what "
            f"Redis has as {log.stream}-aside"
        )
    staging = log.staging()
    try:
        staging.begin()
        if _is_there(log, source, end, progress):  # another run has just written it back
            return there
        with progress("writing back") as on_progress:
            return _write_back(staging, source, end, redis_only, on_progress)
    except ReseedRefused:
        if _is_there(log, source, end, progress):  # this run stood still, and another went by
            return there
        raise
    finally:
        with suppress(EventLogError):  # what is left goes by itself
            staging.end()


def _write_back(
    staging: Staging,
    source: ArchiveReader,
    end: Checkpoint,
    redis_only: _RedisOnly | None,
    on_progress: Callable[[int, int], None],
) -> Reseeded:
    kept = source.kept()
    behind = redis_only.kept if redis_only else []
    counters = {
        field: int(value) + COUNTER_MARGIN
        for field, value in kept.meta.items()
        if field.startswith(COUNTER_PREFIX) and value.isdigit()
    }
    last = source.find(end.position)
    if last is None:
        raise ReseedRefused(f"{source.path} has no entry {end.position}, which is its last")
    adopted_to = kept.meta.get(b"adopted_to", b"0-0")
    sequence = end.sequence + len(behind)
    last = behind[-1] if behind else last
    commands = [*kept.commands, *(redis_only.commands if redis_only else [])]
    staged = StagedLog(
        end.log_id,
        sequence,
        last,
        adopted_to,
        counters,
        NAMED_COMMAND_LIFETIME_MS,
        len(commands),
        redis_only is not None,
        redis_only.looked_to if redis_only else None,
    )
    staging.require_room(staged)
    if redis_only and redis_only.refusal:
        raise ReseedRefused(redis_only.refusal)
    for start in range(0, len(commands), _CHUNK):
        staging.add_commands(commands[start : start + _CHUNK])
    written = 0
    for chunk in read_chunks(source, START, end.position):
        staging.add_entries(chunk)
        written += len(chunk)
        on_progress(written, end.sequence)
    if written < end.sequence:
        raise ReseedRefused(
            f"{source.path} gave {written} of its {end.sequence} entries: `eventlog archive --check` says what is "
            "wrong with it"
        )
    for start in range(0, len(behind), _CHUNK):
        staging.add_entries(behind[start : start + _CHUNK])
    try:
        remembered = staging.switch(staged)
    except LogUnavailable as problem:
        raise LogUnavailable(
            f"{problem}. Whether the log is back is not known: run it again, it will say"
        ) from problem
    done = Reseeded(end.log_id, str(last.position), sequence, sequence, remembered)
    if redis_only is None:
        return done
    return done._replace(
        entries_kept=len(behind),
        renumbered=redis_only.renumbered,
        dropped=redis_only.dropped.count,
        first_dropped=redis_only.dropped.first,
    )


class _RedisOnly:
    """What Redis has and the archive has not, or has otherwise: what keys prove of it behind the archive is `kept`.

    `looked_to` is the last of all that is there; None where the archive can go on with the log, or there are no keys.
    `refusal` says what would be lost.
    """

    def __init__(self, log: EventLog, source: ArchiveReader, end: Checkpoint) -> None:
        self.looked_to: Position | None = None
        self.kept: list[Entry] = []
        self.renumbered = 0
        self.commands: list[NamedCommand] = []
        self.dropped = Doubts()
        self.refusal = ""
        self._log = log
        self._source = source
        self._end = end
        self._verification = _begin_verification(log, end)
        self._unproven: set[bytes] = set()  # ids of the archive's entries

    def look(self, on_progress: Callable[[int, int], None]) -> None:
        """ReseedRefused where keys show that the archive is not what it was."""
        with suppress(WrongLog):  # they are no stream: the switch says what is in the way
            for found in compare(self._log, self._read_archived(on_progress), START, self._end.position):
                if found.stored is not None:
                    self._judge_among(found.stored, found.archived)
            if self._verification is not None and not _goes_on(self._log, self._end):
                self._read_behind(self._verification)

    def _read_archived(self, on_progress: Callable[[int, int], None]) -> Iterator[Entry]:
        verification, sequence = self._verification, 0
        for chunk in read_chunks(self._source, START, self._end.position):
            if verification is not None:
                refused = verification.verify(
                    [
                        NumberedEntry(entry, at, entry.claimed_sequence != b"%d" % at)
                        for at, entry in enumerate(chunk, sequence + 1)
                    ]
                )
                self._unproven.update(entry.id for entry, why in zip(chunk, refused, strict=True) if why)
            yield from chunk
            sequence += len(chunk)
            on_progress(sequence, self._end.sequence)
        if verification is not None and verification.changed is not None:
            raise ReseedRefused(
                f"{self._source.path} is not to be trusted: {verification.changed.explanation}"
            )

    def _judge_among(self, stored: Entry, archived: Entry | None) -> None:
        """None of these can come between the archive's afterwards: ids only grow."""
        reason = self._log.why_unproven(stored, self._end.log_id)
        if not reason and self._is_of_before_signing(stored):
            reason = "it was not there, or not so, when signing began"
        if not reason and archived is not None:
            if archived.id in self._unproven:
                self.refusal = self.refusal or (
                    f"the keys prove the entry at {stored.position} that Redis has, and not that of "
                    f"{self._source.path}: give a copy of the archive from before it was altered (--archive)"
                )
                return
            if self._verification is not None:
                reason = "the archive has another there, which the keys prove"
            # Of another number it may be of a replica that lagged and took over.
            elif stored.claimed_sequence == archived.claimed_sequence:
                reason = "the archive has another there, under the same number"
        if reason:
            self.dropped.add(stored.position, reason)
            return
        self.refusal = self.refusal or (
            f"Redis has another entry at {stored.position} than {self._source.path}, and it would be lost: look at it "
            f"(`redis-cli XRANGE {self._log.stream} {stored.position} {stored.position}`); if it may go, "
            f"`redis-cli XDEL {self._log.stream} {stored.position}`, then run it again"
        )

    def _is_of_before_signing(self, stored: Entry) -> bool:
        """Then the keys prove all that there was, by what they say of the archive's entries up to there."""
        if self._log.keys is None or self._verification is None:
            return False
        beginning = self._log.keys.read().beginnings.get(self._end.log_id)
        return beginning is not None and stored.position <= beginning.position

    def _read_behind(self, verification: Verification) -> None:
        end, after = self._end, self._end.position
        while chunk := self._log.read_stored(after, _CHUNK):
            for entry in chunk:
                self._judge_behind(entry, verification)
            after = self.looked_to = chunk[-1].position
        numbers = {entry.position: at for at, entry in enumerate(self.kept, end.sequence + 1)}
        with suppress(WrongLog):  # they are no stream: then nothing is remembered
            self.commands = [
                command._replace(sequence=numbers[command.position])
                for command in self._log.read_kept(end.position, after).commands
                if command.position in numbers
            ]

    def _judge_behind(self, entry: Entry, verification: Verification) -> None:
        """Its number is no part of what was signed: given inside Redis, by a counter that somebody may have moved."""
        sequence = self._end.sequence + len(self.kept) + 1
        own = entry.renumbered(sequence)
        (refused,) = verification.verify([NumberedEntry(own, sequence, False)])
        if refused is not None:
            self.dropped.add(entry.position, refused.reason)
            return
        self.kept.append(own)
        self.renumbered += own != entry


def _begin_verification(log: EventLog, end: Checkpoint) -> Verification | None:
    """None without keys, or where the archive ends before signing began: what is genuine cannot be told."""
    if log.keys is None:
        return None
    keys = log.keys.read()
    beginning = keys.beginnings.get(end.log_id)
    if beginning is not None and end.sequence < beginning.sequence:
        return None
    return Verification(keys, end.log_id, SeenEvents(Verified(0, first_link(end.log_id))))


def _goes_on(log: EventLog, end: Checkpoint) -> bool:
    """Whether the archive could keep what follows it, or its end is the log's."""
    try:
        snapshot = log.snapshot(end.position, _CHUNK)
    except WrongLog:
        return False
    return not isinstance(number_entries(end, snapshot, log.count_entries), Divergence)


def _is_there(log: EventLog, source: ArchiveReader, end: Checkpoint, progress: ShowProgress) -> bool:
    return _is_whole(log, end) and _find_difference(log, source, end, progress) is None


def _find_difference(
    log: EventLog, source: ArchiveReader, end: Checkpoint, progress: ShowProgress
) -> Difference | None:
    with progress("comparing") as on_progress:
        return next(find_differences(log, source, end.position, on_progress), None)


def _is_whole(log: EventLog, checkpoint: Checkpoint) -> bool:
    """Whether the log lacks none up to a checkpoint, has the entry at it as it was, and can be followed from there."""
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
