"""Redis is killed and its files are deleted under the running pair: after `eventlog reseed` all goes on by itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.installation import PROGRAMS_DIR
from eventlog import Position
from eventlog.archive_reader import ArchiveReader
from eventlog.archiving import ARCHIVE_NAME
from eventlog.errors import ArchiveUnusable
from eventlog.tail_status import TailState, TailStatusFile
from tests.make_run import NEVER_S, Run, wait_until

pytestmark = pytest.mark.processes


class _Pair:
    """What a user of the running pair sees, and where its archive lies."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.data_dir = Path(run.environment["DATA_DIR"])
        self.archive = self.data_dir / ARCHIVE_NAME
        self._accounts = f"http://127.0.0.1:{run.environment['ACCOUNTS_PORT']}"
        self._customers = f"http://127.0.0.1:{run.environment['CUSTOMERS_PORT']}"
        login = {"username": "user1", "password": "password1"}
        token = (
            httpx.post(f"{self._accounts}/auth/login", json=login, timeout=NEVER_S).raise_for_status().text
        )
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, what: str, key: str, **body: object) -> httpx.Response:
        headers = {**self._headers, "Idempotency-Key": key}
        return httpx.post(f"{self._customers}/{what}", json=body, headers=headers, timeout=NEVER_S)

    def revenue(self, log_position: str = "") -> httpx.Response:
        headers = {**self._headers, "Prefer": "wait=10"}
        if log_position:
            headers["Min-Log-Position"] = log_position
        return httpx.get(f"{self._accounts}/accounts/1", headers=headers, timeout=NEVER_S)

    def wait_until_archived(self, log_position: str) -> None:
        position = Position.parse(log_position.partition("@")[0])

        def is_archived() -> bool:
            try:
                return ArchiveReader(self.archive).checkpoint().position >= position
            except ArchiveUnusable:
                return False

        wait_until(is_archived, lambda: f"{log_position} is not in the archive")

    def lose_redis(self) -> None:
        """Deleted first, or the supervisor would be faster."""
        for files in (self.data_dir / "redis").glob("appendonly*"):
            shutil.rmtree(files) if files.is_dir() else files.unlink()
        server = self.run.find(f"127.0.0.1:{self.run.environment['REDIS_PORT']}")
        server.kill()
        psutil.wait_procs([server], timeout=NEVER_S)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = self.run.environment
        return subprocess.run(
            [str(PROGRAMS_DIR / words[0]), *words[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=NEVER_S,
        )


def test_lost_redis_is_written_back_and_all_goes_on(start_run: Callable[..., Run]) -> None:
    run = start_run()
    run.wait_until_up()
    pair = _Pair(run)
    customer = pair.post("customers", "customer", name="Ada", account_id="1").raise_for_status().json()["id"]
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
    first = pair.post("invoices", "first", **invoice).raise_for_status()
    position = first.headers["Log-Position"]
    assert pair.revenue(position).json()["total_revenue_cents"] == 12000
    pair.wait_until_archived(position)

    pair.lose_redis()
    wait_until(
        lambda: pair.revenue().headers["Projection-State"] == "halted; verdict=replaced",
        lambda: pair.revenue().headers["Projection-State"],
    )
    assert pair.revenue().json()["total_revenue_cents"] == 12000
    assert pair.post("invoices", "second", **invoice).status_code == 503
    status = TailStatusFile(pair.archive.parent)
    wait_until(lambda: status.read().state is TailState.HALTED, lambda: str(status.read()))

    done = pair.command("eventlog", "reseed")
    assert (done.returncode, "is back" in done.stdout) == (0, True), done.stderr
    wait_until(
        lambda: pair.post("invoices", "first", **invoice).status_code == 201,
        lambda: "the log is back, and writes are refused",
    )

    again = pair.post("invoices", "first", **invoice)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert again.headers["Log-Position"] == position
    second = pair.post("invoices", "second", **invoice).raise_for_status()
    assert int(second.json()["id"]) > int(first.json()["id"])
    assert pair.revenue(second.headers["Log-Position"]).json()["total_revenue_cents"] == 24000
    wait_until(
        lambda: pair.revenue().headers["Projection-State"] == "following",
        lambda: str(pair.revenue().headers),
    )
    pair.wait_until_archived(second.headers["Log-Position"])
    assert run.interrupt() == 0
    run.wait_until_nothing_is_left()
