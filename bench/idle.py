"""Row 10: what all processes together take while nobody asks anything."""

from __future__ import annotations

import time
from typing import Final

from bench.figure import Aim, Bench, Figure, Measured
from bench.running_pair import RunningPair, running_pair
from bench.turns import Spread

_SETTLED_AFTER_S: Final = 10.0
_SECONDS, _SECONDS_QUICK = 6.0, 2.0
_AIM: Final = Aim("under", 1, "%")


def measure(bench: Bench) -> Measured:
    """Of one core, as the kernel counts; each turn is a stretch of the same idle run."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    with running_pair(bench.folder / "pair") as pair:
        time.sleep(1 if bench.quick else _SETTLED_AFTER_S)
        percents = [_percent_of_a_core(pair, seconds) for _ in range(bench.turns())]
        processes = len(pair.run.processes())
    spread = Spread.of(percents)
    figure = Figure(
        row=10,
        measure=f"idle: CPU of all {processes} processes together",
        against="",
        value=spread,
        unit="% of a core",
        aim=_AIM,
        turns=bench.turns(),
        absolute=f"over {seconds:.0f} s each",
    )
    return Measured([figure])


def _percent_of_a_core(pair: RunningPair, seconds: float) -> float:
    before, started = _cpu_s(pair), time.monotonic()
    time.sleep(seconds)
    return (_cpu_s(pair) - before) / (time.monotonic() - started) * 100


def _cpu_s(pair: RunningPair) -> float:
    total = 0.0
    for process in pair.run.processes():
        times = process.cpu_times()
        total += times.user + times.system
    return total
