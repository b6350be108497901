"""Things measured turn by turn in one run, so that whatever else the machine does hits them alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The middle one of some values, and the ends."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))


def percentile_ms(ordered_s: list[float], percent: float) -> float:
    """Of times in seconds, in order; 0 where there is none."""
    if not ordered_s:
        return 0.0
    return ordered_s[min(len(ordered_s) - 1, int(len(ordered_s) * percent / 100))] * 1000


class Turns:
    """What each contestant came to in each turn."""

    def __init__(self, values: Mapping[str, list[float]]) -> None:
        self._values = values

    @property
    def contestants(self) -> list[str]:
        return list(self._values)

    def spread(self, contestant: str) -> Spread:
        return Spread.of(self._values[contestant])

    def ratio(self, contestant: str, to: str) -> Spread:
        """Of the two in the same turn."""
        pairs = zip(self._values[contestant], self._values[to], strict=True)
        return Spread.of([value / other for value, other in pairs])


def take_turns(contestants: Mapping[str, Callable[[], float]], turns: int, chance: random.Random) -> Turns:
    """Each contestant once a turn, in an order drawn for it; a turn before them warms up and does not count."""
    values: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        order = list(contestants)
        chance.shuffle(order)
        for name in order:
            value = contestants[name]()
            if turn:
                values[name].append(value)
    return Turns(values)
