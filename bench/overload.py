"""What becomes of requests when ten times as many come as can be served."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from bench.figure import Aim, Bench, Curve, Figure, Measured
from bench.http_load import send
from bench.posting import invoices_of, make_customers
from bench.running_pair import RunningPair, running_pair
from bench.steady_load import Steady, send_steadily
from bench.turns import Spread

_TIMES: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_SECONDS, _SECONDS_QUICK = 1.2, 0.8
_CUSTOMERS: Final = 100
_PREPARED: Final = 2000  # requests, sent again and again: the load must not be what is slow
_CONNECTIONS_AT_CAPACITY: Final = 16
_CONNECTIONS: Final = 800  # more than the workers take on at once
_CREATED, _UNAVAILABLE = 201, 503
_AIM: Final = Aim("at least", 0.7)
_LATENCY_AIM: Final = Aim("within", 1000, "ms")


def measure(bench: Bench) -> Measured:
    """Posts that come when they are due. Each turn measures first what can be served, then multiples of it."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    times = (1.0, 10.0) if bench.quick else _TIMES
    capacities: list[float] = []
    found: dict[float, list[Steady]] = {multiple: [] for multiple in times}
    with running_pair(bench.folder / "pair") as pair:
        next_request = _prepare(pair, bench)
        send(
            pair.customers_port, next_request, connections=_CONNECTIONS_AT_CAPACITY, seconds=seconds
        )  # warms up
        for _ in range(bench.turns()):
            capacity = send(
                pair.customers_port, next_request, connections=_CONNECTIONS_AT_CAPACITY, seconds=seconds
            ).per_s
            capacities.append(capacity)
            for multiple in bench.chance.sample(times, len(times)):
                found[multiple].append(
                    send_steadily(
                        pair.customers_port,
                        next_request,
                        per_s=multiple * capacity,
                        connections=_CONNECTIONS,
                        seconds=seconds,
                    )
                )
    statuses = sum((turn.statuses for turns in found.values() for turn in turns), Counter[int]())
    assert set(statuses) <= {_CREATED, _UNAVAILABLE}, statuses
    heaviest = found[times[-1]]
    kept = _of_capacity(heaviest, _CREATED, capacities)
    waited = Spread.of([turn.percentile_ms(_CREATED, 99) for turn in heaviest])
    refused = Spread.of([turn.percentile_ms(_UNAVAILABLE, 50) for turn in heaviest])
    capacity_spread = Spread.of(capacities)
    at_capacity = f"{capacity_spread.median:,.0f}/s with {_CONNECTIONS_AT_CAPACITY} connections"
    figures = [
        Figure(
            row=12,
            measure=f"POST /invoices accepted while {times[-1]:.0f} times as much is asked",
            against="what can be served",
            value=kept,
            unit="of its rate",
            aim=_AIM,
            turns=bench.turns(),
            absolute=f"{at_capacity}; of the others each was answered 503 with Retry-After, "
            f"half of them within {refused.median:.0f} ms; {sum(turn.unsent for turn in heaviest):,} not sent",
        ),
        Figure(
            row=12,
            measure=f"how long those accepted took then: p99, {_CONNECTIONS} connections",
            against="",
            value=waited,
            unit="ms",
            aim=_LATENCY_AIM,
            turns=bench.turns(),
            absolute="",
        ),
    ]
    return Measured(figures, [_rates(found, capacities), _latencies(found)])


def _prepare(pair: RunningPair, bench: Bench) -> Callable[[], bytes]:
    make = invoices_of(make_customers(pair, _CUSTOMERS), pair.token, bench.chance)
    prepared = itertools.cycle([make() for _ in range(_PREPARED)])
    return lambda: next(prepared)


def _of_capacity(turns: Sequence[Steady], status: int, capacities: Sequence[float]) -> Spread:
    """How many were answered so in each turn, of what could be served in it."""
    return Spread.of(
        [turn.per_s(status) / capacity for turn, capacity in zip(turns, capacities, strict=True)]
    )


def _rates(found: dict[float, list[Steady]], capacities: Sequence[float]) -> Curve:
    def of(status: int) -> list[tuple[float, Spread]]:
        return [(multiple, _of_capacity(turns, status, capacities)) for multiple, turns in found.items()]

    return Curve(
        name="overload-rate",
        title="POST /invoices asked faster than it can be answered",
        x_label="asked, in multiples of what can be served",
        y_label="answered, in multiples of it",
        lines={"accepted (201)": of(_CREATED), "refused (503, Retry-After)": of(_UNAVAILABLE)},
        logarithmic=False,
    )


def _latencies(found: dict[float, list[Steady]]) -> Curve:
    def of(percent: float) -> list[tuple[float, Spread]]:
        return [
            (multiple, Spread.of([turn.percentile_ms(_CREATED, percent) for turn in turns]))
            for multiple, turns in found.items()
        ]

    return Curve(
        name="overload-latency",
        title="How long accepted ones take meanwhile",
        x_label="asked, in multiples of what can be served",
        y_label="ms",
        lines={"p50": of(50), "p99": of(99)},
        logarithmic=False,
    )
