"""How many workers are worth starting on this machine: POST /invoices at two numbers of connections, by workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

from bench.figure import Bench, Curve, Measured
from bench.http_load import send
from bench.posting import invoices_of, make_customers
from bench.running_pair import ROOT, RunningPair, running_pair
from bench.turns import take_turns
from eventlog.embedded_redis import free_port
from tests.make_run import answers_http, wait_until

_WORKERS, _WORKERS_QUICK = (1, 2, 4), (2, 4)
_CONNECTIONS: Final = 32
_SECONDS, _SECONDS_QUICK = 1.0, 0.5
_CUSTOMERS: Final = 100


def measure(bench: Bench) -> Measured:
    """No aim: what `shared/cli.py` chooses is where the curve bends, with Redis, tails and load on the same cores."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    numbers = _WORKERS_QUICK if bench.quick else _WORKERS
    with running_pair(bench.folder / "pair") as pair, ExitStack() as ending:
        next_request = invoices_of(make_customers(pair, _CUSTOMERS), pair.token, bench.chance)

        def rate(workers: int) -> Callable[[], float]:
            port = ending.enter_context(_customers(pair, workers, bench.folder / f"{workers}.log"))

            def measure_one() -> float:
                found = send(port, next_request, connections=_CONNECTIONS, seconds=seconds)
                assert set(found.statuses) <= {201, 503}, found.statuses
                return found.statuses[201] / found.seconds

            return measure_one

        turns = take_turns({str(number): rate(number) for number in numbers}, bench.turns(), bench.chance)
    curve = Curve(
        name="workers",
        title=f"POST /invoices by number of workers, on {os.cpu_count()} cores",
        x_label="workers of the customers service",
        y_label=f"accepted per second, {_CONNECTIONS} connections",
        lines={"accepted": [(number, turns.spread(str(number))) for number in numbers]},
        logarithmic=False,
    )
    return Measured([], [curve])


@contextmanager
def _customers(pair: RunningPair, workers: int, output: Path) -> Iterator[int]:
    """The port of another web server beside that of the pair, on the same files and log."""
    port = free_port()
    environment = {
        **pair.run.environment,
        "CUSTOMERS_PORT": str(port),
        "REDIS_URL": pair.redis_url,
    }
    command = [sys.executable, "-m", "bench.peers.customers_with", str(workers)]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file) as process,
    ):
        started = psutil.Process(process.pid)
        try:
            wait_until(lambda: answers_http(port), output.read_text)
            yield port
        finally:
            children = started.children(recursive=True)
            process.terminate()
            psutil.wait_procs(children, timeout=20)
