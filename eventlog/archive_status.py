"""How the archive fares, as far as it can be told from here: its process, its file, and what it told the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from eventlog.archive_reader import ArchiveReader
from eventlog.continuity import LogState
from eventlog.counted import counted
from eventlog.durations import short_duration
from eventlog.errors import ArchiveUnusable
from eventlog.log import EventLog
from eventlog.position import START
from eventlog.reader_status import age_s
from eventlog.readers import Reader, ReaderKind
from eventlog.tail_lock import LOCK_NAME, find_holders
from eventlog.tail_status import TailState, TailStatusFile, judge_dead

AWAY: Final = "away"

_HEARD_OF_WITHIN: Final = timedelta(minutes=1)  # one with nothing to do tells the log every half minute
_KEEPS: Final = {TailState.FOLLOWING.value, TailState.CATCHING_UP.value}
_CANNOT_FOLLOW: Final = {TailState.HALTED.value, TailState.RETRYING.value}
_START: Final = "start it: `eventlog archive`"
_WAIT: Final = "wait; if it grows, see its log"
_NOT_HERE: Final = "its file is not here"


class ArchiveStatus(msgspec.Struct, frozen=True):
    """`state` is that of a tail, or `away`: the log needs it, its file is not here, and the log does not hear of it.

    Where it does not keep what comes, `since` is when the log last heard of it, None where it never did. `mend` is
    what an operator does about `state`.
    """

    file: str
    state: str
    message: str
    mend: str
    position: str
    sequence: int
    lag_events: int
    lag_seconds: float
    since: datetime | None

    @property
    def keeps(self) -> bool:
        """Whether it takes what is published."""
        return self.state in _KEEPS


def find_archive_status(log: EventLog, file: Path, state: LogState) -> ArchiveStatus | None:
    """Of the archive in `file`; None where neither the log knows one, nor needs one, nor one here cannot follow it."""
    known = next((each for each in log.readers.list_all() if each.kind is ReaderKind.ARCHIVE), None)
    if known is None:
        name, message, mend = _fares(file, heard_of=False)
        if name in _CANNOT_FOLLOW or (name == AWAY and state.trimmed):
            return ArchiveStatus(str(file), name, message, mend, str(START), 0, state.sequence, 0.0, None)
        return None
    known = _as_its_file_says(known, file, state)
    now, behind = log.now(), known.count_behind(state)
    name, message, mend = _fares(file, heard_of=now - known.seen_at < _HEARD_OF_WITHIN)
    return ArchiveStatus(
        file=str(file),
        state=name,
        message=message,
        mend=mend,
        position=str(known.position),
        sequence=known.sequence,
        lag_events=behind,
        lag_seconds=age_s(log, known.position, now) if behind else 0.0,
        since=None if name in _KEEPS else known.seen_at,
    )


def describe_archive(archive: ArchiveStatus) -> str:
    """One line: its state since when, its lag in events and time, and what it says."""
    since = f" since {archive.since:%Y-%m-%d %H:%M:%S} UTC" if archive.since else ""
    lag = (
        ", has all" if archive.keeps else ""
    )  # of what one has that keeps nothing, the log may be another now
    if archive.lag_events:
        lag = f", {counted(archive.lag_events, 'event')} behind"
        lag += f", {short_duration(archive.lag_seconds)}" if archive.lag_seconds else ""
    said = f": {archive.message}" if archive.message else ""
    return f"{archive.state}{since}, at {archive.position}{lag}{said}"


def _as_its_file_says(told: Reader, file: Path, state: LogState) -> Reader:
    """How far it is by the file here, which may be another than the one that told the log; else as it told."""
    try:
        end = ArchiveReader(file).checkpoint()
    except ArchiveUnusable:
        return told
    if end.log_id != state.log_id:
        return told._replace(position=START, sequence=0)
    return told._replace(position=end.position, sequence=end.sequence)


def _fares(file: Path, *, heard_of: bool) -> tuple[str, str, str]:
    """Its state, what it says of it, and the mend."""
    if not file.exists():
        if heard_of:
            return TailState.FOLLOWING, f"elsewhere: {_NOT_HERE}", _WAIT
        return AWAY, _NOT_HERE, f"put {file} back, and start it: `eventlog archive`"
    status = TailStatusFile(file.parent).read()
    match status.state:
        case TailState.DEAD:
            return TailState.DEAD, *judge_dead(status, find_holders(file.parent / LOCK_NAME), _START)
        case TailState.STOPPED:
            return TailState.STOPPED, status.message, f"{_START}; its log says why it ended"
        case TailState.FOLLOWING | TailState.CATCHING_UP:
            return status.state, status.message, _WAIT
        case TailState.HALTED | TailState.RETRYING:
            return status.state, status.message, "mend what it names; it goes on by itself"
