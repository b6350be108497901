"""A new version of a projection: built beside the running old code, taken over without a gap, and rolled back."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from accounts.revenue import revenue
from eventlog import Event, EventLog, Position, Projection, ProjectionReader
from eventlog.generations import Generations
from eventlog.log import Moment
from shared.events import make_codec
from tests.faults.conservation import read_log
from tests.faults.pair import Pair
from tests.faults.switches import Readers
from tests.make_run import NEVER_S, Run, wait_until
from tests.services.facts import a_customer_created, an_invoice_created

pytestmark = pytest.mark.processes

NEW = Path(__file__).parent / "builds" / "revenue_counts_invoices"
ACCEPTED = 300
A_LOT = 100_000  # so that the new tail takes longer for them than the new web server to start
A_BATCH = 1000
_ACCOUNTS = str(Path(sys.executable).parent / "accounts")
COUNT = re.compile(r", invoices: (-?[0-9]+)$")


class Seen(NamedTuple):
    """An answer to GET /accounts/1; `invoices` is None where old code answered, `position` where no rows came."""

    status: int
    state: str | None
    position: Position | None
    total: int
    invoices: int | None


class Deployment:
    """The pair on one data directory, started with old or new code."""

    def __init__(self, start_run: Callable[..., Run]) -> None:
        self._variables: dict[str, str] = {}
        self.pair = Pair(lambda: start_run(**self._variables))

    def deploy(self, build: Path | None) -> list[Seen]:
        """End what runs and start it with other code; all that a client is answered until it is up."""
        assert self.pair.run.interrupt() == 0
        self._variables = {} if build is None else {"PYTHONPATH": str(build)}
        with self._watching() as seen:
            self.pair.start_again()
        return seen

    @contextmanager
    def _watching(self) -> Iterator[list[Seen]]:
        seen: list[Seen] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                try:
                    seen.append(self.look())
                except httpx.TransportError:
                    stop.wait(0.01)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()

    def look(self, **headers: str) -> Seen:
        answer = httpx.get(
            f"{self.pair.accounts_url}/accounts/1", headers={**self.pair.headers, **headers}, timeout=NEVER_S
        )
        state = answer.headers.get("Projection-State")
        if answer.status_code != 200:
            return Seen(answer.status_code, state, None, 0, None)
        position = Position.parse(answer.headers["Log-Position"].partition("@")[0])
        shown = answer.json()
        count = COUNT.search(shown["account"]["description"])
        return Seen(200, state, position, shown["total_revenue_cents"], int(count[1]) if count else None)

    def run(self, *words: str, build: Path | None = None) -> Any:
        """`accounts …` of old or new code; its document."""
        environment = self._environment()
        if build is not None:
            environment["PYTHONPATH"] = str(build)
        ran = subprocess.run(
            [_ACCOUNTS, *words, "--json"], env=environment, capture_output=True, timeout=NEVER_S, check=False
        )
        assert ran.returncode == 0, ran
        return msgspec.json.decode(ran.stdout)

    def tail_beside(self, build: Path, up_to: Position) -> None:
        """`accounts tail` of other code, beside the running one, until what it built has come so far."""
        environment = {**self._environment(), "PYTHONPATH": str(build)}
        tail = subprocess.Popen([_ACCOUNTS, "tail"], env=environment, stderr=subprocess.DEVNULL)
        try:
            newer = Projection(revenue.name, revenue.version + 1, ())
            reader = ProjectionReader(self.pair.folders[revenue], newer)
            assert reader.wait_until_applied(up_to, NEVER_S)
        finally:
            tail.terminate()
            assert tail.wait(NEVER_S) == 0

    def _environment(self) -> dict[str, str]:
        environment = {**self.pair.run.environment, "REDIS_URL": self.pair.redis_url}
        environment.pop("PYTHONPATH", None)
        return environment

    def history(self) -> dict[Position, tuple[int, int]]:
        """Total and number of invoices of account 1 by the position after which it was so."""
        log = read_log(self.pair.redis_url)
        counts = [{"InvoiceCreated": 1, "InvoiceDeleted": -1}.get(entry.event_type, 0) for entry in log]
        cents = [entry.payload.get("purchase_price_cents", 0) for entry in log]
        totals = accumulate(count * each for count, each in zip(counts, cents, strict=True))
        positions = [Position.parse(entry.position) for entry in log]
        return dict(zip(positions, zip(totals, accumulate(counts), strict=True), strict=True))


@pytest.fixture
def deployment(start_run: Callable[..., Run]) -> Deployment:
    return Deployment(start_run)


def test_new_version_is_built_beside_the_old_takes_over_at_once_and_is_rolled_back(
    deployment: Deployment,
) -> None:
    pair = deployment.pair
    readers = Readers(pair)
    with pair.load(threads=3, seed="old") as load, readers.reading():
        pair.wait_until_accepted(load, ACCEPTED)
        built = deployment.run("rebuild", build=NEW)
        assert (built["version"], built["same"], built["switched"]) == (revenue.version + 1, None, True)
        pair.wait_until_accepted(load, ACCEPTED)
    assert readers.wrong() == []
    end = max(deployment.history())
    deployment.tail_beside(NEW, end)

    first, *more = deployment.deploy(NEW)
    total, invoices = deployment.history()[end]
    assert (first.status, first.position, first.total, first.invoices) == (200, end, total, invoices)
    assert {(seen.status, seen.total, seen.invoices) for seen in more} <= {(200, total, invoices)}
    assert all(seen.state is None or "catching-up" not in seen.state for seen in [first, *more])
    with pair.load(threads=3, seed="new") as later:
        pair.wait_until_accepted(later, ACCEPTED)
    assert later.violations == []

    old = Generations(pair.folders[revenue], revenue)
    kept, (left_at,) = old.list_all(), {old.serving()}
    seen = deployment.deploy(None)
    history = deployment.history()
    assert seen[0].position is not None, "the old code answers at once too, as of where it was"
    for each in seen:
        assert (each.status, each.invoices) == (200, None)
        assert each.position is not None
        assert each.total == history[each.position][0]
    load.told += later.told
    assert pair.books(load).wrong == ()
    assert (old.list_all(), old.serving()) == (kept, left_at), "it tailed on, and built nothing"
    versions = {(each["version"], each["state"]) for each in deployment.run("generations")}
    assert versions == {(revenue.version, "served"), (revenue.version + 1, "served")}


def test_new_version_that_was_not_built_first_is_told_apart_until_it_is_complete(
    deployment: Deployment,
) -> None:
    pair = deployment.pair
    log = EventLog.connect(pair.redis_url, make_codec())
    publish(log, [a_customer_created(7)])
    for first in range(0, A_LOT, A_BATCH):
        publish(log, [an_invoice_created(10 + first + number) for number in range(A_BATCH)])
    end = log.state().end
    log.close()
    wait_until(lambda: deployment.look().position == end, lambda: "the old code does not come so far")

    seen = deployment.deploy(NEW)
    wait_until(lambda: deployment.look().state == "following", lambda: str(deployment.look()))
    rows = [each for each in seen if each.status == 200]
    assert all(each.state != "following" for each in seen if each.status != 200)
    assert {each.status for each in seen} <= {200, 404, 503}, "404: not even the account was there yet"
    assert any(each.state == "catching-up" for each in rows), seen
    for each in rows:
        if each.state == "following":
            assert each.total > 100 * (A_LOT - A_BATCH), each
    assert deployment.look()[2:] == (end, 100 * A_LOT, A_LOT)


def publish(log: EventLog, events: list[Event]) -> None:
    state = log.state()
    log.publish(events, decided_at=Moment(state.log_id or "", state.end))
