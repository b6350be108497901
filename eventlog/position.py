"""Where an entry sits in the stream: two integers, ordered as numbers."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from eventlog.errors import InvalidPosition

_STREAM_ID = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})", re.ASCII)
WITHOUT_LOG_ID: Final = "a Log-Position ends with its log's id: give what stands before the @"
_LARGEST = 2**64 - 1  # both halves of a stream ID are unsigned 64-bit integers


class Position(NamedTuple):
    """A stream ID. Compares as numbers: `Position.parse("1000-9") < Position.parse("1000-10")`."""

    milliseconds: int
    counter: int

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """`Position.parse("1795219641181-0")`; raises InvalidPosition unless both halves are given."""
        found = _STREAM_ID.fullmatch(text.decode("ascii", "replace") if isinstance(text, bytes) else text)
        if found is None:
            mend = WITHOUT_LOG_ID if "@" in str(text) else "expected <milliseconds>-<counter>"
            raise InvalidPosition(f"{text!r} is not a position: {mend}")
        position = cls(int(found[1]), int(found[2]))
        if max(position) > _LARGEST:
            raise InvalidPosition(f"{text!r} is not a position: a half is above {_LARGEST}")
        return position

    def next(self) -> Position | None:
        """The smallest position after this one; None after the very last that Redis can give."""
        if self.counter < _LARGEST:
            return Position(self.milliseconds, self.counter + 1)
        return Position(self.milliseconds + 1, 0) if self.milliseconds < _LARGEST else None

    def previous(self) -> Position:
        """The largest position before this one; `START` has none, and is its own."""
        if self.counter > 0:
            return Position(self.milliseconds, self.counter - 1)
        return Position(self.milliseconds - 1, _LARGEST) if self.milliseconds > 0 else self

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.counter}"


START: Final = Position(0, 0)  # before the first entry
LAST: Final = Position(_LARGEST, _LARGEST)  # the very last that Redis can give
