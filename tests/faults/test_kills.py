"""`kill -9` of any one process under load: what was accepted is there, once.

The load and the books are the same for the real build and for builds broken on purpose (`builds/`),
which must come out unbalanced: a check that cannot fail proves nothing.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from accounts.revenue import revenue
from customers.directory import directory
from tests.faults.conservation import Books
from tests.faults.load import Load
from tests.faults.pair import Pair
from tests.make_run import Run, wait_until

pytestmark = pytest.mark.processes

KILLS = 20
PAUSES = 60
SETTLED_AFTER_S = 1.5  # startsecs of the supervisor, and a little
SEED = 20261121
BUILDS = Path(__file__).parent / "builds"

# Each kind by words of its command line, and whether it is a worker beneath the process of the same words.
KINDS = {
    "redis": (("redis-server",), False),
    "customers server": (("customers", "serve"), False),
    "customers worker": (("customers", "serve"), True),
    "customers tail": (("customers", "tail"), False),
    "accounts server": (("accounts", "serve"), False),
    "accounts worker": (("accounts", "serve"), True),
    "accounts tail": (("accounts", "tail"), False),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_books_balance_when_a_process_is_killed_again_and_again(
    kind: str, start_run: Callable[..., Run]
) -> None:
    books, kills = _books_after_kills(kind, start_run())
    assert kills == KILLS
    assert books.balanced, books


@pytest.mark.timeout(300)
def test_the_same_kills_unbalance_a_build_with_separate_commits(start_run: Callable[..., Run]) -> None:
    books, _ = _books_after_kills("accounts tail", start_run(PYTHONPATH=str(BUILDS / "separate_commits")))
    assert not books.balanced, books


@pytest.mark.timeout(300)
def test_books_balance_with_three_tails_and_no_lock(start_run: Callable[..., Run]) -> None:
    """The compare-and-set of the checkpoint alone keeps several writers of one file apart."""
    books = _books_after_pauses(start_run(PYTHONPATH=str(BUILDS / "lock_removed")))
    assert books.balanced, books


@pytest.mark.timeout(300)
def test_three_tails_unbalance_a_build_without_compare_and_set(start_run: Callable[..., Run]) -> None:
    books = _books_after_pauses(start_run(PYTHONPATH=str(BUILDS / "no_compare_and_set")))
    assert not books.balanced, books


def _books_after_kills(kind: str, run: Run) -> tuple[Books, int]:
    run.wait_until_up()
    pair = Pair(run)
    kills = 0
    with pair.load(threads=3, seed=SEED) as load:
        while kills < KILLS and not load.failures:
            _wait_for_progress(pair, load, kind)
            _kill_one(run, kind)
            kills += 1
    return pair.books(load), kills


def _wait_for_progress(pair: Pair, load: Load, kind: str) -> None:
    """Since the last kill more was accepted, a killed tail has applied more, and a killed server answers."""
    _wait_until_accepted(load, load.accepted + 5)
    wait_until(pair.both_answer, lambda: "a service does not answer")
    for projection, service in ((revenue, "accounts"), (directory, "customers")):
        if kind == f"{service} tail":
            pair.wait_until_applied(projection, pair.applied(projection) + 1, load)


def _wait_until_accepted(load: Load, count: int) -> None:
    wait_until(lambda: load.accepted >= count or bool(load.failures), lambda: f"accepted {load.accepted}")


def _kill_one(run: Run, kind: str) -> None:
    """Kill one that has settled: the supervisor takes an earlier end for a start that failed, and waits longer."""
    words, beneath = KINDS[kind]
    killed: list[psutil.Process] = []

    def kill() -> bool:
        try:
            found = run.find(*words)
            if time.time() - found.create_time() < SETTLED_AFTER_S:
                return False
            victim = found.children()[0] if beneath else found
            victim.kill()
        except (psutil.NoSuchProcess, StopIteration, IndexError):
            return False
        killed.append(victim)
        return True

    wait_until(kill, lambda: f"no {kind} to kill")
    psutil.wait_procs(killed, timeout=10)


def _books_after_pauses(run: Run) -> Books:
    run.wait_until_up()
    pair = Pair(run)
    chance = random.Random(SEED)
    with _more_tails(run, 2) as others:
        tails = [psutil.Process(run.find("accounts", "tail").pid), *others]
        with pair.load(threads=1, seed=SEED) as load:
            for _ in range(PAUSES):
                paused = chance.choice(tails)
                paused.suspend()
                _wait_until_accepted(load, load.accepted + 10)
                paused.resume()
        return pair.books(load)


@contextmanager
def _more_tails(run: Run, count: int) -> Iterator[list[psutil.Process]]:
    """More processes that tail for accounts, told what the first was told."""
    environment = {
        **run.environment,
        "REDIS_URL": f"redis://127.0.0.1:{run.environment['REDIS_PORT']}",
    }
    program = [str(Path(sys.executable).parent / "accounts"), "tail"]
    started = [
        subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL, process_group=0)
        for _ in range(count)
    ]
    try:
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)
