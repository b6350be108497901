"""What all who act in one simulation share: chance, the clock, the server, what is true of the log, and the story."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from eventlog import Moment, Position
from eventlog.log import DEFAULT_STREAM
from tests.faults.simulated_log import SimulatedRedis, StreamEntry
from tests.faults.simulated_truth import Truth

STREAM = DEFAULT_STREAM.encode()
META = b"{%s}:meta" % STREAM
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WentWrong(Exception):
    """Something happened that must not."""


class Clock:
    """Everybody's, and stands in for the module `time` too: sleeping takes none, and is when others get their turn."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.meanwhile: Callable[[], None] = lambda: None
        self._slept_s = 0.0

    def now_ms(self) -> int:
        return (self.now - _EPOCH) // timedelta(milliseconds=1)

    def monotonic(self) -> float:
        return self._slept_s

    def sleep(self, seconds: float) -> None:
        self._slept_s += seconds
        self.now += timedelta(seconds=seconds)
        self.meanwhile()


class _Secrets:
    """Stands in for the module `secrets`, so that a seed gives the same ids each time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_hex(self, count: int) -> str:
        return self._chance.randbytes(count).hex()

    token_urlsafe = token_hex


class World:
    """Everything in it follows from the seed; `folder` is where projections may lie."""

    def __init__(self, seed: str, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.clock = Clock()
        self.server = SimulatedRedis(self.clock.now_ms)
        self.truth = Truth()
        self.moments: list[Moment] = []  # what somebody read or was told, and may decide on
        self.numbers: dict[tuple[Position, bytes], int] = {}  # of what was published, by place and Metadata
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self._parcels = 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The library takes its time and its random numbers from here."""
        with ExitStack() as replaced:
            replaced.enter_context(patch("eventlog.redis_client.time", self.clock))
            replaced.enter_context(patch("eventlog.log.secrets", _Secrets(self.chance)))
            yield

    def happens(self, share: float) -> bool:
        return self.chance.random() < share

    def entries(self) -> list[StreamEntry] | None:
        """What is in the stream; None where there is no stream."""
        return self.server.entries(STREAM)

    def old_parcel(self) -> int:
        """One that was sent, or was tried to."""
        return self.chance.randint(1, self._parcels + 1)

    def draw_parcel(self) -> int:
        """Mostly a new one; an old one is sent a second time, which must be set aside."""
        if self.happens(0.1):
            return self.old_parcel()
        self._parcels += 1
        return self._parcels

    def note(self, *step: object) -> None:
        """One line of the history."""
        self.history.append(" ".join(map(str, step)))

    @staticmethod
    def check(holds: bool, *otherwise: object) -> None:
        if not holds:
            raise WentWrong(" ".join(map(str, otherwise)))
