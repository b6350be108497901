"""Entries that keys do not prove, for whoever must decide about them: how many, and the first."""

from __future__ import annotations

from typing import Final, NamedTuple

from eventlog.counted import counted
from eventlog.position import Position

_SHOWN: Final = 10


class Doubt(NamedTuple):
    """An entry that a rebuild would park for its signature, or for the lack of one."""

    position: Position
    reason: str


class Doubts:
    """Of any number; the first ten are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Doubt] = []

    def add(self, position: Position, reason: str) -> None:
        self.count += 1
        if self.count <= _SHOWN:
            self.first.append(Doubt(position, reason))

    def __str__(self) -> str:
        shown = "; ".join(f"{position}: {reason}" for position, reason in self.first)
        more = f"; and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        return f"{counted(self.count, 'entry')} ({shown}{more})"
