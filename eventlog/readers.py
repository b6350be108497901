"""Who reads the log and how far they are, as they make it known in Redis; and what that leaves to be freed."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from eventlog.continuity import LogState
from eventlog.errors import ReaderUnreadable
from eventlog.position import Position


class ReaderKind(StrEnum):
    """What a reader makes of the log."""

    PROJECTION = "projection"
    REBUILD = "rebuild"
    ARCHIVE = "archive"


class Reader(NamedTuple):
    """How far a reader had read when it last said so; `seen_at` is by the clock of Redis."""

    name: str
    kind: ReaderKind
    position: Position
    sequence: int
    seen_at: datetime

    @classmethod
    def parse(cls, name: bytes, told: bytes) -> Reader:
        """What report_reader.lua wrote: `<kind> <position> <sequence> <milliseconds>`."""
        try:
            kind, position, sequence, seen_ms = told.decode("ascii").split(" ")
            return cls(
                name.decode(),
                ReaderKind(kind),
                Position.parse(position),
                int(sequence),
                datetime.fromtimestamp(int(seen_ms) / 1000, UTC),
            )
        except (ValueError, OverflowError, OSError) as problem:
            raise ReaderUnreadable(name.decode("utf-8", "replace")) from problem

    def count_behind(self, state: LogState) -> int:
        """Its lag: how many entries it has not got, those included that nobody has counted yet."""
        if self.position >= state.end:
            return 0
        there_ever_were = max(state.sequence, state.entries + state.trimmed)
        return max(1, there_ever_were - self.sequence)


class WhyKept(StrEnum):
    """Why the first entry that stays does."""

    READER = "reader"  # the slowest has it, and needs it to know the log again
    LAST = "last"  # the log's last entry
    KEEP = "keep"  # it was to be kept
    MORE = "more"  # it can go too


class Freed(NamedTuple):
    """What a trim freed, and where it stopped; `slowest` is the slowest reader's name."""

    entries: int
    first_kept: Position
    why_kept: WhyKept
    slowest: str


class Measures(NamedTuple):
    """The memory a log takes; bytes are None where Redis does not say."""

    stream_bytes: int | None
    subjects_bytes: int | None
    command_records: int | None
    command_bytes: int | None
