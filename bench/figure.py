"""What a measure came to, beside what it should reach."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.turns import Spread


class Figure(NamedTuple):
    """One line of the results. `reached` is None where nothing was set to be reached.

    `row` is that of the table of aims in bench/README.md; `value` what is judged, with its spread.
    """

    row: int
    measure: str
    against: str
    value: Spread
    unit: str
    aim: str
    reached: bool | None
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
