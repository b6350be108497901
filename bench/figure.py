"""What a measure came to, beside what it should reach."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench.turns import Spread

_Words = Literal["over", "at least", "at most", "within", "under"]
_HOLDS: Final[dict[_Words, Callable[[float, float], bool]]] = {
    "over": operator.gt,
    "at least": operator.ge,
    "at most": operator.le,
    "within": operator.le,
    "under": operator.lt,
}


class Aim(NamedTuple):
    """What a median is to come to: `Aim("at most", 1.2, shape="flat")`, told as `flat: at most 1.2`."""

    words: _Words
    bound: float
    unit: str = ""
    shape: str = ""

    def is_reached_by(self, median: float) -> bool:
        return _HOLDS[self.words](median, self.bound)

    def __str__(self) -> str:
        told = f"{self.words} {self.bound:g} {self.unit}".rstrip()
        return f"{self.shape}: {told}" if self.shape else told


class Figure(NamedTuple):
    """One line of the results.

    `row` is that of the table of aims in bench/README.md; `value` what is judged, with its spread.
    """

    row: int
    measure: str
    against: str
    value: Spread
    unit: str
    aim: Aim
    turns: int
    absolute: str


class Curve(NamedTuple):
    """Something by something else: `points` of x and the spread of y, a line each."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: dict[str, Sequence[tuple[float, Spread]]]
    logarithmic: bool = True


class Measured(NamedTuple):
    """What one measure hands in."""

    figures: Sequence[Figure]
    curves: Sequence[Curve] = ()


class NotRun(Exception):
    """A measure cannot be made here: why, and what it would take."""


class Bench(NamedTuple):
    """What every measure is given: how long it may take, where it may write, and its dice."""

    quick: bool
    folder: Path
    seed: str
    chance: random.Random
    tell: Callable[[str], None]

    def turns(self, full: int = 5) -> int:
        return 1 if self.quick else full
