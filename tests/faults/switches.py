"""Generations built, switched, rolled back and restored under load, also by commands and tails that are killed.

Readers look all the time: none fails, goes back, or sees another total than the log had at its position.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Position, Projection
from eventlog.generations import Generations
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.conservation import read_log
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S

_READERS = 2
_ACCEPTED_BETWEEN = 40
_LOOK_EVERY_S = 0.001  # what is waited for lasts milliseconds
_PROJECTIONS: dict[str, Projection] = {"accounts": revenue, "customers": directory}
_INTERRUPTED: Final = 130


class Read(NamedTuple):
    """What a reader was shown of account 1, in cents, and as of which position."""

    position: Position
    total: int


class Readers:
    """Threads that read the accounts without pause; what each was shown, in its order, and every failed read."""

    def __init__(self, pair: Pair) -> None:
        self.shown: list[list[Read]] = [[] for _ in range(_READERS)]
        self.failed: list[str] = []
        self._pair = pair
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(shown,)) for shown in self.shown]

    @contextmanager
    def reading(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _read(self, shown: list[Read]) -> None:
        url = f"{self._pair.accounts_url}/accounts/1"
        with httpx.Client(headers=self._pair.headers, timeout=NEVER_S) as client:
            while not self._stop.is_set():
                try:
                    answer = client.get(url)
                except httpx.TransportError as problem:
                    self.failed.append(f"a read failed: {problem!r}")
                    continue
                if answer.status_code != 200:
                    self.failed.append(f"a read was answered {answer.status_code} {answer.text}")
                    continue
                position = Position.parse(answer.headers["Log-Position"].partition("@")[0])
                shown.append(Read(position, answer.json()["total_revenue_cents"]))

    def wrong(self) -> list[str]:
        """Failed reads, reads that went back, and totals that the log did not have at their position."""
        log = read_log(self._pair.redis_url)
        cents = [entry.payload.get("purchase_price_cents", 0) for entry in log]
        signed = [
            -each if entry.event_type == "InvoiceDeleted" else each
            for entry, each in zip(log, cents, strict=True)
        ]
        totals = {
            Position.parse(entry.position): total
            for entry, total in zip(log, accumulate(signed), strict=True)
        }
        back = [
            f"read at {later.position} after {earlier.position}"
            for shown in self.shown
            for earlier, later in pairwise(shown)
            if later.position < earlier.position
        ]
        other = [
            f"account 1 showed {each.total} at {each.position}, where the log has {totals.get(each.position)}"
            for shown in self.shown
            for each in shown
            if totals.get(each.position) != each.total
        ]
        return [*self.failed, *back, *other]


class Scene:
    """The pair, one of its services, and the chance of one trial."""

    def __init__(self, pair: Pair, service: str, chance: random.Random, folder: Path) -> None:
        self.pair = pair
        self.service = service
        self.chance = chance
        self.folder = folder
        projection = _PROJECTIONS[service]
        self.generations = Generations(pair.folders[projection], projection)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / self.service), *map(str, words)],
            env={**self.pair.run.environment, "REDIS_URL": self.pair.redis_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def run(self, *words: str | Path) -> list[str]:
        """What was wrong with how the command ended."""
        return self.end(self.start(*words))

    def end(self, process: subprocess.Popen[str], *exits: int) -> list[str]:
        printed, told = process.communicate(timeout=NEVER_S)
        right = process.returncode in (exits or (0,)) and "Traceback" not in told
        return [] if right else [f"{process.args!r} exited with {process.returncode}: {printed} {told}"]

    def start_building(self) -> subprocess.Popen[str]:
        """`rebuild --switch`, some way into its work."""
        before = len(self.generations.list_all())
        process = self.start("rebuild", "--switch")
        _wait_closely(lambda: len(self.generations.list_all()) > before or process.poll() is not None)
        time.sleep(self.chance.uniform(0, 0.4))
        return process


def _rebuild_and_switch(scene: Scene) -> list[str]:
    return scene.run("rebuild", "--switch-if-equal", "--json")


def _roll_back(scene: Scene) -> list[str]:
    if scene.generations.previous() is None:
        return scene.run("rebuild", "--switch")
    return scene.run("rollback")


def _switch_to_any(scene: Scene) -> list[str]:
    """To any there is, those included that a killed command left half-built; then all others are pruned."""
    number = scene.chance.choice(scene.generations.list_all()).name
    return scene.run("generations", "switch", number) + scene.run("generations", "prune")


def _back_up_and_restore(scene: Scene) -> list[str]:
    backup = scene.folder / f"backup-{scene.chance.getrandbits(64)}.db"
    return scene.run("backup", backup) + scene.run("restore", backup)


def _kill_the_command(scene: Scene) -> list[str]:
    process = scene.start_building()
    process.kill()
    return scene.end(process, -signal.SIGKILL, 0)


def _interrupt_the_command(scene: Scene) -> list[str]:
    process = scene.start_building()
    process.send_signal(signal.SIGINT)
    return scene.end(process, _INTERRUPTED, 0, -signal.SIGINT)  # the last: Python was just leaving, all done


def _kill_the_tail_while_it_switches(scene: Scene) -> list[str]:
    """As soon as the request was left for it, or once it has taken it."""
    asked = scene.generations.home / scene.chance.choice(["switch.request", "switch.taken"])
    projection = _PROJECTIONS[scene.service]
    scene.pair.wait_until_tail_settled(scene.service)
    tail = scene.pair.run.find(scene.service, "tail")
    process = scene.start("rebuild", "--switch")
    _wait_closely(lambda: asked.exists() or process.poll() is not None)
    tail.kill()
    wrong = scene.end(process)
    scene.pair.wait_until_applied(projection, scene.pair.applied(projection) + 1)
    return wrong


Trial = Callable[[Scene], list[str]]
TRIALS: Sequence[Trial] = [
    _rebuild_and_switch,
    _roll_back,
    _switch_to_any,
    _back_up_and_restore,
    _kill_the_command,
    _interrupt_the_command,
    _kill_the_tail_while_it_switches,
]


def switch_under_load(piece: Piece) -> Outcome:
    """A trial is one command, or two that belong together; kinds take turns in a random order."""
    chance = random.Random(piece.seed)
    counts = {kind.__name__.strip("_").replace("_", " "): 0 for kind in TRIALS}
    wrong: list[str] = []
    done = 0
    kinds: list[Trial] = []
    with running_pair(piece) as pair:
        readers = Readers(pair)
        with pair.load(threads=3, seed=piece.seed) as load, readers.reading():
            while done < piece.trials and not (load.violations or wrong):
                pair.wait_until_accepted(load, _ACCEPTED_BETWEEN)
                kinds = kinds or chance.sample(TRIALS, len(TRIALS))
                kind = kinds.pop()
                wrong += kind(Scene(pair, chance.choice(list(_PROJECTIONS)), chance, piece.folder))
                counts[kind.__name__.strip("_").replace("_", " ")] += 1
                done += 1
        books = pair.books(load)
        for service in _PROJECTIONS:
            wrong += Scene(pair, service, chance, piece.folder).run("verify")
        wrong += [*readers.wrong(), *books.wrong]
    reads = sum(len(shown) for shown in readers.shown)
    return Outcome(done, {**counts, "reads": reads, **books.counts()}, wrong)


def _wait_closely(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_LOOK_EVERY_S)


SWITCHES = Fault(
    "switches",
    "generations rebuilt, switched, rolled back, restored; `kill -9` and Ctrl-C of the command, `kill -9` of the tail",
    210,
    35,
    switch_under_load,
)
