"""`kill -9` of web servers, web workers, tails, and of everything at once, under load: each event counts once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from accounts.revenue import revenue
from customers.directory import directory
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.load import Load
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, wait_until

_ACCEPTED_BETWEEN = 100
_RECOVERS_WITHIN_S = 10.0
_TAILS = {"accounts": revenue, "customers": directory}


def kill_worker(pair: Pair, service: str) -> float:
    return pair.kill(service, "serve", beneath=True)


def kill_server(pair: Pair, service: str) -> float:
    return pair.kill(service, "serve")


def kill_tail(pair: Pair, service: str) -> float:
    return pair.kill(service, "tail")


def kill_worker_and_tail(pair: Pair, service: str) -> float:
    pair.kill(service, "serve", beneath=True)
    return pair.kill(service, "tail")


def kill_top(pair: Pair, _: str) -> float:
    """The topmost process alone, which the others must not outlive; then started again."""
    pair.run.processes()  # seen now, they can be missed later
    killed_at = time.monotonic()
    pair.run.process.kill()
    pair.run.process.wait(NEVER_S)
    return _start_again(pair, killed_at)


def kill_all(pair: Pair, _: str) -> float:
    """Every process at once; then started again."""
    killed_at = time.monotonic()
    pair.run.destroy()
    return _start_again(pair, killed_at)


def _start_again(pair: Pair, killed_at: float) -> float:
    pair.run.wait_until_nothing_is_left()
    pair.start_again()
    return killed_at


Kill = Callable[[Pair, str], float]
KILLS: Sequence[Kill] = [
    *[kill_worker] * 6,
    *[kill_server] * 4,
    *[kill_tail] * 6,
    *[kill_worker_and_tail] * 4,
    kill_top,  # seldom: the whole tree takes seconds to start
    kill_all,
]


def kill_processes(
    piece: Piece,
    kinds: Sequence[Kill] = KILLS,
    services: Sequence[str] = ("accounts", "customers"),
    *,
    recovers_within_s: float = _RECOVERS_WITHIN_S,
) -> Outcome:
    """A trial is one kill of a kind drawn by lot; services take turns, for what was started settles first.

    Later than `recovers_within_s` is wrong in a recorded run; beside other tests it says nothing.
    """
    chance = random.Random(piece.seed)
    recovered: list[float] = []
    counts = {kind.__name__.replace("_", " ").replace("kill ", "of ", 1): 0 for kind in kinds}
    kills = 0
    with running_pair(piece) as pair:
        with pair.load(threads=6, seed=piece.seed) as load:
            while kills < piece.trials and not load.violations:
                pair.wait_until_accepted(load, chance.randrange(_ACCEPTED_BETWEEN * 2))
                kind, service = chance.choice(kinds), services[kills % len(services)]
                _wait_for_progress(pair, load, service)
                killed_at = kind(pair, service)
                kills += 1
                counts[kind.__name__.replace("_", " ").replace("kill ", "of ", 1)] += 1
                wait_until(pair.both_answer, lambda: "a service does not answer any more")
                recovered.append(time.monotonic() - killed_at)
        books = pair.books(load)
    late = [
        f"{took_s:.1f} s until both services answered" for took_s in recovered if took_s > recovers_within_s
    ]
    return Outcome(
        kills,
        {**counts, **books.counts()},
        [*late, *books.wrong],
        {"until both services answered": recovered},
    )


def _wait_for_progress(pair: Pair, load: Load, service: str) -> None:
    """The service's tail is at work: it has applied more since we began to look."""
    projection = _TAILS[service]
    pair.wait_until_applied(projection, pair.applied(projection) + 1, load)


PROCESS_KILLS = Fault(
    "process-kills",
    "`kill -9` of web worker, web server, tail, both, or all processes",
    300,
    20,
    kill_processes,
)
