"""Row 3: POST /invoices through the full stack, beside a bare XADD behind the same web server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Final

from bench.bare_server import bare_server
from bench.figure import Aim, Bench, Figure, Measured
from bench.http_load import Answered, make_request, send
from bench.running_pair import RunningPair, running_pair
from bench.turns import Spread, take_turns

_CONNECTIONS: Final = 16
_SECONDS, _SECONDS_QUICK = 3.0, 0.8
_CUSTOMERS: Final = 100
_AIM: Final = Aim("at least", 0.6)


def measure(bench: Bench) -> Measured:
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    answered: dict[str, list[Answered]] = {"ours": [], "bare": []}
    with running_pair(bench.folder / "pair") as pair, bare_server("bare_flask", pair.redis_url) as bare_port:
        customers = make_customers(pair, _CUSTOMERS)

        def rate(name: str, port: int) -> Callable[[], float]:
            def measure_one() -> float:
                request = invoices_of(customers, pair.token, bench.chance)
                found = send(port, request, connections=_CONNECTIONS, seconds=seconds)
                assert set(found.statuses) == {201}, found.statuses
                answered[name].append(found)
                return found.per_s

            return measure_one

        turns = take_turns(
            {"ours": rate("ours", pair.customers_port), "bare": rate("bare", bare_port)},
            bench.turns(),
            bench.chance,
        )
    ratio = turns.ratio("ours", "bare")
    times = {
        name: " and ".join(
            f"p{percent} {Spread.of([one.percentile_ms(percent) for one in found[1:]]).median:.1f} ms"
            for percent in (50, 99)
        )
        for name, found in answered.items()
    }
    figure = Figure(
        row=3,
        measure=f"POST /invoices, full stack, {_CONNECTIONS} connections, fsync always",
        against="Flask and a bare XADD, same web server and Redis",
        value=ratio,
        unit="of its rate",
        aim=_AIM,
        turns=bench.turns(),
        absolute=f"{turns.spread('ours').median:,.0f}/s, {times['ours']}; bare {turns.spread('bare').median:,.0f}/s,"
        f" {times['bare']}",
    )
    return Measured([figure])


def make_customers(pair: RunningPair, count: int) -> list[str]:
    """Their ids; half of them in each of the demo's accounts."""
    return [
        pair.post(
            pair.customers_port, "/customers", {"name": f"c{number}", "account_id": str(number % 2 + 1)}
        )["id"]
        for number in range(count)
    ]


def invoices_of(customers: list[str], token: str, chance: random.Random) -> Callable[[], bytes]:
    """A request for the next invoice, of a random customer."""

    def next_request() -> bytes:
        invoice = {
            "customer_id": chance.choice(customers),
            "purchase_price_cents": chance.randrange(1, 10**6),
            "purchase_date": "2026-11-21",
        }
        return make_request("POST", "/invoices", token=token, body=json.dumps(invoice).encode())

    return next_request
