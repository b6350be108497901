"""A running pair, seen from outside: its addresses, a signed-in user, a customer to write invoices for."""

from __future__ import annotations

from pathlib import Path

import httpx
import redis

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Projection, ProjectionReader
from tests.faults.conservation import Books, read_books
from tests.faults.load import Load
from tests.make_run import Run, wait_until


class Pair:
    """A running pair under load, seen from outside."""

    def __init__(self, run: Run) -> None:
        variables = run.environment
        self.run = run
        self.customers_url = f"http://127.0.0.1:{variables['CUSTOMERS_PORT']}"
        self.accounts_url = f"http://127.0.0.1:{variables['ACCOUNTS_PORT']}"
        self.redis_url = f"redis://127.0.0.1:{variables['REDIS_PORT']}"
        self.folders: dict[Projection, Path] = {
            revenue: Path(variables["DATA_DIR"]) / "accounts" / revenue.name,
            directory: Path(variables["DATA_DIR"]) / "customers" / directory.name,
        }
        credentials = {"username": "user1", "password": "password1"}
        self.token = httpx.post(f"{self.accounts_url}/auth/login", json=credentials).text
        self.headers = {"Authorization": f"Bearer {self.token}"}
        ada = {"name": "Ada", "account_id": "1"}
        created = httpx.post(f"{self.customers_url}/customers", json=ada, headers=self.headers)
        self.customer_id = str(created.json()["id"])

    def load(self, *, threads: int, seed: int) -> Load:
        return Load(self.customers_url, self.token, self.customer_id, threads=threads, seed=seed)

    def both_answer(self) -> bool:
        try:
            return all(
                httpx.get(f"{url}/status").is_success for url in (self.customers_url, self.accounts_url)
            )
        except httpx.TransportError:
            return False

    def applied(self, projection: Projection) -> int:
        """The sequence of the projection's checkpoint."""
        with ProjectionReader(self.folders[projection], projection).look() as look:
            return look.checkpoint.sequence

    def wait_until_applied(self, projection: Projection, sequence: int, load: Load | None = None) -> None:
        """The projection has applied this many entries, or the load has failed."""
        wait_until(
            lambda: self.applied(projection) >= sequence or bool(load and load.failures),
            lambda: f"{projection.name} is at {self.applied(projection)} of {sequence}",
        )

    def books(self, load: Load) -> Books:
        """The books once both projections have applied all of the log."""
        with redis.Redis.from_url(self.redis_url) as client:
            in_log = client.xlen("event-stream")
        for projection in self.folders:
            self.wait_until_applied(projection, int(in_log))
        files = [folder / "projection.db" for folder in self.folders.values()]
        return read_books(load, self.redis_url, *files)
