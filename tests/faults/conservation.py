"""Nothing lost, nothing counted twice: what clients were told, against the log and every projection."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import NamedTuple

import redis

from tests.faults.load import Load


class Books(NamedTuple):
    """One customer's cents as four places have them, and everything else that must be in order.

    `integrity` is what SQLite says of the two files; `failures` are answers no client should have had.
    """

    told: int
    log: int
    revenue: int
    directory: int
    parked: int
    integrity: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        agreed = self.told == self.log == self.revenue == self.directory
        return agreed and not self.parked and not self.failures and self.sound

    @property
    def sound(self) -> bool:
        return set(self.integrity) == {"ok"}


def read_books(load: Load, redis_url: str, revenue_file: Path, directory_file: Path) -> Books:
    """Read all places; the projections must have caught up."""
    revenue, directory = _connect(revenue_file), _connect(directory_file)
    try:
        return Books(
            load.expected_cents,
            _cents_in_log(redis_url),
            _one(revenue, "SELECT sum(total_revenue_cents) FROM accounts"),
            _one(
                directory,
                "SELECT sum(i.purchase_price_cents) FROM invoices i JOIN customers c ON c.id = i.customer_id"
                " WHERE i.deleted = 0 AND c.deleted = 0",
            ),
            _one(revenue, "SELECT count(*) FROM parked") + _one(directory, "SELECT count(*) FROM parked"),
            tuple(str(file.execute("PRAGMA integrity_check").fetchone()[0]) for file in (revenue, directory)),
            tuple(load.failures),
        )
    finally:
        revenue.close()
        directory.close()


def _cents_in_log(redis_url: str) -> int:
    """Computed from the entries alone, each invoice once."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        entries = client.xrange("event-stream")
    created: dict[str, int] = {}
    deleted: set[str] = set()
    for _, fields in entries:
        payload = json.loads(fields["Payload"])
        if fields["EventTypeName"] == "InvoiceCreated":
            assert payload["id"] not in created, f"invoice {payload['id']} stands in the log twice"
            created[payload["id"]] = payload["purchase_price_cents"]
        elif fields["EventTypeName"] == "InvoiceDeleted":
            assert payload["id"] not in deleted, f"invoice {payload['id']} was deleted twice"
            deleted.add(payload["id"])
    return sum(cents for invoice, cents in created.items() if invoice not in deleted)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _one(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0] or 0)
