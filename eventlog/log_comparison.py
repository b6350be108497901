"""Where Redis and the archive have not the same entry. Reads each once, 1,000 entries at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from eventlog.archive_reader import ArchiveReader
from eventlog.codec import Entry
from eventlog.errors import ArchiveUnusable
from eventlog.log import EventLog
from eventlog.position import Position

_CHUNK: Final = 1000


class Difference(NamedTuple):
    """At one position, where one of them may have none. `number` is the archive's, or what would be its next."""

    number: int
    position: Position
    stored: Entry | None
    archived: Entry | None

    def __str__(self) -> str:
        return f"entry number {self.number}, at {self.position}, is not in Redis as in the archive"


def find_differences(
    log: EventLog,
    archive: ArchiveReader,
    up_to: Position,
    on_progress: Callable[[int, int], None],
) -> Iterator[Difference]:
    """In order, of what was not trimmed, as far as a position; ArchiveUnusable where the archive was altered."""
    state = log.state()
    after = state.trimmed_to.previous()

    def archived() -> Iterator[Entry]:
        done = state.trimmed
        for chunk in read_chunks(archive, after, up_to):
            yield from chunk
            done += len(chunk)
            on_progress(done, max(done, state.sequence))

    for found in compare(log, archived(), after, up_to, before=state.trimmed):
        if found.stored is None and found.position < log.state().trimmed_to:
            continue  # it was trimmed meanwhile
        yield found


def find_lost(
    log: EventLog,
    archive: ArchiveReader,
    on_progress: Callable[[int, int], None],
) -> Difference | None:
    """The first entry that the archive has, and Redis has otherwise or not at all; with keys, the first proven one.

    None where no archive of this log can be read.
    """
    try:
        end = archive.checkpoint()
        if end.log_id != log.state().log_id:
            return None
        for found in find_differences(log, archive, end.position, on_progress):
            if found.archived is not None and not log.why_unproven(found.archived, end.log_id):
                return found
    except ArchiveUnusable:
        return None
    return None


def compare(
    log: EventLog, archived: Iterable[Entry], after: Position, up_to: Position, *, before: int = 0
) -> Iterator[Difference]:
    """What Redis has behind a position, as far as another, beside what the archive has there, `before` it so many."""
    rows, entries = _read_stored(log, after, up_to), iter(archived)
    number = before + 1
    here, there = next(rows, None), next(entries, None)
    while here is not None or there is not None:
        if here == there:
            here, there = next(rows, None), next(entries, None)
            number += 1
        elif here is not None and (there is None or here.position < there.position):
            yield Difference(number, here.position, here, None)
            here = next(rows, None)
        elif there is not None and (here is None or there.position < here.position):
            yield Difference(number, there.position, None, there)
            there = next(entries, None)
            number += 1
        elif here is not None:
            yield Difference(number, here.position, here, there)
            here, there = next(rows, None), next(entries, None)
            number += 1


def read_chunks(archive: ArchiveReader, after: Position, up_to: Position) -> Iterator[list[Entry]]:
    """What it has behind a position, as far as another, 1,000 entries at a time; it may end early."""
    while after < up_to:
        chunk = archive.read(after, up_to, _CHUNK)
        if not chunk:
            return
        yield chunk
        after = chunk[-1].position


def _read_stored(log: EventLog, after: Position, up_to: Position) -> Iterator[Entry]:
    while after < up_to and (chunk := log.read_stored(after, _CHUNK)):
        after = chunk[-1].position
        yield from chunk if after <= up_to else [entry for entry in chunk if entry.position <= up_to]
