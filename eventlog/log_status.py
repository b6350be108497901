"""All that an operator asks of a log at a glance: how long it is, what it takes, who reads it and how far they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from eventlog.codec import Entry
from eventlog.continuity import LogState, Verdict
from eventlog.errors import WeakDurability, WrongLog
from eventlog.found_projections import find_projections
from eventlog.log import EventLog
from eventlog.mends import LOG_MEND, NO_LOG_MEND
from eventlog.position import Position
from eventlog.readers import Reader, ReaderKind

_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime can hold


class EntryStatus(msgspec.Struct, frozen=True):
    """`at` is when Redis gave the position, by its clock."""

    position: str
    at: datetime


class MemoryStatus(msgspec.Struct, frozen=True):
    """Bytes, None where Redis does not say; those of command records are estimated from 100 of them."""

    stream: int | None
    subjects: int | None
    command_records: int
    command_record_count: int


class ReaderStatus(msgspec.Struct, frozen=True):
    """`lag_seconds` is the age of the oldest entry the reader has not got, 0 if it has all."""

    name: str
    kind: ReaderKind
    position: str
    sequence: int
    lag_events: int
    lag_seconds: float
    seen_at: datetime
    seen_seconds_ago: float


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
    archives: list[str]
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
    readers = list_reader_statuses(log)
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
        readers=readers,
        archives=[reader.name for reader in readers if reader.kind is ReaderKind.ARCHIVE],
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


def list_reader_statuses(log: EventLog) -> list[ReaderStatus]:
    """The slowest first."""
    state, now = log.state(), log.now()
    return [_reader_status(log, reader, state, now) for reader in log.readers.list_all()]


def time_of(position: Position) -> datetime:
    """When Redis gave a position, by its clock; the last there is for one that lies beyond all calendars."""
    return datetime.fromtimestamp(min(position.milliseconds, _LAST_MS) / 1000, UTC)


def _reader_status(log: EventLog, reader: Reader, state: LogState, now: datetime) -> ReaderStatus:
    behind = reader.count_behind(state)
    oldest = log.read(reader.position, 1) if behind else []
    return ReaderStatus(
        name=reader.name,
        kind=reader.kind,
        position=str(reader.position),
        sequence=reader.sequence,
        lag_events=behind,
        lag_seconds=max(0.0, (now - time_of(oldest[0].position)).total_seconds()) if oldest else 0.0,
        seen_at=reader.seen_at,
        seen_seconds_ago=max(0.0, (now - reader.seen_at).total_seconds()),
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
