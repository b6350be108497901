"""The limit: a loop written by hand that does what the tail of `revenue` reads and writes, and checks nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import redis

from eventlog.follower import BATCH_SIZE


class _AccountCreated(msgspec.Struct):
    id: str
    name: str
    description: str
    owned_by: str
    created_date: str


class _CustomerCreated(msgspec.Struct):
    id: str
    account_id: str
    name: str


class _InvoiceMoved(msgspec.Struct):
    id: str
    customer_id: str
    purchase_price_cents: int


class _Metadata(msgspec.Struct):
    occurred_at: str


_DECODE = {
    b"AccountCreated": msgspec.json.Decoder(_AccountCreated).decode,
    b"CustomerCreated": msgspec.json.Decoder(_CustomerCreated).decode,
    b"InvoiceCreated": msgspec.json.Decoder(_InvoiceMoved).decode,
    b"InvoiceDeleted": msgspec.json.Decoder(_InvoiceMoved).decode,
}
_DECODE_METADATA = msgspec.json.Decoder(_Metadata).decode

_INSERT_ACCOUNT = (
    "INSERT INTO accounts (id, owned_by, live_customers, total_revenue_cents, deleted, name, description,"
    " created_date) VALUES (?, ?, 0, 0, 0, ?, ?, ?)"
)
_INSERT_CUSTOMER = (
    "INSERT INTO customers (id, account_id, total_revenue_cents, deleted, name) VALUES (?, ?, 0, 0, ?)"
)
_INSERT_INVOICE = "INSERT INTO invoices (id, customer_id, purchase_price_cents, deleted) VALUES (?, ?, ?, 0)"
_ADD = "SET total_revenue_cents = total_revenue_cents + ? WHERE id = ?"


def follow_by_hand(url: str, stream: str, path: Path, schema: str) -> None:
    """Apply a whole stream to a new file with the tables and indexes of `schema`."""
    with redis.Redis.from_url(url, protocol=2) as client, closing(open_file(path, schema)) as database:
        rows = HandWrittenRows(database)
        position: Any = b"0-0"
        while found := client.xread({stream: position}, count=BATCH_SIZE):
            entries: Any = found[0][1]
            rows.apply(entries)
            position = entries[-1][0]


def open_file(path: Path, schema: str) -> sqlite3.Connection:
    """A new file with the settings of a projection's, and its checkpoint."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(schema)
    database.execute("INSERT INTO checkpoint VALUES (1, 'revenue', 0, '', '0-0', 0, '', '[]')")
    return database


class HandWrittenRows:
    """What the projection `revenue` writes for each entry, and of which customer it remembers the account."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._sequence = 0
        self._account_of: dict[int, int] = {}

    def apply(self, entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        """In one transaction, with the checkpoint."""
        accounts, customers, invoices, deleted, ledger = [], [], [], [], []
        of_customers, of_accounts, live = Counter[int](), Counter[int](), Counter[int]()
        position = b""
        for position, fields in entries:
            self._sequence += 1
            event_type = fields[b"EventTypeName"]
            event: Any = _DECODE[event_type](fields[b"Payload"])
            key = int(event.id)
            if event_type == b"AccountCreated":
                accounts.append((key, event.owned_by, event.name, event.description, event.created_date))
                continue
            if event_type == b"CustomerCreated":
                account = self._account_of[key] = int(event.account_id)
                customers.append((key, account, event.name))
                live[account] += 1
                continue
            customer, cents = int(event.customer_id), event.purchase_price_cents
            account = self._account_of[customer]
            if event_type == b"InvoiceCreated":
                invoices.append((key, customer, cents))
            else:
                cents = -cents
                deleted.append((key,))
            of_customers[customer] += cents
            of_accounts[account] += cents
            occurred_at = _DECODE_METADATA(fields[b"Metadata"]).occurred_at
            text, type_name = position.decode(), event_type.decode()
            ledger.append((self._sequence, text, type_name, account, customer, key, cents, occurred_at))
        write = self._database.executemany
        self._database.execute("BEGIN IMMEDIATE")
        write(_INSERT_ACCOUNT, accounts)
        write(_INSERT_CUSTOMER, customers)
        write(_INSERT_INVOICE, invoices)
        write("UPDATE invoices SET deleted = 1 WHERE id = ?", deleted)
        write("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ledger)
        write(f"UPDATE customers {_ADD}", [(cents, key) for key, cents in of_customers.items()])
        write(f"UPDATE accounts {_ADD}", [(cents, key) for key, cents in of_accounts.items()])
        write(
            "UPDATE accounts SET live_customers = live_customers + ? WHERE id = ?",
            [(count, key) for key, count in live.items()],
        )
        self._database.execute(
            "UPDATE checkpoint SET position = ?, sequence = ? WHERE only = 1",
            (position.decode(), self._sequence),
        )
        self._database.execute("COMMIT")
