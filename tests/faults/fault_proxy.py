"""A proxy before Redis on which a network fails in one of several modes, set while it runs."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from tests.proxy import Fate, Link, Proxy, Way

_SHARE_THAT_CLOSES = 0.9  # of connections that lost something; the others stay open, and silent for good


class Mode(StrEnum):
    """What befalls what passes. New connections are still accepted, as by a proxy whose server is gone."""

    PASSING = "passing"
    REPLIES_DROPPED = "replies dropped"
    REQUESTS_DROPPED = "requests dropped"
    BLACK_HOLE = "black hole"
    RESETS = "resets"
    BYTE_BY_BYTE = "one byte at a time"
    LATENCY = "5 s latency"


# Of the chunks that a mode applies to. Where all are spoilt, few requests come as far as the append.
_SHARE_SPOILT = {
    Mode.PASSING: 0.0,
    Mode.REPLIES_DROPPED: 0.1,
    Mode.REQUESTS_DROPPED: 0.1,
    Mode.BLACK_HOLE: 1.0,
    Mode.RESETS: 0.1,
    Mode.BYTE_BY_BYTE: 1.0,
    Mode.LATENCY: 0.1,
}
_SPARED = {Mode.REPLIES_DROPPED: Way.REQUEST, Mode.REQUESTS_DROPPED: Way.REPLY}
_FATES = {
    Mode.BLACK_HOLE: Fate.LOST,
    Mode.RESETS: Fate.CUT_AND_RESET,
    Mode.BYTE_BY_BYTE: Fate.DRIBBLED,
    Mode.LATENCY: Fate.LATE,
}


class FaultProxy(Proxy):
    """Set `mode` from any thread; `spoilt` counts the chunks that each mode had an effect on."""

    def __init__(self, server_port: int, seed: str) -> None:
        super().__init__(server_port, seed)
        self.mode = Mode.PASSING
        self.spoilt: Counter[Mode] = Counter()

    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        mode = self.mode
        if _SPARED.get(mode) is way or self.chance.random() >= _SHARE_SPOILT[mode]:
            return Fate.PASSED
        self.spoilt[mode] += 1
        if mode in _FATES:
            return _FATES[mode]
        return Fate.LOST_AND_CLOSED if self.chance.random() < _SHARE_THAT_CLOSES else Fate.LOST
