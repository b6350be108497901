"""Row 3: POST /invoices through the full stack, beside a bare XADD behind the same web server."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psutil

from bench.figure import Bench, Figure, Measured
from bench.http_load import Answered, make_request, send
from bench.running_pair import ROOT, RunningPair, running_pair
from bench.turns import Spread, take_turns
from eventlog.embedded_redis import free_port, is_free
from tests.make_run import wait_until

_CONNECTIONS: Final = 16
_SECONDS, _SECONDS_QUICK = 6.0, 1.0
_CUSTOMERS: Final = 100
_AIM: Final = 0.6


def measure(bench: Bench) -> Measured:
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    answered: dict[str, list[Answered]] = {"ours": [], "bare": []}
    with running_pair(bench.folder / "pair") as pair, bare_server(pair) as bare_port:
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
        aim=f"at least {_AIM}",
        reached=ratio.median >= _AIM,
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


@contextmanager
def bare_server(pair: RunningPair) -> Iterator[int]:
    """Its port."""
    port = free_port()
    process = psutil.Popen(
        [sys.executable, "-m", "bench.peers.bare_flask", pair.redis_url, str(port)], cwd=ROOT
    )
    try:
        wait_until(lambda: not is_free(port), lambda: "the bare server did not start")
        yield port
    finally:
        workers = process.children(recursive=True)
        process.terminate()
        psutil.wait_procs([process, *workers], timeout=20)
