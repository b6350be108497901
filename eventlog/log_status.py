"""All that an operator asks of a log at a glance: how long it is, what it takes, who reads it and how far they are."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from eventlog.archive_status import ArchiveStatus, find_archive_status
from eventlog.archiving import ARCHIVE_NAME
from eventlog.codec import Entry
from eventlog.continuity import Verdict
from eventlog.errors import WeakDurability, WrongLog
from eventlog.found_projections import find_projections
from eventlog.log import EventLog
from eventlog.mends import LOG_MEND, NO_LOG_MEND
from eventlog.moments import time_of
from eventlog.reader_status import ReaderStatus, list_reader_statuses


class EntryStatus(msgspec.Struct, frozen=True):
    """`at` is when Redis gave the position, by its clock."""

    position: str
    at: datetime


class MemoryStatus(msgspec.Struct, frozen=True):
    """Bytes, None where Redis does not tell this user; those of command records are estimated from 100 of them."""

    stream: int | None
    subjects: int | None
    command_records: int | None
    command_record_count: int | None


class ProjectionStatus(msgspec.Struct, frozen=True):
    """What a version of a projection serves, below the data directory; `log_id` is that of the log it has read."""

    home: str
    projection: str
    version: int
    log_id: str
    position: str
    sequence: int
    parked: int
    parked_unacknowledged: int


class LogStatus(msgspec.Struct, frozen=True):
    """`durability` is proven, unproven or weak; `weak_settings` names those that are; `missing` counts lost entries."""

    stream: str
    log_id: str
    length: int
    sequence: int
    missing: int
    first: EntryStatus | None
    last: EntryStatus | None
    trimmed: int
    trimmed_to: str
    floor: str
    durability: str
    weak_settings: dict[str, str]
    memory: MemoryStatus
    readers: list[ReaderStatus]
    archive: ArchiveStatus | None
    projections: list[ProjectionStatus]


def describe_log(log: EventLog, data_directory: Path) -> LogStatus:
    """Raises WrongLog where there is no log. Looks several times, so a busy log has moved in between."""
    state = log.state()
    if state.log_id is None:
        raise WrongLog(Verdict.REPLACED, "there is no log", NO_LOG_MEND)
    if not state.stream_exists:
        raise WrongLog(Verdict.REPLACED, f"the stream of log {state.log_id} is gone", LOG_MEND)
    measures = log.memory.measure()
    durability, weak_settings = _durability(log)
    return LogStatus(
        stream=log.stream,
        log_id=state.log_id,
        length=state.entries,
        sequence=state.sequence,
        missing=state.missing,
        first=_entry_status(log.read(count=1)),
        last=_entry_status(log.read_back(count=1)),
        trimmed=state.trimmed,
        trimmed_to=str(state.trimmed_to),
        floor=str(state.floor),
        durability=durability,
        weak_settings=weak_settings,
        memory=MemoryStatus(
            stream=measures.stream_bytes,
            subjects=measures.subjects_bytes,
            command_records=measures.command_bytes,
            command_record_count=measures.command_records,
        ),
        readers=list_reader_statuses(log),
        archive=find_archive_status(log, data_directory / ARCHIVE_NAME, state),
        projections=[
            ProjectionStatus(
                home=str(found.home),
                projection=found.checkpoint.projection,
                version=found.checkpoint.version,
                log_id=found.checkpoint.log_id,
                position=str(found.checkpoint.position),
                sequence=found.checkpoint.sequence,
                parked=found.parked,
                parked_unacknowledged=found.unacknowledged,
            )
            for found in find_projections(data_directory)
        ],
    )


def _entry_status(found: list[Entry]) -> EntryStatus | None:
    if not found:
        return None
    return EntryStatus(str(found[0].position), time_of(found[0].position))


def _durability(log: EventLog) -> tuple[str, dict[str, str]]:
    try:
        return log.check_durability(), {}
    except WeakDurability as weak:
        return "weak", weak.settings
