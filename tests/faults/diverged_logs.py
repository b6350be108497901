"""The log turns into another under a running pair: it is named, nothing of it is applied, and the mend works."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx

from eventlog import EventLog, Moment
from eventlog.embedded_redis import EmbeddedRedis, find_server
from shared.events import make_codec
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.log_divergences import CONTROLS, DIVERGENCES, Control, Divergence, Site, grow
from tests.faults.pair import Pair, running_pair
from tests.faults.projection_rows import ProjectionRows, read_rows, rebuild_rows
from tests.make_run import NEVER_S, wait_until
from tests.services.facts import a_customer_created, an_account_created

_POSTS = (5, 25)  # before the state that comes back, and again after it
_PAUSE_S = 0.003
_FIRST_FREE_CUSTOMER = 100
_INVOICES_OF_A_TRIAL = 1_000_000


class _Read(NamedTuple):
    """An answer to a request that was sent at `at`; `state` is `following` where it is served as fresh."""

    at: float
    url: str
    state: str
    body: bytes


class _Found(NamedTuple):
    """What a trial came to; reads and writes are those sent after its divergence."""

    wrong: list[str]
    reads: int = 0
    fresh_reads: int = 0
    writes: int = 0


def diverge_logs(
    piece: Piece,
    divergences: Sequence[Divergence] = DIVERGENCES,
    controls: Sequence[Control] = CONTROLS,
    *,
    patience_s: float = 10.0,
) -> Outcome:
    """A trial is one divergence, overtaken every second time and mended in the end, or one control."""
    chance = random.Random(piece.seed)
    tries: dict[str, Callable[[_Scene, bool], _Found]] = {
        **{_name(kind): partial(_diverge, kind, patience_s) for kind in divergences},
        **{_name(kind): partial(_stay, kind) for kind in controls},
    }
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with _scenes(piece, chance) as enter:
        for number in range(piece.trials):
            turn = number % len(tries)
            name = list(tries)[turn]
            overtakes = (turn + counts[name]) % 2 == 0
            found = tries[name](enter(), overtakes)
            wrong += [f"trial {number}, {name}, overtakes {overtakes}: {each}" for each in found.wrong]
            counts[name] += 1
            counts["reads after a divergence"] += found.reads
            counts["of them served as fresh"] += found.fresh_reads
            counts["writes after a divergence"] += found.writes
    return Outcome(piece.trials, dict(counts), wrong)


def _name(kind: Divergence | Control) -> str:
    return kind.__name__.replace("_", " ")


class _Scene:
    """One trial's view of the pair: a customer of its own to post invoices for, and one query of each service."""

    def __init__(self, pair: Pair, site: Site, client: httpx.Client, chance: random.Random) -> None:
        self.pair = pair
        self.site = site
        self._client = client
        self._chance = chance
        self._urls = (f"{pair.accounts_url}/accounts", f"{pair.customers_url}/customers")
        state = site.log.state()
        events = [
            an_account_created(site.customer, "user1"),
            a_customer_created(site.customer, site.customer),
        ]
        site.log.publish(events, decided_at=Moment(state.log_id or "", state.end))
        self.wait_until_applied()  # a write that stands on it waits for three seconds only

    def post_invoice(self) -> int:
        invoice = {
            "customer_id": str(self.site.customer),
            "purchase_date": "2026-01-31",
            "purchase_price_cents": 500,
        }
        return self._client.post(f"{self.pair.customers_url}/invoices", json=invoice).status_code

    def post_invoices(self) -> list[str]:
        """Some; answers what is wrong with the answers."""
        statuses = Counter(self.post_invoice() for _ in range(self._chance.randrange(*_POSTS)))
        return [] if set(statuses) == {201} else [f"writes to a whole log were answered {dict(statuses)}"]

    def wait_until_applied(self) -> None:
        entries = self.site.log.state().entries
        for projection in self.pair.folders:
            self.pair.wait_until_applied(projection, entries)

    def rows(self) -> dict[str, ProjectionRows]:
        return {each.name: read_rows(folder, each) for each, folder in self.pair.folders.items()}

    def differences_from_rebuild(self) -> list[str]:
        """Between what is served and what projections that begin now make of the log."""
        self.wait_until_applied()
        again = self.site.server.directory.with_name("again")
        rebuilt = {
            each.name: rebuild_rows(self.site.log, each, again / each.name) for each in self.pair.folders
        }
        shutil.rmtree(again)
        served = self.rows()
        return [f"{name} is not what a rebuild gives" for name in served if served[name] != rebuilt[name]]

    @contextmanager
    def reading(self) -> Iterator[list[_Read]]:
        """Both services are read all the time; each was, when this begins."""
        reads: list[_Read] = []
        stop = threading.Event()
        with ThreadPoolExecutor(len(self._urls)) as threads:
            readers = [threads.submit(self._read, url, reads, stop) for url in self._urls]
            try:
                wait_until(
                    lambda: _states(reads).keys() == set(self._urls) or any(each.done() for each in readers),
                    lambda: f"only {_states(reads)} is read",
                )
                yield reads
            finally:
                stop.set()
        for reader in readers:
            reader.result()

    def _read(self, url: str, reads: list[_Read], stop: threading.Event) -> None:
        with httpx.Client(headers=self.pair.headers, timeout=NEVER_S) as client:
            while not stop.wait(_PAUSE_S):
                at = time.monotonic()
                answer = client.get(url)
                state = answer.headers.get("Projection-State", f"status {answer.status_code}")
                reads.append(_Read(at, url, state, answer.content))


def _states(reads: Sequence[_Read]) -> dict[str, str]:
    """The last one read, by URL."""
    return {read.url: read.state for read in reads}


def _diverge(divergence: Divergence, patience_s: float, scene: _Scene, overtakes: bool) -> _Found:
    wrong = scene.post_invoices()
    diverge = divergence(scene.site)
    wrong += scene.post_invoices()
    scene.wait_until_applied()
    rows = scene.rows()
    statuses: list[int] = []
    with scene.reading() as reads:
        named = f"halted; verdict={diverge(overtakes)}"
        diverged_at = time.monotonic()

        def is_named() -> bool:
            statuses.append(scene.post_invoice())
            return set(_states(reads).values()) == {named}

        try:
            wait_until(is_named, lambda: f"reads say {_states(reads)}, not {named}", patience_s)
        except AssertionError as never:
            wrong.append(str(never))
        grow(scene.site)
        _adopt(scene.pair)
    if scene.rows() != rows:
        wrong.append("rows are not those of the log that was followed")
    wrong += [f"a write was answered {status} after the divergence" for status in statuses if status != 503]
    after = [read for read in reads if read.at >= diverged_at]
    fresh = [read for read in after if read.state == "following"]
    if fresh:
        wrong.append(f"served as fresh {fresh[-1].at - diverged_at:.3f} s after the divergence")
    if others := {read.body for read in after} - {read.body for read in reads if read.at < diverged_at}:
        wrong.append(f"read {others} after the divergence, and not before")
    return _Found(wrong + _rebuild(scene), len(after), len(fresh), len(statuses))


def _adopt(pair: Pair) -> None:
    """The first half of the mend that a halt prints."""
    variables = {**pair.run.environment, "REDIS_URL": pair.redis_url}
    program = [str(Path(sys.executable).parent / "eventlog"), "init", "--adopt"]
    subprocess.run(program, env=variables, stdout=subprocess.DEVNULL, check=True)


def _rebuild(scene: _Scene) -> list[str]:
    """The second half: the tails begin anew, and serve what is there as fresh."""
    for folder in scene.pair.folders.values():
        shutil.rmtree(folder, ignore_errors=True)  # its tail may write its status there at this moment
    with scene.reading() as reads:
        wait_until(
            lambda: set(_states(reads).values()) == {"following"},
            lambda: f"reads say {_states(reads)} after the mend",
        )
    return scene.differences_from_rebuild()


def _stay(control: Control, scene: _Scene, overtakes: bool) -> _Found:
    """The log is the same after a control, which nobody can overtake; it is written to meanwhile."""
    del overtakes
    with scene.reading() as reads, ThreadPoolExecutor(1) as writer:
        posting = writer.submit(scene.post_invoices)
        control(scene.site)
        wrong = posting.result() + scene.post_invoices()
        scene.wait_until_applied()
    halted = {read.state for read in reads if read.state.startswith("halted")}
    wrong += [f"a read was marked {state!r}" for state in halted]
    return _Found(wrong + scene.differences_from_rebuild())


@contextmanager
def _scenes(piece: Piece, chance: random.Random) -> Iterator[Callable[[], _Scene]]:
    """One scene after the other, on one pair and one Redis of ours."""
    overrides = {"enable-debug-command": "local"} if find_server().version >= (7, 0, 0) else {}
    overrides["repl-diskless-sync-delay"] = "0"
    with (
        EmbeddedRedis(piece.folder / "redis", overrides=overrides) as server,
        running_pair(piece, REDIS_URL=server.url) as pair,
        httpx.Client(headers=pair.headers, timeout=NEVER_S) as client,
        closing(EventLog.connect(server.url, make_codec())) as log,
    ):
        number = 0

        def enter() -> _Scene:
            nonlocal number
            number += 1
            site = Site(server, log, _FIRST_FREE_CUSTOMER + number, number * _INVOICES_OF_A_TRIAL)
            return _Scene(pair, site, client, chance)

        yield enter


DIVERGED_LOGS = Fault(
    "diverged-logs",
    "a lagging replica promoted, an old data directory restored, FLUSHALL, RENAME, DEL and a foreign XADD, each"
    " mended; as controls DEBUG RELOAD and an AOF rewrite",
    350,
    14,
    diverge_logs,
)
