"""Row 9: many invoices at once, as a batch over HTTP and as a file, beside as many one by one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from accounts.revenue import revenue
from bench.figure import Aim, Bench, Figure, Measured
from bench.http_load import make_request, send
from bench.posting import invoices_of, make_customers
from bench.running_pair import ROOT, RunningPair, running_pair
from bench.turns import take_turns
from customers.directory import directory
from customers.schemas import LARGEST_BATCH
from eventlog import EventLog, ProjectionReader
from shared.events import make_codec

_CONNECTIONS, _BATCH_CONNECTIONS = 16, 2
_SECONDS, _SECONDS_QUICK = 1.0, 0.5
_LINES, _LINES_QUICK = 150_000, 5_000
_CUSTOMERS: Final = 100
_AIM: Final = Aim("over", 10)
_APPLIED_WITHIN_S: Final = 60.0


def measure(bench: Bench) -> Measured:
    """Before each one the tails have applied what the one before it published."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    lines = _LINES_QUICK if bench.quick else _LINES
    with (
        running_pair(bench.folder / "pair") as pair,
        closing(EventLog.connect(pair.redis_url, make_codec())) as log,
    ):
        customers = make_customers(pair, _CUSTOMERS)
        one = invoices_of(customers, pair.token, bench.chance)

        def batch() -> bytes:
            body = json.dumps(_invoices(customers, bench.chance, LARGEST_BATCH)).encode()
            return make_request("POST", "/invoices/batch", token=pair.token, body=body)

        def rate(request: Callable[[], bytes], connections: int) -> float:
            _settle(pair, log)
            found = send(pair.customers_port, request, connections=connections, seconds=seconds)
            assert set(found.statuses) == {201}, found.statuses
            return found.per_s

        def import_rate() -> float:
            file = bench.folder / f"{time.monotonic_ns()}.ndjson"
            invoices = _invoices(customers, bench.chance, lines)
            file.write_text("".join(f"{json.dumps(each)}\n" for each in invoices))
            _settle(pair, log)
            return lines / _seconds_to_import(pair, file)

        turns = take_turns(
            {
                "one by one": lambda: rate(one, _CONNECTIONS),
                "batch": lambda: rate(batch, _BATCH_CONNECTIONS) * LARGEST_BATCH,
                "import": import_rate,
            },
            bench.turns(),
            bench.chance,
        )
    one_by_one = f"one by one {turns.spread('one by one').median:,.0f} invoices/s"
    return Measured(
        [
            Figure(
                row=9,
                measure=what,
                against=f"POST /invoices one by one, {_CONNECTIONS} connections",
                value=turns.ratio(name, "one by one"),
                unit="times as many invoices a second",
                aim=_AIM,
                turns=bench.turns(),
                absolute=f"{turns.spread(name).median:,.0f} invoices/s; {one_by_one}",
            )
            for name, what in (
                ("batch", f"POST /invoices/batch of {LARGEST_BATCH:,}, {_BATCH_CONNECTIONS} connections"),
                ("import", f"customers import, {lines:,} lines, from the command's start to its end"),
            )
        ]
    )


def _invoices(customers: list[str], chance: random.Random, count: int) -> list[dict[str, Any]]:
    return [
        {
            "customer_id": chance.choice(customers),
            "purchase_date": "2026-11-21",
            "purchase_price_cents": chance.randrange(1, 10**6),
        }
        for _ in range(count)
    ]


def _seconds_to_import(pair: RunningPair, file: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [Path(sys.executable).parent / "customers", "import", file],
        cwd=ROOT,
        env=pair.run.environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def _settle(pair: RunningPair, log: EventLog) -> None:
    """Both projections have applied all that is there."""
    end, data_dir = log.state().end, Path(pair.run.environment["DATA_DIR"])
    for folder, projection in (("accounts", revenue), ("customers", directory)):
        reader = ProjectionReader(data_dir / folder / projection.name, projection)
        assert reader.wait_until_applied(end, _APPLIED_WITHIN_S), projection.name
